"""Keep overflows: what the gatekeeper does with a destination's jobs that wait outside its queue, or are to.

Each call does as much as time allows, and somebody comes again for the rest. A destination has a turn now and then for
as long as it may have overflowing lanes, so that none is forgotten, and however many chores come, a round is made once.

Everything outside a queue expires by itself unless it is renewed, so that nothing stays for ever that was forgotten by
all. What a destination still has to get is renewed long before that, whatever its gate does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.domain.destinations import import_name
from penstock.domain.overflow import REFILLED_EVERY_S, RENEWED_EVERY_S, STANDARD, LaneKey, Limits, QueueKey, Turn
from penstock.steps import park_queue, refill
from penstock.steps.park_queue import Shut, is_parked_whole
from penstock.steps.probe_queue import Queue

PARKED_FOR_S = 10.0  # at once, of one queue
REFILLED_FOR_S = 20.0
RENEWED_FOR_S = 5.0
RENEWED_AT_ONCE = 100  # jobs of one lane
LANES_RENEWED = 100  # that are looked for at once
PUT_OFF_S = 60.0


class Overflow(park_queue.Overflow, refill.Overflow, Protocol):
    """Raises `StoreUnavailable`."""

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Turn | None:
        """A destination's turn if it is one; the next is so many seconds from now. One without lanes has none."""

    def end_turns(self, workspace: str, destination: str) -> None:
        """There are no lanes any more, unless one was opened of late."""

    def expiring(self, workspace: str, destination: str, most: int) -> Sequence[LaneKey]:
        """Lanes that hold what expires within `RENEWED_BEFORE_S`, so many at most."""

    def renew(self, lane: LaneKey, most: int) -> bool:
        """Keep the next so many jobs of a lane for `EXPIRES_AFTER_S` from now on; whether all are."""

    def renewed(self, workspace: str, destination: str) -> None:
        """Nothing of a destination's is expiring."""


class KeepOverflow:
    """Raises `Unavailable`, all of it. Queues are emptied by one port and filled by the other."""

    def __init__(
        self,
        overflow: Overflow,
        emptied: Queue,
        filled: refill.Queues,
        notes: park_queue.Notes,
        clock: Callable[[], float],
        limits: Limits = STANDARD,
    ) -> None:
        self._overflow = overflow
        self._emptied = emptied
        self._notes = notes
        self._clock = clock
        self._refill = refill.Ports(overflow, filled, clock, limits)

    def park(self, queues: Sequence[QueueKey], parking: int) -> bool:
        """Move the jobs of shut queues; whether all of them are."""
        ports = park_queue.Ports(self._overflow, self._emptied, self._notes, self._until(PARKED_FOR_S))
        are_whole = [is_parked_whole(Shut(queue, parking), ports) for queue in queues]
        return all(are_whole)

    def has_lanes(self, queue: QueueKey) -> bool:
        """Whether there are jobs outside a queue that are to come back to it."""
        return bool(self._overflow.lanes(queue.workspace, queue.name, 1))

    def refill(self, queue: QueueKey) -> bool:
        """One round; whether there are lanes to come back to."""
        return refill.refill(queue, self._refill, self._until(REFILLED_FOR_S))

    def refill_in_turn(self, workspace: str, destination: str, queues: Sequence[QueueKey]) -> bool:
        """One round if it is the destination's turn; whether to come again after `REFILLED_EVERY_S`."""
        turn = self._overflow.take_turn(workspace, destination, REFILLED_EVERY_S)
        if turn is None:
            return False
        self._renew(workspace, destination, turn)
        have_more = [
            refill.refill(queue, self._refill, self._until(REFILLED_FOR_S), turn.reached.get(queue.name, ""))
            for queue in queues
        ]
        if any(have_more):
            return True
        self._overflow.end_turns(workspace, destination)
        return False

    def put_off(self, workspace: str, destination: str) -> None:
        """While nothing flows nothing comes back."""
        turn = self._overflow.take_turn(workspace, destination, PUT_OFF_S)
        if turn is not None:
            self._renew(workspace, destination, turn)

    def _renew(self, workspace: str, destination: str, turn: Turn) -> None:
        """Once a day; where anything was found there may be more, and it is looked for again at the next turn."""
        if self._clock() - turn.renewed_at < RENEWED_EVERY_S:
            return
        names = (destination, import_name(destination))
        lanes = [lane for name in names for lane in self._overflow.expiring(workspace, name, LANES_RENEWED)]
        has_time = self._until(RENEWED_FOR_S)
        for lane in lanes:
            while has_time() and not self._overflow.renew(lane, RENEWED_AT_ONCE):
                continue
        if not lanes:
            self._overflow.renewed(workspace, destination)

    def _until(self, seconds: float) -> Callable[[], bool]:
        end = self._clock() + seconds
        return lambda: self._clock() < end
