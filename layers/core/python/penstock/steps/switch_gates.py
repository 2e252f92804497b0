"""Pause and resume destinations, as a person wants it: the gatekeeper neither probes nor opens what a person closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.config import Require
from penstock.domain.destinations import Destination
from penstock.domain.gate import Gate
from penstock.domain.tokens import Caller
from penstock.errors import StoreChanged
from penstock.steps.record import Ledger, settled
from penstock.steps.watch_gate import Chore, Chores, GateBook


@dataclass(frozen=True)
class GateWorks:
    """All that pausing takes."""

    ledger: Ledger
    book: GateBook
    chores: Chores


def read_gate(works: GateWorks, caller: Caller, destination_id: str) -> Gate:
    """Raises `NotFound` or `Unavailable`."""
    works.ledger.get(Destination, caller.workspace_id, destination_id)
    return works.book.read(caller.workspace_id, destination_id)


def pause(works: GateWorks, caller: Caller, destination_id: str, reason: str | None) -> Gate:
    """Its queue still fills. Raises `NotFound` or `Unavailable`."""
    why = reason or gates.PAUSED_BY_HAND
    return _changed(
        works,
        caller,
        destination_id,
        "paused",
        lambda gate: moves.paused(gate, why, caller.actor, works.ledger.clock()),
    )


def resume(works: GateWorks, caller: Caller, destination_id: str) -> Gate:
    """Raises `NotFound` or `Unavailable`."""
    return _changed(
        works, caller, destination_id, "resumed", lambda gate: moves.resumed(gate, caller.actor, works.ledger.clock())
    )


def _changed(
    works: GateWorks, caller: Caller, destination_id: str, action: str, change: Callable[[Gate], Gate]
) -> Gate:
    """Enter it in the audit log, write it, tell the gatekeeper, in this order; a crash before the last only delays."""
    item = works.ledger.get(Destination, caller.workspace_id, destination_id)
    present = Require(Destination, caller.workspace_id, destination_id)
    if works.ledger.commit(caller, f"destination.{action}", item, [present]):
        return read_gate(works, caller, destination_id)  # deleted meanwhile, which it says

    def attempt() -> Gate | None:
        before = works.book.read(caller.workspace_id, destination_id)
        after = change(before)
        if after == before:
            return before
        try:
            return works.book.save(caller.workspace_id, destination_id, before, after)
        except StoreChanged:
            return None

    saved = settled(attempt)
    works.chores.send([Chore(caller.workspace_id, destination_id)])
    return saved
