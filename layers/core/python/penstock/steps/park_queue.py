"""Park a queue: move its jobs into the overflow, in order, before SQS would forget them.

A gate that is shut for long holds jobs that came on its first day. Once one job of a lane is parked all of them have to
be before the gate may open or be probed, for those that are left came later; so `is_parked_whole` is asked first. The
lane's key is marked, so that what fan-out brings goes behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain.dedup import Owner
from penstock.domain.job import Job, decode_job, group_of
from penstock.domain.overflow import LaneKey, QueueKey, parked_id
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


@dataclass(frozen=True)
class Ports:
    overflow: Overflow
    queue: Queue
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
    ports.overflow.open(lane, Owner(lane.workspace, run.source, group_of(run.source, run.key)))
    ports.overflow.park(lane, shut.parking, [_Moved(parked_id(each.id), each.body) for each, _ in found])
    ports.queue.delete(shut.queue.url, [each.receipt for each, _ in found])
    return len(found)


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
