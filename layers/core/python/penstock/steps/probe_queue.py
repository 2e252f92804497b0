"""Probe a queue: take some of its jobs off by hand, in spite of its gate, and see whether any gets through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from penstock.domain.gate_moves import Probed

ENOUGH_GROUPS = 3  # so that no single user's event stands for all
ROUNDS = 3
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


def probe_queue(destination: str, url: str, queue: Queue, deliver: Deliver) -> Tried:
    """Raises `Unavailable`.

    A queue hands out as many jobs as it can of the first user: it is asked again until it has some of others.
    """
    groups: set[str] = set()
    again: list[str] = []
    received = delivered = 0
    for _ in range(ROUNDS):
        jobs = queue.receive(url, HIDDEN_S)
        if not jobs:
            break
        sent = deliver(destination, url, jobs)
        done = [job.receipt for job in jobs if job.id not in sent.failed]
        if done:
            queue.delete(url, done)
        received, delivered = received + len(jobs), delivered + sent.delivered
        again += [job.receipt for job in jobs if job.id in sent.failed]
        groups |= {job.group for job in jobs}
        if delivered or len(groups) >= ENOUGH_GROUPS:
            break
    return Tried(url, received, delivered, tuple(again))


def hide(tried: Tried, wait_s: float, queue: Queue) -> None:
    """Until the next probe, and no longer: what deliver would have them wait grows with every try."""
    waits = [(receipt, math.ceil(wait_s)) for receipt in tried.again]
    for first in range(0, len(waits), 10):
        queue.hide(tried.url, waits[first : first + 10])
