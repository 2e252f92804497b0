"""Spill: while a destination's queue is deep, put jobs of its longest lanes into the overflow instead.

What a function knows of depths is a hint of its own. What decides is the mark in the key's item, which fan-out reads
with every run of the key: once it is there, the key's jobs are appended to the overflow, until the lane is released.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Protocol

from penstock.domain.dedup import KeyState, Owner
from penstock.domain.overflow import STANDARD, Depth, LaneKey, Limits
from penstock.errors import QueueUnavailable

MOST_QUEUES = 10_000
APPENDED_AT_ONCE = 25


class Job(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def body(self) -> str: ...


class Overflow(Protocol):
    """Raises `StoreUnavailable`."""

    def open(self, lane: LaneKey, owner: Owner) -> None: ...

    def unmark(self, lane: LaneKey, owner: Owner) -> None: ...

    def append(self, lane: LaneKey, jobs: Sequence[Job]) -> bool:
        """False where the lane does not overflow any more."""


class Depths(Protocol):
    def waiting(self, queue_url: str) -> int:
        """How many jobs a queue holds, roughly. Raises `QueueUnavailable` or `QueueGone`."""


class Spill:
    def __init__(
        self, overflow: Overflow, depths: Depths, clock: Callable[[], float], limits: Limits = STANDARD
    ) -> None:
        self._overflow = overflow
        self._depths = depths
        self._clock = clock
        self._limits = limits
        self._known: OrderedDict[str, Depth] = OrderedDict()
        self._lock = Lock()

    def is_due(self, lane: LaneKey, queue_url: str, key: KeyState) -> bool:
        """Whether the key's next jobs have to go to the overflow. Raises `QueueGone`."""
        if lane.destination in key.over:
            return True
        depth = self._depth(lane.destination)
        now = self._clock()
        if depth.has_to_ask():
            depth.told(self._asked(queue_url), now)
        return depth.overflows(lane.group, now)

    def append(self, lane: LaneKey, owner: Owner, key: KeyState, jobs: Sequence[Job]) -> int:
        """How many of the jobs, from the first on, the overflow has; the others go to the queue.

        Raises `StoreUnavailable`: after a replay those that are there already are not stored again.
        """
        if lane.destination not in key.over:
            self._overflow.open(lane, owner)
        for first in range(0, len(jobs), APPENDED_AT_ONCE):
            if not self._overflow.append(lane, jobs[first : first + APPENDED_AT_ONCE]):
                self._overflow.unmark(lane, owner)
                return first
        return len(jobs)

    def sent(self, destination: str, group: str) -> None:
        """A job went to the queue."""
        self._depth(destination).count(group, self._clock())

    def _asked(self, queue_url: str) -> int | None:
        """A queue that gives no answer is asked again after as many jobs: each answer may take seconds to fail."""
        try:
            return self._depths.waiting(queue_url)
        except QueueUnavailable:
            return None

    def _depth(self, destination: str) -> Depth:
        with self._lock:
            depth = self._known.setdefault(destination, Depth(self._limits))
            self._known.move_to_end(destination)
            if len(self._known) > MOST_QUEUES:
                self._known.popitem(last=False)
            return depth
