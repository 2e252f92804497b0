"""Bury what waits for a destination that is deleted: its events become dead letters, each with its receipt.

Letters are kept before receipts, and both before a job is forgotten where it waited. What a crash has buried twice is
one letter and one outcome, for both are found by the job and the event's number in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from penstock.domain import letters, overflow
from penstock.domain.books import DEAD, CreatedReceipt, DeliverReceipt, deliver_receipt
from penstock.domain.burial import REASON
from penstock.domain.event import iso
from penstock.domain.job import Job, job_in
from penstock.domain.letters import Letter
from penstock.domain.overflow import LANES_AT_ONCE, LaneKey, LaneState, Stored
from penstock.domain.progress import Progress, resumed
from penstock.steps.probe_queue import Received

HIDDEN_S = 120  # longer than a gatekeeper lives: nobody else gets what it holds
DELETED_AT_ONCE = 10
JOBS_AT_ONCE = 100
LARGEST_ROUND = 4 * 1024 * 1024  # characters of jobs from which on no more are taken


class Queue(Protocol):
    """Raises `QueueUnavailable` or `QueueGone`."""

    def receive(self, queue_url: str, hidden_s: int) -> Sequence[Received]:
        """Up to ten jobs, those of a group in order."""

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None:
        """Up to ten jobs."""


class Overflow(Protocol):
    """Raises `StoreUnavailable`."""

    def lanes(self, workspace: str, destination: str, most: int) -> Sequence[LaneKey]: ...

    def state(self, lane: LaneKey) -> LaneState | None: ...

    def stored(self, lane: LaneKey, most: int, largest: int) -> Sequence[Stored]:
        """So many jobs at most, and so many characters, but one."""

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None: ...

    def release(self, lane: LaneKey, seen: LaneState) -> bool: ...


class ProgressNotes(Protocol):
    """Notes of failing jobs. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None: ...


class Letters(Protocol):
    """Keeps letters whole; the same ones again change nothing. Raises `StoreUnavailable`."""

    def keep(self, workspace: str, destination: str, letters: Sequence[Letter]) -> None: ...


class Receipts(Protocol):
    """Keeps receipts, and jobs that nobody can read. Raises `StoreUnavailable`."""

    def keep_created(self, workspace: str, destination: str, receipt: CreatedReceipt) -> None: ...

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None: ...

    def keep_unreadable(self, destination: str, at: str, message_id: str, body: bytes) -> None: ...


@dataclass(frozen=True)
class Ports:
    queue: Queue
    overflow: Overflow
    progress: ProgressNotes
    letters: Letters
    receipts: Receipts
    now: Callable[[], datetime]


class Grave(NamedTuple):
    workspace: str
    destination: str


class _Message(NamedTuple):
    """A job where it waited; `id` is that of its message."""

    id: str
    body: str
    came_before: bool


def bury_queue(grave: Grave, queue_url: str, ports: Ports, has_time: Callable[[], bool]) -> int:
    """How many jobs of a queue were buried; there may be more where time ran out. Raises `Unavailable`."""
    buried = 0
    while has_time():
        received = _received(queue_url, ports.queue)
        if not received:
            break
        _bury(grave, [_Message(each.id, each.body, each.receives > 1) for each in received], ports)
        for first in range(0, len(received), DELETED_AT_ONCE):
            done = received[first : first + DELETED_AT_ONCE]
            ports.queue.delete(queue_url, [each.receipt for each in done])
        buried += len(received)
    return buried


def bury_lanes(grave: Grave, queue_name: str, ports: Ports, has_time: Callable[[], bool]) -> bool:
    """Bury what waits outside a queue; whether there were lanes. Raises `Unavailable`.

    A lane that has a number whose job has not come is given up later, or fan-out would send past it.
    """
    lanes = ports.overflow.lanes(grave.workspace, queue_name, LANES_AT_ONCE)
    for lane in lanes:
        while has_time() and not _is_worked_off(grave, lane, ports):
            pass
    return bool(lanes)


def _is_worked_off(grave: Grave, lane: LaneKey, ports: Ports) -> bool:
    """Bury the lane's next jobs; whether there were none."""
    seen = ports.overflow.state(lane)
    stored = ports.overflow.stored(lane, JOBS_AT_ONCE, LARGEST_ROUND)
    if stored:
        _bury(grave, [_Message(each.id, each.body, True) for each in stored], ports)
        ports.overflow.remove(lane, [each.place for each in stored])
        return False
    if seen is not None and overflow.is_drained(seen, None, ports.now().timestamp()):
        ports.overflow.release(lane, seen)
    return True


def _received(queue_url: str, queue: Queue) -> list[Received]:
    """What several calls hand out: of one user's jobs there are ten at most, but letters are kept for many at once."""
    found: list[Received] = []
    size = 0
    while len(found) < JOBS_AT_ONCE and size < LARGEST_ROUND:
        more = queue.receive(queue_url, HIDDEN_S)
        if not more:
            break
        found += more
        size += sum(len(each.body) for each in more)
    return found


def _bury(grave: Grave, messages: Iterable[_Message], ports: Ports) -> None:
    at = iso(ports.now())
    jobs: list[Job] = []
    again: set[str] = set()
    for message in messages:
        job = job_in(message.body, grave.destination)
        if job is None or job.run.workspace != grave.workspace:
            ports.receipts.keep_unreadable(grave.destination, at, message.id, message.body.encode())
            continue
        jobs.append(job)
        again |= {job.id} if message.came_before or job.reached is not None else set()
    _keep(grave, jobs, again, at, ports)


def _keep(grave: Grave, jobs: Sequence[Job], again: set[str], at: str, ports: Ports) -> None:
    """Of what a replay sent its receipt may be lost: the replay ends with its target. It is the same receipt."""
    notes = [resumed(job.reached, ports.progress.read(*grave, job.id)) for job in jobs]
    kept = [letters.unsent(job, note, REASON, at) for job, note in zip(jobs, notes, strict=True)]
    ports.letters.keep(*grave, [letter for theirs in kept for letter in theirs])
    replayed = {job.id: len(job.run.events) for job in jobs if job.replay is not None}
    if replayed:
        ports.receipts.keep_created(*grave, CreatedReceipt(at, replayed))
    longest_last = sorted(filter(None, kept), key=len)  # a late replay of fan-out may have made a job anew, of others
    fates = {theirs[0].job: (theirs[0].index, [f"{DEAD}{REASON}"] * len(theirs)) for theirs in longest_last}
    if fates:
        ports.receipts.keep_deliver(*grave, deliver_receipt(at, fates, again & fates.keys()))
