"""Watch a destination's gate: note what a batch showed, judge, close it, and tell the gatekeeper what is to be done.

The gate is written before the chores are sent: where a Lambda dies between the two, the gatekeeper's tick finds what
the gate says is due.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.evidence import JUDGED_OVER_S, STOPPED_OVER_S, Evidence, is_news, is_struck_out, timed
from penstock.domain.gate import Gate, GateState, Key
from penstock.errors import StoreChanged


class Chore(NamedTuple):
    """Somebody is to look after a destination's gate, so many seconds from now."""

    workspace: str
    destination: str
    delay_s: float = 0.0


class KnownGates(Protocol):
    """Gates as they were a few seconds ago. Raises `StoreUnavailable`."""

    def get(self, key: Key) -> Gate: ...


class GateBook(Protocol):
    """Where gates are kept. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str) -> Gate:
        """As of now; an open one where none is known."""

    def save(self, workspace: str, destination: str, before: Gate, after: Gate) -> Gate:
        """What was saved. Raises `StoreChanged` where somebody else has changed the gate since it was read."""

    def strike(self, workspace: str, destination: str, groups: Collection[str], now: float) -> Gate:
        """Add to the strikes of an open gate. What it is then."""

    def absolve(self, workspace: str, destination: str) -> None:
        """Forget the strikes."""


class Deliveries(Protocol):
    def since(self, workspace: str, destination: str, at: float) -> bool:
        """Whether anything was delivered after `at`, in epoch seconds. Raises `StoreUnavailable`."""


class Chores(Protocol):
    def send(self, chores: Sequence[Chore]) -> None:
        """Raises `QueueUnavailable`."""


class WatchGate:
    def __init__(
        self,
        known: KnownGates,
        book: GateBook,
        deliveries: Deliveries,
        chores: Chores,
        clock: Callable[[], float],
    ) -> None:
        self._known = known
        self._book = book
        self._deliveries = deliveries
        self._chores = chores
        self._clock = clock

    def report(self, workspace: str, destination: str, evidence: Evidence) -> None:
        """What one batch showed, its receipt being kept already; most batches show nothing new, and cost nothing.

        Raises `Unavailable`: what could not be noted shows again.
        """
        now = self._clock()
        if not is_news(self._known.get((workspace, destination)), evidence, now):
            return
        gate = self._book.read(workspace, destination)
        if gate.state is not GateState.OPEN:
            return
        after = timed(gate, evidence, now)
        reason = self._why_to_close(workspace, destination, gate, evidence, now)
        if reason is not None:
            after = moves.closed(after, reason, now)
        if after != gate:
            self._change(workspace, destination, gate, after)

    def _why_to_close(self, workspace: str, destination: str, gate: Gate, evidence: Evidence, now: float) -> str | None:
        if evidence.shows_life:
            if gate.strikes:
                self._book.absolve(workspace, destination)
            return None
        if evidence.stop is not None:
            lately = self._deliveries.since(workspace, destination, now - STOPPED_OVER_S)
            return None if lately else evidence.stop
        if not evidence.groups_failed:
            return None
        struck = self._book.strike(workspace, destination, evidence.groups_failed, now)
        if not is_struck_out(struck, now):
            return None
        lately = self._deliveries.since(workspace, destination, now - JUDGED_OVER_S)
        return None if lately else gates.FAILING

    def _change(self, workspace: str, destination: str, before: Gate, after: Gate) -> None:
        """Somebody else's change stands: the next batch shows what this one did."""
        try:
            saved = self._book.save(workspace, destination, before, after)
        except StoreChanged:
            return
        chores = [Chore(workspace, destination)] if saved.mapped != saved.wanted else []
        if saved.state is GateState.CLOSED:
            chores.append(Chore(workspace, destination, gates.FIRST_PROBE_S))
        if chores:
            self._chores.send(chores)
