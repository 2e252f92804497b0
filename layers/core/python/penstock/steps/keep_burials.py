"""Keep burials: what the gatekeeper does for destinations that are deleted, a look at a time, until nothing is left.

A note says that there is a burial, from before the destination goes until after everything else has: the tick finds it
where a chore was lost. Only when nobody can send to its queue any more, and every job that somebody had in hand came
back and was buried, does the queue go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.domain import burial
from penstock.domain.burial import Burial
from penstock.domain.destinations import Destination, Unfinished, import_name
from penstock.domain.gate import Key
from penstock.domain.overflow import Turn
from penstock.errors import QueueGone, Unavailable
from penstock.steps import bury, take_down
from penstock.steps.bury import Grave, bury_lanes, bury_queue
from penstock.steps.record import Ledger
from penstock.steps.watch_gate import Chore, Chores

LOOKED_FOR_S = 40.0  # a gatekeeper lives for 120 s; a round that has begun takes some
ALONE_FOR_S = 120.0
CALLED_OFF_AFTER_S = 120.0  # longer than any request to delete can take
FORGOTTEN_EVERY_S = 60.0
BURYING, DELETED = "burying", "deleted"


class Notes(Protocol):
    """That there are burials. Raises `StoreUnavailable`."""

    def due(self, now: float, most: int) -> Sequence[Key]:
        """Those that nobody has looked after in time, the longest overdue first."""

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Burial | None:
        """None where it is somebody else's turn for so many seconds; else it is ours."""

    def put_off(self, workspace: str, destination: str, after: Burial, again_s: float) -> None:
        """How far it is, and for how long it is nobody's turn."""

    def call_off(self, workspace: str, destination: str, before: float) -> None:
        """There is no burial, if the note was made before that time."""


class Queues(take_down.Queues, Protocol):
    def find(self, destination_id: str) -> str | None:
        """The queue's URL, None where there is none."""


class Queue(bury.Queue, Protocol):
    def waiting(self, queue_url: str) -> int:
        """How many jobs there are, visible or not."""


class Overflow(bury.Overflow, Protocol):
    def take_turn(self, workspace: str, destination: str, again_s: float) -> Turn | None:
        """A destination's turn if it is one; the next is so many seconds from now. One without lanes has none."""

    def end_turns(self, workspace: str, destination: str) -> None:
        """There are no lanes any more, unless one was opened of late."""


@dataclass(frozen=True)
class Ports:
    """`outlives_s` is for how long somebody may send to a destination that is deleted already, and not know it."""

    ledger: Ledger
    notes: Notes
    queues: Queues
    mappings: take_down.Mappings
    gates: take_down.Gates
    queue: Queue
    overflow: Overflow
    graves: bury.Ports
    chores: Chores
    outlives_s: float


class KeepBurials:
    """Raises `Unavailable`, all of it: whatever is left is overdue soon."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def overdue(self, now: float, most: int) -> list[Key]:
        """A note whose destination is there was made by a deletion that never came to it."""
        found = []
        for key in self._ports.notes.due(now, most):
            if self._ports.ledger.store.find(Destination, *key) is None:
                found.append(key)
            else:
                self._ports.notes.call_off(*key, now - CALLED_OFF_AFTER_S)
        return found

    def look(self, workspace: str, destination: str) -> str:
        """Go on with the burial of a destination that nobody finds any more, if there is one."""
        item = self._ports.ledger.store.find(Unfinished, workspace, destination)
        if item is None:
            self._forget(Grave(workspace, destination))
            return DELETED
        if not item.is_deleted:
            return DELETED
        begun = self._ports.notes.take_turn(workspace, destination, ALONE_FOR_S)
        return BURYING if begun is None else self._go_on(item, begun)

    def _go_on(self, item: Unfinished, begun: Burial) -> str:
        clock, grave = self._ports.ledger.clock, Grave(item.workspace_id, item.id)
        has_time = self._until(LOOKED_FOR_S)
        is_unmapped = begun.is_unmapped or self._is_unmapped(item)
        is_busy = self._bury(grave, has_time)
        after = Burial(begun.begun_at, clock() if is_busy else begun.busy_at, is_unmapped)
        if not is_busy and burial.is_over(after, self._ports.outlives_s, clock()):
            take_down.take_down(item, self._ports)
            return DELETED
        again_s = burial.look_again_s(self._ports.outlives_s) if has_time() else 0.0
        self._ports.notes.put_off(*grave, after, again_s)
        self._ports.chores.send([Chore(*grave, again_s)])
        return BURYING

    def _is_unmapped(self, item: Unfinished) -> bool:
        """While AWS is still changing a mapping it deletes none: deliver gives back what it gets meanwhile."""
        try:
            take_down.unmap(item, self._ports.mappings)
        except Unavailable:
            return False
        return True

    def _bury(self, grave: Grave, has_time: Callable[[], bool]) -> bool:
        """What is in its queues is older than what is outside them; whether there was anything, or still is."""
        names = (grave.destination, import_name(grave.destination))
        is_busy = [self._is_queue_busy(grave, name, has_time) for name in names]
        have_lanes = [bury_lanes(grave, name, self._ports.graves, has_time) for name in names]
        return any(is_busy) or any(have_lanes)

    def _is_queue_busy(self, grave: Grave, name: str, has_time: Callable[[], bool]) -> bool:
        url = self._ports.queues.find(name)
        if url is None:
            return False
        try:
            buried = bury_queue(grave, url, self._ports.graves, has_time)
            return self._ports.queue.waiting(url) > 0 or buried > 0
        except QueueGone:
            return False

    def _forget(self, grave: Grave) -> None:
        """What was noted of it late, by somebody who still knew it."""
        self._ports.gates.forget(*grave)
        if not self._ports.overflow.take_turn(*grave, FORGOTTEN_EVERY_S):
            return
        has_time = self._until(LOOKED_FOR_S)
        names = (grave.destination, import_name(grave.destination))
        have_lanes = [bury_lanes(grave, name, self._ports.graves, has_time) for name in names]
        if not any(have_lanes):
            self._ports.overflow.end_turns(*grave)

    def _until(self, seconds: float) -> Callable[[], bool]:
        end = self._ports.ledger.clock() + seconds
        return lambda: self._ports.ledger.clock() < end
