"""Park a queue: move its jobs into the overflow, in order, before SQS would forget them.

A gate that is shut for long holds jobs that came on its first day. Once one job of a lane is parked all of them have to
be before the gate may open or be probed, for those that are left came later; so `is_parked_whole` is asked first. The
lane's key is marked, so that what fan-out brings goes behind them.

A parked job comes back as a new message, long after its note is forgotten: so it carries with it what it has reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain.dedup import Owner
from penstock.domain.job import Job, decode_job, encode_job, group_of
from penstock.domain.overflow import LaneKey, QueueKey, parked_id
from penstock.domain.progress import Progress, resumed
from penstock.errors import StoreUnavailable
from penstock.steps.probe_queue import Queue, Received

HIDDEN_S = 60


class Parked(Protocol):
    """One job on its way into the overflow."""

    @property
    def id(self) -> str: ...

    @property
    def body(self) -> str: ...


class Overflow(Protocol):
    """Raises `StoreUnavailable`."""

    def open(self, lane: LaneKey, owner: Owner) -> None: ...

    def park(self, lane: LaneKey, parking: int, jobs: Sequence[Parked]) -> None: ...


class Notes(Protocol):
    """Notes of failing jobs. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None: ...

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None: ...


@dataclass(frozen=True)
class Ports:
    overflow: Overflow
    queue: Queue
    notes: Notes
    has_time: Callable[[], bool]


class Shut(NamedTuple):
    """A queue whose gate is shut: nothing has gone back to it since `parking`, in epoch milliseconds."""

    queue: QueueKey
    parking: int


@dataclass(frozen=True)
class _Moved:
    id: str
    body: str


def is_parked_whole(shut: Shut, ports: Ports) -> bool:
    """Park what is left; whether that was all, so that the gate may open. Raises `Unavailable`."""
    park_queue(shut, ports)
    return ports.queue.waiting(shut.queue.url) == 0


def park_queue(shut: Shut, ports: Ports) -> int:
    """How many jobs were moved; comes again for what time did not allow. Raises `Unavailable`.

    A job is stored before it is deleted: moved twice, it is in the overflow twice, and the queue takes it once.
    """
    moved = 0
    while ports.has_time():
        received = ports.queue.receive(shut.queue.url, HIDDEN_S)
        if not received:
            break
        for group, theirs in _by_group(received).items():
            moved += _park(LaneKey(shut.queue.workspace, shut.queue.name, group), theirs, shut, ports)
    return moved


def _park(lane: LaneKey, received: Sequence[Received], shut: Shut, ports: Ports) -> int:
    """What nobody can read stays, and all behind it: deliver keeps it aside when the gate opens."""
    found: list[tuple[Received, Job]] = []
    for each in received:
        job = _opened(each.body)
        if job is None:
            break
        found.append((each, job))
    if not found:
        return 0
    run = found[0][1].run
    known = [_noted(each, job, ports.notes) for each, job in found]
    carrying = [_carrying(each, job, note) for (each, job), note in zip(found, known, strict=True)]
    ports.overflow.open(lane, Owner(lane.workspace, run.source, group_of(run.source, run.key)))
    ports.overflow.park(lane, shut.parking, carrying)
    ports.queue.delete(shut.queue.url, [each.receipt for each, _ in found])
    for (_, job), note in zip(found, known, strict=True):
        _begin_anew(job, note, ports.notes)
    return len(found)


def _noted(received: Received, job: Job, notes: Notes) -> Progress | None:
    """Of a job that nobody had in hand before there is no note."""
    return notes.read(job.run.workspace, job.destination, job.id) if received.receives > 1 else None


def _carrying(received: Received, job: Job, known: Progress | None) -> _Moved:
    if received.receives == 1:
        return _Moved(parked_id(received.id), received.body)
    reached = resumed(job.reached, known)._replace(returns=0)
    return _Moved(parked_id(received.id), encode_job(msgspec.structs.replace(job, reached=reached)))


def _begin_anew(job: Job, known: Progress | None, notes: Notes) -> None:
    """How often the old message was given back says nothing of the new one; if this fails, a crash is seen later."""
    if known is not None and known.returns:
        with suppress(StoreUnavailable):
            notes.write(job.run.workspace, job.destination, job.id, known._replace(returns=0))


def _opened(body: str) -> Job | None:
    try:
        return decode_job(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _by_group(received: Sequence[Received]) -> dict[str, list[Received]]:
    found: dict[str, list[Received]] = {}
    for each in received:
        found.setdefault(each.group, []).append(each)
    return found
