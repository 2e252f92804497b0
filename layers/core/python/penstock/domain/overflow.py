"""Overflow: jobs of a lane past what its queue should hold, kept in order outside it until there is room.

A FIFO queue looks only at its first 120,000 messages, so one user's jobs, if there are enough of them, hide those of
all others; and it forgets after fourteen days. Why the order holds: `docs/decisions/0018-overflow.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from penstock.domain.dedup import short_hash

PARKED_AFTER_S = 12 * 86_400.0  # for which a gate is shut; SQS forgets a message after fourteen days
REFILLED_EVERY_S = 15.0
LANES_AT_ONCE = 100  # that one round refills
MOST_LANES = 100_000  # that one function counts
MOST_RECENT = 200  # appended jobs that a lane remembers; a batch of the stream has a hundred records at most
EXPIRES_AFTER_S = 60 * 86_400.0  # what nobody renews: more than four times as long as SQS keeps what nobody takes
RENEWED_BEFORE_S = 30 * 86_400.0  # what still waits; so long may the gatekeeper be away
RENEWED_EVERY_S = 86_400.0  # that it is looked for
HOLE_AFTER_S = 300.0  # a number whose job is not there by then never gets one
APPENDED = "1#"  # what the places of appended jobs begin with


class Limits(NamedTuple):
    """When lanes overflow, and when they come back."""

    deep: int = 20_000  # jobs in a queue from which on its longest lanes overflow
    deep_for_s: float = 60.0
    asked_every: int = 1_000  # jobs that one function has sent to a queue before it asks for its depth again
    most_waiting: int = 1_000  # jobs of one lane that one function sends to a deep queue
    refilled_below: int = 10_000  # jobs in a queue
    refilled_at_once: int = 250  # jobs of one lane


STANDARD = Limits()


class QueueKey(NamedTuple):
    """One of a destination's queues: named by the destination's id, the one for imports by its `import_name`."""

    workspace: str
    name: str
    url: str


class LaneKey(NamedTuple):
    """One ordering key's jobs at one queue of a destination, by that queue's name."""

    workspace: str
    destination: str
    group: str


class Stored(NamedTuple):
    """A job in the overflow; `place` sorts as jobs go back to the queue."""

    place: str
    id: str
    body: str


class LaneState(NamedTuple):
    """How many jobs were ever appended and parked, when the last of them was, in epoch seconds, and by which parking.

    A parking is one time for which a gate is shut: it is named by when that began, in epoch milliseconds. A lane is not
    whole while somebody stores jobs in it, or died of that.
    """

    tail: int
    parked: int
    touched_at: float
    parking: int = 0
    is_whole: bool = True


class Turn(NamedTuple):
    """A destination's turn: `reached` says, by the name of a queue, which group's lane was looked at last.

    `renewed_at` is when all that waits was last known not to expire soon, in epoch seconds.
    """

    reached: Mapping[str, str]
    renewed_at: float


def parked_id(message_id: str) -> str:
    """The deduplication id under which a parked job goes back: its queue may still know it by the one it had."""
    return f"parked-{message_id}"


class Named(Protocol):
    @property
    def id(self) -> str: ...


J = TypeVar("J", bound=Named)


def name_of(job: Named) -> str:
    """What a lane remembers of a job that was appended."""
    return short_hash(job.id)


def unknown(jobs: Sequence[J], recent: Collection[str]) -> list[J]:
    """Those that were not appended of late."""
    return [job for job in jobs if name_of(job) not in recent]


def parked_place(parking: int, number: int) -> str:
    """Of a job that was taken out of the queue: before all that are there, but for those of the same parking.

    What is in the queue went there before what is in the overflow, or came back from it in order.
    """
    return f"0#{10**13 - parking:013d}#{number:012d}"


def appended_place(number: int) -> str:
    return f"{APPENDED}{number:012d}"


def is_stored(place: str, parked: int, appended: int) -> bool:
    """Whether a place is one of those up to which all jobs are stored, by their numbers."""
    number = int(place.rpartition("#")[2])
    return number <= (appended if place.startswith(APPENDED) else parked)


def fitting(jobs: Iterable[Stored], largest: int) -> Iterator[Stored]:
    """The first of them, so many characters at most, but one."""
    size = 0
    for job in jobs:
        size += len(job.body)
        if size > largest and size > len(job.body):
            return
        yield job


def is_drained(state: LaneState, last: str | None, now: float) -> bool:
    """Whether a lane may be given up: `last` is the place of the last job that the queue has got, None for none.

    Either that was the last that was appended, or nothing is stored, and whoever was storing something is gone.
    """
    if state.is_whole:
        return last is None or last == appended_place(state.tail)
    return last is None and now - state.touched_at >= HOLE_AFTER_S


@dataclass
class Depth:
    """What one function knows of a queue: jobs it has sent since it asked, and until when it is deep."""

    limits: Limits = STANDARD
    sent: int | None = None
    deep_until: float = 0.0
    lanes: dict[str, int] = field(default_factory=dict)

    def has_to_ask(self) -> bool:
        return self.sent is None or self.sent >= self.limits.asked_every

    def told(self, jobs: int | None, now: float) -> None:
        """So many jobs are in the queue; None where that cannot be known now."""
        self.sent = 0
        if jobs is not None and jobs >= self.limits.deep:
            self.deep_until = now + self.limits.deep_for_s
        elif now >= self.deep_until:
            self.lanes.clear()

    def overflows(self, group: str, now: float) -> bool:
        return now < self.deep_until and self.lanes.get(group, 0) >= self.limits.most_waiting

    def count(self, group: str, now: float) -> None:
        """A job went to the queue."""
        self.sent = (self.sent or 0) + 1
        if now < self.deep_until and (group in self.lanes or len(self.lanes) < MOST_LANES):
            self.lanes[group] = self.lanes.get(group, 0) + 1
