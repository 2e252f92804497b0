"""Deliver: take jobs off a destination's queue and send their events, in order within a user, users at once.

What an invocation did is noted in this order: the receipt, then what failing jobs have reached, then how long they stay
hidden. Whatever is lost by a crash between two of these is done again under the same keys; nothing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import delivery, webhook
from penstock.domain.books import DELIVERED, DeliverReceipt, deliver_receipt
from penstock.domain.delivery import Answer, Verdict
from penstock.domain.event import iso
from penstock.domain.job import Job, decode_job
from penstock.domain.progress import Progress
from penstock.domain.webhook import Webhook
from penstock.errors import StoreUnavailable, Unavailable

STORE_DELAY_S = 5.0
DELETED, DISABLED, UNREADABLE = "destination_deleted", "destination_disabled", "unreadable"


class Message(NamedTuple):
    """One message of the queue, as the poller hands it over; `receives` counts this time too."""

    id: str
    receipt: str
    group: str
    body: str
    receives: int


class Batch(NamedTuple):
    """Messages of one queue, those of a group in order; `destination` is whose queue it is."""

    destination: str
    queue_url: str
    messages: Sequence[Message]


class Destinations(Protocol):
    """The settings of `(workspace, destination)`, secrets opened, None once deleted. Raises `StoreUnavailable`."""

    def get(self, key: tuple[str, str]) -> Webhook | None: ...


class Tool(Protocol):
    """Sends one request and never raises for what the other side does."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer: ...


