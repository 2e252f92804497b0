"""Deliver: take jobs off a destination's queue and send their events, in order within a user, users at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Protocol

from penstock.domain.delivery import Patience
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.evidence import Evidence
from penstock.domain.gate import Gate
from penstock.domain.job import job_in
from penstock.domain.progress import resumed
from penstock.domain.rate import Lease
from penstock.domain.webhook import Webhook
from penstock.errors import StoreUnavailable, Unavailable
from penstock.steps.lane import (
    DELETED,
    STORE_DELAY_S,
    STORE_UNAVAILABLE,
    Fate,
    Lane,
    Limits,
    Message,
    Task,
    Tool,
    Tools,
)
from penstock.steps.settle import Batch, Letters, Outcome, ProgressNotes, Queue, Receipts, settle

SHORTEST_WAIT_S = 1.0
DELETED_DELAY_S = 5.0  # the gatekeeper buries what waits for a destination that is gone
GATE = "gate"  # the reason of a job that a closed gate holds
UNLIMITED = Lease(None, None)


class Destinations(Protocol):
    """The settings of `(workspace, destination)`, secrets opened, None once deleted. Raises `StoreUnavailable`."""

    def get(self, key: tuple[str, str]) -> Webhook | None: ...


class Gates(Protocol):
    """The gate of `(workspace, destination)` as it was a few seconds ago. Raises `StoreUnavailable`."""

    def get(self, key: tuple[str, str]) -> Gate: ...


class Watch(Protocol):
    """Takes note of what speaks for closing a gate, and of what speaks against it. Raises `Unavailable`."""

    def report(self, workspace: str, destination: str, evidence: Evidence) -> None: ...


class Rate(Protocol):
    """Leases requests, so that all functions together keep a destination's limits. Raises `StoreUnavailable`."""

    def lease(self, workspace: str, destination: str, policy: DeliveryPolicy, wanted: int, groups: int) -> Lease: ...

    def settle(
        self, workspace: str, destination: str, lease: Lease, sent: int, throttled: int, pause_s: float, failed: int
    ) -> None: ...


@dataclass(frozen=True)
class Ports:
    """`threads` run the lanes of a batch at once; `seconds` is a clock that never goes back.

    `patience` is for one request; a probe has that of a late try.
    """

    destinations: Destinations
    gates: Gates
    watch: Watch
    rate: Rate
    tool: Tool
    progress: ProgressNotes
    queue: Queue
    letters: Letters
    receipts: Receipts
    threads: Executor
    now: Callable[[], datetime]
    seconds: Callable[[], float]
    chance: Callable[[], float]
    patience: Patience


def deliver(batch: Batch, ports: Ports, has_time: Callable[[], bool], is_probe: bool = False) -> Outcome:
    """`has_time` says whether another request can still be answered before the function's own time-out.

    A probe asks no gate, and gives nothing up for its age. Raises `StoreUnavailable` where no letter or receipt could
    be kept: the jobs come again, under the same keys.
    """
    opened = [_opened(message, batch.destination) for message in batch.messages]
    workspace = next((task.job.run.workspace for task in opened if task.job), None)
    if workspace is None:
        return settle(batch, "", [Fate(task) for task in opened], [], ports)
    try:
        settings = ports.destinations.get((workspace, batch.destination))
        if settings is None:
            return _held(batch, workspace, opened, DELETED_DELAY_S, DELETED, ports)
        gate = None if is_probe else ports.gates.get((workspace, batch.destination))
        hold_s = gate.hold_s(ports.now().timestamp()) if gate else None
        tasks = [_noted(task, ports.progress) for task in opened] if hold_s is None else []
    except StoreUnavailable:
        return _held(batch, workspace, opened, STORE_DELAY_S, STORE_UNAVAILABLE, ports)
    if hold_s is not None:
        return _held(batch, workspace, opened, hold_s, GATE, ports)
    return _worked_off(batch, workspace, tasks, settings, ports, has_time, gate)


def _opened(message: Message, destination: str) -> Task:
    return Task(message, job_in(message.body, destination))


def _noted(task: Task, notes: ProgressNotes) -> Task:
    """Where to go on; a job that comes for the first time has no note, but may carry one."""
    if task.job is None:
        return task
    is_first = task.message.receives == 1
    known = None if is_first else notes.read(task.job.run.workspace, task.job.destination, task.job.id)
    return task._replace(note=resumed(task.job.reached, known))


