"""Refill: put jobs of overflowing lanes back into their queue, in order, while it has room; give empty lanes up.

A round looks at some of the lanes and the next one at those behind them, so that none waits for others to end. It takes
no more into memory than fits, and no longer than there is time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from penstock.domain import overflow
from penstock.domain.overflow import LANES_AT_ONCE, STANDARD, LaneKey, LaneState, Limits, QueueKey, Stored
from penstock.errors import QueueUnavailable

ENTRIES_PER_CALL = 10
LARGEST_CALL = 1024 * 1024 - 16 * 1024
LARGEST_ROUND = 16 * 1024 * 1024  # characters of jobs, but each lane has one job at least


class Message(NamedTuple):
    """One job as it goes to a queue."""

    id: str
    group: str
    body: str


class Overflow(Protocol):
    """Raises `StoreUnavailable`."""

    def lanes(self, workspace: str, destination: str, most: int, after: str = "") -> Sequence[LaneKey]:
        """So many at most, by their groups, of those behind `after`."""

    def reach(self, lane: LaneKey) -> None:
        """Note which lane was looked at last, for the next turn."""

    def state(self, lane: LaneKey) -> LaneState | None: ...

    def stored(self, lane: LaneKey, most: int, largest: int) -> Sequence[Stored]:
        """So many jobs at most, and so many characters, but one."""

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None: ...

    def release(self, lane: LaneKey, seen: LaneState) -> bool: ...


class Queues(Protocol):
    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        """The ids of those that were not taken. Raises `QueueGone` or `QueueUnavailable`."""

    def waiting(self, queue_url: str) -> int:
        """How many jobs it holds, roughly. Raises `QueueGone` or `QueueUnavailable`."""


@dataclass(frozen=True)
class Ports:
    overflow: Overflow
    queues: Queues
    clock: Callable[[], float]
    limits: Limits = STANDARD


@dataclass
class _Line:
    """What one lane has to give, and how much of it the queue has taken."""

    lane: LaneKey
    jobs: Sequence[Stored]
    taken: int = 0
    is_refused: bool = field(default=False)

    @property
    def head(self) -> Message:
        job = self.jobs[self.taken]
        return Message(job.id, self.lane.group, job.body)

    @property
    def is_waiting(self) -> bool:
        return not self.is_refused and self.taken < len(self.jobs)


def refill(queue: QueueKey, ports: Ports, has_time: Callable[[], bool], after: str = "") -> bool:
    """One round, from the lane behind `after` on; whether there are lanes left to come back to. Raises `Unavailable`.

    A lane's jobs are forgotten only once the queue has them; what is sent again because of a crash, its queue knows.
    """
    first = ports.overflow.lanes(queue.workspace, queue.name, LANES_AT_ONCE + 1)
    if not first:
        return False
    if ports.queues.waiting(queue.url) < ports.limits.refilled_below:
        lanes = _next_lanes(first, after, ports.overflow)
        seen = {lane: ports.overflow.state(lane) for lane in lanes}  # before its jobs: it has no more than these
        share = ports.limits.refilled_at_once, LARGEST_ROUND // len(lanes)
        lines = [_Line(lane, ports.overflow.stored(lane, *share)) for lane in lanes]
        try:
            while has_time() and (call := _next_call(_least_served(lines))):
                _send(call, queue.url, ports.queues)
        finally:
            for line in lines:
                if line.taken:
                    ports.overflow.remove(line.lane, [job.place for job in line.jobs[: line.taken]])
        for line in lines:
            _release(line, seen[line.lane], ports)
    return True


def _next_lanes(first: Sequence[LaneKey], after: str, overflow: Overflow) -> Sequence[LaneKey]:
    """As many as one round looks at, round and round. Noted before they are: what ends a round ends not all of them."""
    if len(first) <= LANES_AT_ONCE:
        return first
    behind = overflow.lanes(first[0].workspace, first[0].destination, LANES_AT_ONCE, after) if after else ()
    found = list(dict.fromkeys([*behind, *first]))[:LANES_AT_ONCE]
    overflow.reach(found[-1])
    return found


def _least_served(lines: Iterable[_Line]) -> list[_Line]:
    """A round may end early, and the next one begins with the same lanes: each gives as much as any."""
    return sorted((line for line in lines if line.is_waiting), key=lambda line: line.taken)


def _next_call(lines: Iterable[_Line]) -> list[_Line]:
    """Up to ten lanes whose heads one call can carry; never two jobs of one lane."""
    call: list[_Line] = []
    size = 0
    for line in lines:
        weight = len(line.head.body.encode())
        if call and (len(call) == ENTRIES_PER_CALL or size + weight > LARGEST_CALL):
            break
        call.append(line)
        size += weight
    return call


def _send(call: Sequence[_Line], queue_url: str, queues: Queues) -> None:
    refused = queues.send(queue_url, [line.head for line in call])
    for line in call:
        if line.head.id in refused:
            line.is_refused = True
        else:
            line.taken += 1
    if len(refused) == len(call):
        raise QueueUnavailable("SQS took none of the jobs")


def _release(line: _Line, seen: LaneState | None, ports: Ports) -> None:
    """Only where all that was ever stored is in the queue: nothing is on its way that this would leave behind."""
    if seen is None or line.taken < len(line.jobs):
        return
    last = line.jobs[-1].place if line.jobs else None
    if overflow.is_drained(seen, last, ports.clock()):
        ports.overflow.release(line.lane, seen)
