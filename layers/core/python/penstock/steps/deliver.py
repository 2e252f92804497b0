"""Deliver: take jobs off a destination's queue and send their events, in order within a user, users at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import delivery, webhook
from penstock.domain.books import DELIVERED, DeliverReceipt, JobReceipt
from penstock.domain.delivery import Answer, Verdict
from penstock.domain.job import Job, decode_job
from penstock.domain.progress import Progress
from penstock.domain.run import Run
from penstock.domain.webhook import Webhook
from penstock.errors import QueueUnavailable, StoreUnavailable

UNREADABLE_DELAY_S = 60.0  # a job of a newer version waits for the code that can read it
STORE_DELAY_S = 5.0
REASON_CODES = "abcefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Message(NamedTuple):
    """One message of the queue, as the poller hands it over."""

    id: str
    receipt: str
    group: str
    body: str
    receives: int
    queue_url: str


class Destinations(Protocol):
    """The destination's settings with secrets opened, None once it is deleted. Raises `StoreUnavailable`."""

    def get(self, key: tuple[str, str]) -> Webhook | None: ...


class Tool(Protocol):
    """Sends one request and never raises for what the other side does."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer: ...


class ProgressNotes(Protocol):
    """Notes of failing jobs. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None: ...

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None: ...


class Queue(Protocol):
    def hide(self, message: Message, seconds: float) -> None:
        """Keep a message from being handed out for that long. Raises `QueueUnavailable`."""


class Receipts(Protocol):
    """Keeps receipts. Raises `StoreUnavailable`."""

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None: ...


@dataclass(frozen=True)
class Ports:
    destinations: Destinations
    tool: Tool
    progress: ProgressNotes
    queue: Queue
    receipts: Receipts
    now: Callable[[], datetime]
    chance: Callable[[], float]


@dataclass(frozen=True)
class _Fate:
    """What this invocation did for one job: `codes` for the events from `first` on, and when to go on, if at all."""

    job: Job
    first: int
    fates: tuple[str, ...]
    again_in_s: float | None = None
    attempts: int = 0
    last: str = ""

    @property
    def reached(self) -> int:
        return self.first + len(self.fates)


@dataclass(frozen=True)
class Outcome:
    """`failed` are the messages to be handed out again; the counts are of events."""

    failed: tuple[str, ...]
    delivered: int
    discarded: int
    reasons: tuple[str, ...]


def deliver(messages: Sequence[Message], ports: Ports, has_time: Callable[[], bool]) -> Outcome:
    """`has_time` says whether another request can still be answered before the function's own time-out.

    Raises `StoreUnavailable` where no receipt could be kept: the jobs come again, under the same keys.
    """
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group, []).append(message)
    with ThreadPoolExecutor(len(groups)) as pool:
        lanes = list(pool.map(lambda group: _lane(group, ports, has_time), groups.values()))
    fates = [fate for lane in lanes for fate in lane.fates]
    _keep_receipts(fates, ports.receipts)
    return Outcome(
        failed=tuple(message_id for lane in lanes for message_id in lane.failed),
        delivered=sum(code == DELIVERED for fate in fates for code in fate.fates),
        discarded=sum(code != DELIVERED for fate in fates for code in fate.fates),
        reasons=tuple(reason for lane in lanes for reason in lane.reasons),
    )


@dataclass(frozen=True)
class _Lane:
    """What became of one group's messages."""

    fates: list[_Fate]
    failed: list[str]
    reasons: list[str]


def _lane(messages: Sequence[Message], ports: Ports, has_time: Callable[[], bool]) -> _Lane:
    """One group's jobs, one after the other; once one has to wait, all behind it wait with it."""
    lane = _Lane([], [], [])
    for place, message in enumerate(messages):
        fate, delay_s, reason = _settle(message, ports, has_time)
        if fate is not None:
            lane.fates.append(fate)
        if delay_s is not None:
            left = messages[place:]
            lane.failed.extend(each.id for each in left)
            lane.reasons.append(reason)
            _hide(left, delay_s, ports.queue)
            break
    return lane


