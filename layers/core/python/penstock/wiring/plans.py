"""Tracking plans as the stream's consumers look them up: compiled once for each version."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from threading import Lock
from typing import Protocol

import msgspec

from penstock.adapters import plan_validator
from penstock.adapters.plan_table import PlanTable, Stored
from penstock.domain import plan_content
from penstock.domain.tracking_plan import Compiled, NewPlan
from penstock.errors import Invalid
from penstock.steps.look_up import LookUp

MOST_COMPILED = 4 * 1024 * 1024  # bytes of JSON that are kept compiled, which takes about thirty times as much memory
MOST_STORED = 1_000
CLOSED = NewPlan("", [], unplanned_event="block", unplanned_property="block", violation="block")


class StoredPlans(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, workspace: str, source: str) -> Stored | None: ...


class CompiledPlans:
    """Raises `StoreUnavailable`; a plan is never taken for absent."""

    def __init__(self, table: StoredPlans, most: int = MOST_COMPILED) -> None:
        self._table = table
        self._most = most
        self._compiled: OrderedDict[tuple[str, str, int], tuple[int, Compiled]] = OrderedDict()
        self._lock = Lock()

    def read(self, of: tuple[str, str]) -> Compiled | None:
        """The plan of (workspace, source), or None."""
        stored = self._table.read(*of)
        if stored is None:
            return None
        key = (*of, stored.version)
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = _compiled(stored.content)
                while len(self._compiled) > 1 and sum(size for size, _ in self._compiled.values()) > self._most:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(key)
            return self._compiled[key][1]

    get = read


class _LookedUp:
    """What is looked up are the stored plans: compiled ones take too much memory to be kept by the thousand."""

    def __init__(self, table: PlanTable, fresh_s: float, stale_s: float) -> None:
        self._stored = LookUp(self._find, fresh_s, stale_s, capacity=MOST_STORED)
        self._table = table

    def read(self, workspace: str, source: str) -> Stored | None:
        return self._stored.get((workspace, source))

    def _find(self, of: tuple[str, str]) -> Stored | None:
        return self._table.read(*of)


def plans_in_force(table: PlanTable, fresh_s: float, stale_s: float) -> CompiledPlans:
    """The plans as they were so many seconds ago at most."""
    return CompiledPlans(_LookedUp(table, fresh_s, stale_s))


def _compiled(content: bytes) -> tuple[int, Compiled]:
    """With the size of its JSON. What was saved and cannot be read or compiled any more lets nothing pass unseen."""
    try:
        plan = plan_content.unpacked(content)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return len(content), Compiled(CLOSED, {})
    try:
        return plan_content.size_of(content), plan_validator.compiled(plan)
    except Invalid:
        return len(content), plan_validator.unreadable(plan)
