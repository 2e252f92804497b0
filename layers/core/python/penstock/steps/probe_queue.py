"""Probe a queue: take some of its jobs off by hand, in spite of its gate, and see whether any gets through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from penstock.domain.gate_moves import Probed
from penstock.errors import QueueUnavailable

AT_ONCE = 10
LARGEST_PROBE = 4 * 1024 * 1024  # characters of jobs from which on no more are taken
HIDDEN_S = 60  # jobs that a probe took and never gave back


class Received(Protocol):
    """A job that was taken off a queue by hand."""

    @property
    def id(self) -> str: ...

    @property
    def receipt(self) -> str: ...

    @property
    def group(self) -> str: ...

    @property
    def body(self) -> str: ...

    @property
    def receives(self) -> int: ...

    @property
    def sent_at(self) -> float:
        """When the queue took it, in epoch seconds."""


class Queue(Protocol):
    """A destination's queue, emptied by hand. Raises `QueueUnavailable` or `QueueGone`."""

    def receive(self, queue_url: str, hidden_s: int) -> Sequence[Received]:
        """Up to ten jobs, those of a group in order."""

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None: ...

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        """Up to ten jobs, by their receipts, for so many seconds."""

    def waiting(self, queue_url: str) -> int:
        """How many jobs there are, visible or not."""


class Sent(NamedTuple):
    """What became of the jobs of a probe: the ids of those to be tried again, and how many events got through."""

    failed: frozenset[str]
    delivered: int


class Deliver(Protocol):
    def __call__(self, destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
        """Send jobs in spite of the gate; a failure makes none of them dead. Raises `Unavailable`."""


class Tried(NamedTuple):
    """What a probe showed of one queue; `again` are the receipts of the jobs to be tried again."""

    url: str = ""
    received: int = 0
    delivered: int = 0
    again: tuple[str, ...] = ()
    waiting: int = 0

    @property
    def probed(self) -> Probed:
        return Probed(self.received, len(self.again), self.delivered, self.waiting)


def probe_queue(destination: str, url: str, users: int, queue: Queue, deliver: Deliver) -> Tried:
    """Try the jobs of so many users, all at once. Raises `Unavailable`."""
    jobs = _received(url, users, queue)
    if not jobs:
        return Tried(url)
    sent = deliver(destination, url, jobs)
    _delete(url, [job.receipt for job in jobs if job.id not in sent.failed], queue)
    again = tuple(job.receipt for job in jobs if job.id in sent.failed)
    return Tried(url, len(jobs), sent.delivered, again)


def _delete(url: str, receipts: Sequence[str], queue: Queue) -> None:
    """All that can be, before any trouble is raised: what stays comes again, and is sent again."""
    trouble = None
    for first in range(0, len(receipts), AT_ONCE):
        try:
            queue.delete(url, receipts[first : first + AT_ONCE])
        except QueueUnavailable as error:
            trouble = error
    if trouble is not None:
        raise trouble


def _received(url: str, users: int, queue: Queue) -> list[Received]:
    """A queue hands out as many jobs as it can of the first user: it is asked again until it has some of others."""
    found: list[Received] = []
    while len({job.group for job in found}) < users and sum(len(job.body) for job in found) < LARGEST_PROBE:
        more = queue.receive(url, HIDDEN_S)
        if not more:
            break
        found += more
    return found


def hide(tried: Tried, wait_s: float, queue: Queue) -> None:
    """Until the next probe, and no longer: what deliver would have them wait grows with every try."""
    waits = [(receipt, math.ceil(wait_s)) for receipt in tried.again]
    for first in range(0, len(waits), AT_ONCE):
        queue.hide(tried.url, waits[first : first + AT_ONCE])