class ProgressNotes(Protocol):
    """Notes of failing jobs. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None: ...

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None: ...


class Queue(Protocol):
    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        """Keep up to ten messages, by their receipts, hidden for so many seconds. Raises `Unavailable`."""


class Receipts(Protocol):
    """Keeps receipts, and jobs that nobody can read. Raises `StoreUnavailable`."""

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None: ...

    def keep_unreadable(self, destination: str, at: str, message_id: str, body: bytes) -> None: ...


@dataclass(frozen=True)
class Ports:
    """`threads` run the groups of a batch at once."""

    destinations: Destinations
    tool: Tool
    progress: ProgressNotes
    queue: Queue
    receipts: Receipts
    threads: Executor
    now: Callable[[], datetime]
    chance: Callable[[], float]


class Trouble(NamedTuple):
    """An event that did not get through, as the log may know it."""

    job: str
    place: int
    reason: str
    attempts: int = 0


@dataclass(frozen=True)
class _Fate:
    """What became of one message: `fates` of its events from `first` on, and when to go on, if at all."""

    message: Message
    job: Job | None = None
    first: int = 0
    fates: tuple[str, ...] = ()
    wait_s: float | None = None
    note: Progress | None = None
    reason: str = ""

    @property
    def is_unreadable(self) -> bool:
        return self.job is None and self.wait_s is None


@dataclass(frozen=True)
class Outcome:
    """`failed` are the ids of messages to be handed out again; `delivered` counts events."""

    failed: tuple[str, ...]
    delivered: int
    troubles: tuple[Trouble, ...]


def deliver(batch: Batch, ports: Ports, has_time: Callable[[], bool]) -> Outcome:
    """`has_time` says whether another request can still be answered before the function's own time-out.

    Raises `StoreUnavailable` where no receipt could be kept: the jobs come again, under the same keys.
    """
    groups: dict[str, list[Message]] = {}
    for message in batch.messages:
        groups.setdefault(message.group, []).append(message)
    lanes = _at_once([_Lane(batch.destination, ports, has_time, group) for group in groups.values()], ports.threads)
    _keep_receipts(batch.destination, [fate for lane in lanes for fate in lane], ports)
    for fate in (fate for lane in lanes for fate in lane):
        _note(batch.destination, fate, ports.progress)
    _hide(batch.queue_url, lanes, ports.queue)
    return _outcome([fate for lane in lanes for fate in lane])


def _at_once(lanes: Sequence[_Lane], threads: Executor) -> list[list[_Fate]]:
    if len(lanes) == 1:
        return [lanes[0].work_off()]
    working = [threads.submit(lane.work_off) for lane in lanes]
    wait(working)
    return [each.result() for each in working]


@dataclass(frozen=True)
class _Lane:
    """One group's messages; once one has to wait, all behind it wait with it."""

    destination: str
    ports: Ports
    has_time: Callable[[], bool]
    messages: Sequence[Message]

    def work_off(self) -> list[_Fate]:
        fates: list[_Fate] = []
        for message in self.messages:
            waits = bool(fates) and fates[-1].wait_s is not None
            fates.append(_Fate(message, wait_s=fates[-1].wait_s) if waits else self._settle(message))
        return fates

    def _settle(self, message: Message) -> _Fate:
        try:
            job = decode_job(message.body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return _Fate(message)
        if job.destination != self.destination:
            return _Fate(message)
        try:
            settings = self.ports.destinations.get((job.run.workspace, job.destination))
            reached = self._reached(message, job)
        except StoreUnavailable:
            return _Fate(message, wait_s=STORE_DELAY_S, reason="store_unavailable")
        return self._work(message, job, settings, reached)

    def _reached(self, message: Message, job: Job) -> Progress:
        """Where to go on; a job that comes for the first time has no note."""
        notes = self.ports.progress
        known = notes.read(job.run.workspace, job.destination, job.id) if message.receives > 1 else None
        return known or Progress(0, 0, "")

    def _work(self, message: Message, job: Job, settings: Webhook | None, reached: Progress) -> _Fate:
        """Send the job's events until one has to wait or time runs out."""
        fates: list[str] = []
        for index in range(reached.done, len(job.run.events)):
            if not self.has_time():
                note = Progress(index, 0, "out_of_time") if fates else None
                return _Fate(message, job, reached.done, tuple(fates), 0.0, note)
            fate = self._send(job, index, settings)
            if isinstance(fate, Answer):
                attempts = 1 + (reached.attempts if index == reached.done else 0)
                wait_s = delivery.delay_s(fate, attempts, self.ports.chance(), self.ports.now())
                note = Progress(index, attempts, fate.reason)
                return _Fate(message, job, reached.done, tuple(fates), wait_s, note, fate.reason)
            fates.append(fate)
        return _Fate(message, job, reached.done, tuple(fates))

    def _send(self, job: Job, index: int, settings: Webhook | None) -> str | Answer:
        """An event's fate: delivered, the reason of a discard, or the answer after which it has to be tried again."""
        if settings is None or not settings.enabled:
            return DELETED if settings is None else DISABLED
        request = webhook.request_for(job.run, job.run.events[index], settings)
        if request is None:
            return UNREADABLE
        answer = self.ports.tool.post(request.url, request.headers, request.body)
        verdict = delivery.judge(answer)
        if verdict is Verdict.DONE:
            return DELIVERED
        return answer.reason if verdict is Verdict.DISCARD else answer


def _keep_receipts(destination: str, fates: Sequence[_Fate], ports: Ports) -> None:
    at = iso(ports.now())
    by_workspace: dict[str, dict[str, tuple[int, Sequence[str]]]] = {}
    for fate in fates:
        if fate.job is not None and fate.fates:
            by_workspace.setdefault(fate.job.run.workspace, {})[fate.job.id] = (fate.first, fate.fates)
        elif fate.is_unreadable:
            ports.receipts.keep_unreadable(destination, at, fate.message.id, fate.message.body.encode())
    for workspace, theirs in by_workspace.items():
        ports.receipts.keep_deliver(workspace, destination, deliver_receipt(at, theirs))


def _note(destination: str, fate: _Fate, notes: ProgressNotes) -> None:
    """Without its note a job starts over, and repeats events under the same keys; that is the lesser harm."""
    if fate.job is not None and fate.note is not None:
        with suppress(StoreUnavailable):
            notes.write(fate.job.run.workspace, destination, fate.job.id, fate.note)


def _hide(queue_url: str, lanes: Sequence[Sequence[_Fate]], queue: Queue) -> None:
    """The failing jobs first, then those behind them: these must not come back later than what they wait for.

    What could not be hidden stays so until the queue's own time-out, and comes back in order all the same.
    """
    waiting = [[fate for fate in lane if fate.wait_s is not None] for lane in lanes]
    first = [_wait(lane[0]) for lane in waiting if lane]
    behind = [_wait(fate) for lane in waiting for fate in lane[1:]]
    with suppress(Unavailable):
        for waits in (first, behind):
            if waits:
                queue.hide(queue_url, waits)


def _wait(fate: _Fate) -> tuple[str, int]:
    return fate.message.receipt, math.ceil(fate.wait_s or 0.0)


def _outcome(fates: Sequence[_Fate]) -> Outcome:
    return Outcome(
        failed=tuple(fate.message.id for fate in fates if fate.wait_s is not None),
        delivered=sum(code == DELIVERED for fate in fates for code in fate.fates),
        troubles=tuple(trouble for fate in fates for trouble in _troubles(fate)),
    )


def _troubles(fate: _Fate) -> list[Trouble]:
    name = fate.job.id if fate.job else fate.message.id
    found = [Trouble(name, index, code) for index, code in enumerate(fate.fates, fate.first) if code != DELIVERED]
    if fate.is_unreadable:
        found.append(Trouble(name, 0, UNREADABLE))
    if fate.reason:
        note = fate.note or Progress(fate.first, 0, "")
        found.append(Trouble(name, note.done, fate.reason, note.attempts))
    return found