def _worked_off(
    batch: Batch,
    workspace: str,
    tasks: Sequence[Task],
    settings: Webhook,
    ports: Ports,
    has_time: Callable[[], bool],
    gate: Gate | None,
) -> Outcome:
    """`gate` is None for a probe."""
    by_group: dict[str, list[Task]] = {}
    for task in tasks:
        by_group.setdefault(task.message.group, []).append(task)
    suspect = next((group for group, theirs in by_group.items() if any(each.note.is_suspect for each in theirs)), None)
    tools = Tools(ports.tool, ports.progress, ports.now, ports.seconds, ports.chance)
    lease = _leased(batch, workspace, tasks, settings, ports)
    token = _Leased(lease, ports.seconds).token
    patience = ports.patience if gate else Patience(ports.patience.later_s, ports.patience.later_s)
    limits = Limits(has_time, token, patience, is_probe=gate is None, open_since=gate.since if gate else 0.0)
    lanes = [
        Lane(theirs, settings, tools, limits, group == suspect)
        for group, theirs in by_group.items()
        if suspect in (None, group)
    ]
    fates = _at_once(lanes, lease.slots, ports.threads)
    held = [Fate(task, wait_s=0.0) for task in tasks if suspect not in (None, task.message.group)]
    outcome = settle(
        batch, workspace, [*(fate for lane in fates for fate in lane), *held], [lane.tally for lane in lanes], ports
    )
    _report(batch, workspace, lease, lanes, ports)
    return outcome


def _report(batch: Batch, workspace: str, lease: Lease, lanes: Sequence[Lane], ports: Ports) -> None:
    """What is not told now will be when it happens again."""
    evidence = _evidence(lanes)
    if lease is not UNLIMITED:
        pause_s = max((lane.tally.pause_s for lane in lanes), default=0.0)
        with suppress(StoreUnavailable):
            ports.rate.settle(
                workspace, batch.destination, lease, evidence.requests, evidence.throttled, pause_s, evidence.failed
            )
    with suppress(Unavailable):
        ports.watch.report(workspace, batch.destination, evidence)


class _Leased:
    """The requests that a batch may make while its lease is good, counted over its lanes."""

    def __init__(self, lease: Lease, seconds: Callable[[], float]) -> None:
        self._lease = lease
        self._seconds = seconds
        self._good_until = seconds() + lease.good_s
        self._left = 0 if lease.slots == 0 else lease.granted
        self._lock = Lock()

    def token(self) -> float | None:
        """None for leave to make one request, else for how many seconds there is none."""
        if self._left is None:
            return None
        with self._lock:
            if self._left == 0 or self._seconds() > self._good_until:
                return max(self._lease.wait_s, SHORTEST_WAIT_S)
            self._left -= 1
        return None


def _leased(batch: Batch, workspace: str, tasks: Sequence[Task], settings: Webhook, ports: Ports) -> Lease:
    """Where the store is out and no limit is known, nothing is leased, and nothing limited."""
    wanted = sum(len(task.job.run.events) - task.note.done for task in tasks if task.job)
    groups = len({task.message.group for task in tasks})
    with suppress(StoreUnavailable):
        return ports.rate.lease(workspace, batch.destination, settings.policy, wanted, groups)
    return UNLIMITED


def _at_once(lanes: Sequence[Lane], most: int | None, threads: Executor) -> list[list[Fate]]:
    """Work off all lanes, so many at the same time at most."""
    if len(lanes) == 1:
        return [lanes[0].work_off()]
    shares = (
        [lanes[first :: max(most, 1)] for first in range(max(most, 1))] if most is not None else [[x] for x in lanes]
    )
    working = [threads.submit(_in_turn, share) for share in shares if share]
    wait(working)
    return [fates for each in working for fates in each.result()]


def _in_turn(lanes: Sequence[Lane]) -> list[list[Fate]]:
    return [lane.work_off() for lane in lanes]


def _evidence(lanes: Sequence[Lane]) -> Evidence:
    tallies = [lane.tally for lane in lanes]
    requests = sum(tally.requests for tally in tallies)
    return Evidence(
        groups_failed=frozenset(lane.group for lane in lanes if lane.tally.has_failed),
        delivered=sum(tally.answered for tally in tallies),
        stop=next((tally.stop for tally in tallies if tally.stop), None),
        mean_s=sum(tally.spent_s for tally in tallies) / requests if requests else 0.0,
        requests=requests,
        throttled=sum(tally.throttled for tally in tallies),
    )


def _held(batch: Batch, workspace: str, tasks: Sequence[Task], wait_s: float, reason: str, ports: Ports) -> Outcome:
    """Nothing is tried: every job that can be read comes back after a while."""
    fates = [Fate(task, wait_s=wait_s, reason=reason) if task.job else Fate(task) for task in tasks]
    return settle(batch, workspace, fates, [], ports)
