"""Keep overflows: what the gatekeeper does with a destination's jobs that wait outside its queue, or are to.

Each call does as much as time allows, and somebody comes again for the rest. A destination has a turn now and then for
as long as it may have overflowing lanes, so that none is forgotten, and however many chores come, a round is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from penstock.domain.overflow import REFILLED_EVERY_S, STANDARD, LaneKey, Limits
from penstock.steps import park_queue, refill
from penstock.steps.park_queue import Shut, is_parked_whole

PARKED_FOR_S = 10.0  # at once, of one queue
FORGOTTEN_FOR_S = 20.0
FORGOTTEN_AT_ONCE = 500  # jobs of one lane
LANES_FORGOTTEN = 1_000  # at one turn
PUT_OFF_S = 60.0


class Overflow(park_queue.Overflow, refill.Overflow, Protocol):
    """Raises `StoreUnavailable`."""

    def take_turn(self, workspace: str, destination: str, again_s: float) -> bool:
        """Whether it is a destination's turn; the next is so many seconds from now. One without lanes has none."""

    def end_turns(self, workspace: str, destination: str) -> None:
        """There are no lanes any more, unless one was opened of late."""

    def forget(self, lane: LaneKey, most: int) -> bool:
        """Drop so many jobs of a lane, and the lane after the last of them; whether that is done."""


class KeepOverflow:
    """Raises `Unavailable`, all of it. Queues are emptied by one port and filled by the other."""

    def __init__(
        self,
        overflow: Overflow,
        emptied: park_queue.Queue,
        filled: refill.Queues,
        clock: Callable[[], float],
        limits: Limits = STANDARD,
    ) -> None:
        self._overflow = overflow
        self._emptied = emptied
        self._clock = clock
        self._refill = refill.Ports(overflow, filled, clock, limits)

    def park(self, shut: Shut) -> bool:
        """Move a queue's jobs; whether all of them are."""
        return is_parked_whole(shut, park_queue.Ports(self._overflow, self._emptied, self._until(PARKED_FOR_S)))

    def has_lanes(self, workspace: str, destination: str) -> bool:
        return bool(self._overflow.lanes(workspace, destination, 1))

    def refill(self, workspace: str, destination: str, queue_url: str) -> bool:
        """One round; whether there are lanes to come back to."""
        return refill.refill(workspace, destination, queue_url, self._refill)

    def refill_in_turn(self, workspace: str, destination: str, queue_url: str) -> bool:
        """One round if it is the destination's turn; whether to come again after `REFILLED_EVERY_S`."""
        if not self._overflow.take_turn(workspace, destination, REFILLED_EVERY_S):
            return False
        if self.refill(workspace, destination, queue_url):
            return True
        self._overflow.end_turns(workspace, destination)
        return False

    def put_off(self, workspace: str, destination: str) -> None:
        """While nothing flows nothing comes back."""
        self._overflow.take_turn(workspace, destination, PUT_OFF_S)

    def forget(self, workspace: str, destination: str) -> None:
        """Drop what waits for a destination that is no more; what there is no time for goes at its next turn."""
        if not self._overflow.take_turn(workspace, destination, PUT_OFF_S):
            return
        lanes = self._overflow.lanes(workspace, destination, LANES_FORGOTTEN)
        if not lanes:
            self._overflow.end_turns(workspace, destination)
        has_time = self._until(FORGOTTEN_FOR_S)
        for lane in lanes:
            while not self._overflow.forget(lane, FORGOTTEN_AT_ONCE):
                if not has_time():
                    return

    def _until(self, seconds: float) -> Callable[[], bool]:
        end = self._clock() + seconds
        return lambda: self._clock() < end
