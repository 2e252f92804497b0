"""Tracking plans as the stream's consumers look them up: compiled once for each version."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from penstock.adapters import plan_validator
from penstock.adapters.plan_table import PlanTable
from penstock.domain import plan_content
from penstock.domain.tracking_plan import Compiled
from penstock.errors import Invalid

MOST_COMPILED = 200


class CompiledPlans:
    """`read` is for a look-up in front of it. Raises `StoreUnavailable`; a plan is never taken for absent."""

    def __init__(self, table: PlanTable) -> None:
        self._table = table
        self._compiled: OrderedDict[tuple[str, str, int], Compiled] = OrderedDict()
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
                while len(self._compiled) > MOST_COMPILED:
                    self._compiled.popitem(last=False)
            return self._compiled[key]


def _compiled(content: bytes) -> Compiled:
    plan = plan_content.unpacked(content)
    try:
        return plan_validator.compiled(plan)
    except Invalid:
        return plan_validator.unreadable(plan)