def _settle(message: Message, ports: Ports, has_time: Callable[[], bool]) -> tuple[_Fate | None, float | None, str]:
    """(what was done, seconds to wait or None when the job is finished, why)."""
    try:
        job = decode_job(message.body)
    except (msgspec.MsgspecError, RecursionError):
        return None, UNREADABLE_DELAY_S, "unreadable"
    try:
        settings = ports.destinations.get((job.run.workspace, job.destination))
        reached = _reached(message, job, ports.progress)
    except StoreUnavailable:
        return None, STORE_DELAY_S, "store_unavailable"
    fate = _work(job, settings, reached, ports, has_time)
    if fate.again_in_s is None:
        return fate, None, ""
    _note(fate, ports.progress)
    return fate, fate.again_in_s, fate.last


def _reached(message: Message, job: Job, notes: ProgressNotes) -> Progress:
    """Where to go on; a job that comes for the first time has no note."""
    known = notes.read(job.run.workspace, job.destination, job.id) if message.receives > 1 else None
    return known or Progress(0, 0, "")


def _work(job: Job, settings: Webhook | None, reached: Progress, ports: Ports, has_time: Callable[[], bool]) -> _Fate:
    """Send the job's events until one has to wait or time runs out."""
    fates: list[str] = []
    for index in range(reached.done, len(job.run.events)):
        attempts = reached.attempts if index == reached.done else 0
        if settings is None or not settings.enabled:
            fates.append("destination_deleted" if settings is None else "destination_disabled")
            continue
        if not has_time():
            return _Fate(job, reached.done, tuple(fates), 0.0, attempts, "out of time")
        answer = _send(job.run, index, settings, ports.tool)
        verdict = delivery.judge(answer)
        if verdict in (Verdict.RETRY, Verdict.ASK):
            wait_s = delivery.delay_s(answer, attempts + 1, ports.chance(), ports.now())
            return _Fate(job, reached.done, tuple(fates), wait_s, attempts + 1, answer.reason)
        fates.append(DELIVERED if verdict is Verdict.DONE else answer.reason)
    return _Fate(job, reached.done, tuple(fates))


def _send(run: Run, index: int, settings: Webhook, tool: Tool) -> Answer:
    request = webhook.request_for(run, run.events[index], settings)
    return tool.post(request.url, request.headers, request.body)


def _note(fate: _Fate, notes: ProgressNotes) -> None:
    """Without the note the job starts over, and repeats events under the same keys; that is the lesser harm."""
    run = fate.job.run
    try:
        notes.write(run.workspace, fate.job.destination, fate.job.id, Progress(fate.reached, fate.attempts, fate.last))
    except StoreUnavailable:
        return


def _hide(messages: Sequence[Message], delay_s: float, queue: Queue) -> None:
    """The failing job first: those behind it must not come back before it. Unhidden, they wait for the time-out."""
    for message in messages:
        try:
            queue.hide(message, delay_s)
        except QueueUnavailable:
            return


def _keep_receipts(fates: Sequence[_Fate], receipts: Receipts) -> None:
    by_destination: dict[tuple[str, str], list[_Fate]] = {}
    for fate in fates:
        if fate.fates:
            by_destination.setdefault((fate.job.run.workspace, fate.job.destination), []).append(fate)
    for (workspace, destination), theirs in by_destination.items():
        receipts.keep_deliver(workspace, destination, _receipt(theirs))


def _receipt(fates: Sequence[_Fate]) -> DeliverReceipt:
    reasons = sorted({code for fate in fates for code in fate.fates if code != DELIVERED})
    codes = dict(zip(reasons, REASON_CODES, strict=False)) | {DELIVERED: DELIVERED}
    jobs = {fate.job.id: JobReceipt(fate.first, "".join(codes[reason] for reason in fate.fates)) for fate in fates}
    return DeliverReceipt("", jobs, {code: reason for reason, code in codes.items() if reason != DELIVERED})
