"""Settle a batch: note what became of each job, in an order in which a crash anywhere loses nothing.

Letters first, then the receipt, then what failing jobs have reached, last how long they stay hidden. Whatever is cut
off between two of these is done again under the same keys.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain.books import DELIVERED, Cause, DeliverReceipt, deliver_receipt
from penstock.domain.event import iso
from penstock.domain.letters import Letter
from penstock.domain.progress import Progress
from penstock.errors import StoreUnavailable, Unavailable
from penstock.steps.lane import UNREADABLE, Fate, Message, Tally

HIDDEN_AT_ONCE = 10  # as many as a batch has of the queue; a probe may have more


class Batch(NamedTuple):
    """Messages of one queue, those of a group in order; `destination` is whose queue it is."""

    destination: str
    queue_url: str
    messages: Sequence[Message]


class ProgressNotes(Protocol):
    """Notes of failing jobs. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None: ...

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None: ...

    def give_back(self, workspace: str, destination: str, job_ids: Sequence[str]) -> None:
        """Count for each that it was given back, whatever else is noted of it."""


class Queue(Protocol):
    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        """Keep up to ten messages, by their receipts, hidden for so many seconds. Raises `Unavailable`."""


class Letters(Protocol):
    """Keeps discarded and dead events whole; the same ones again change nothing. Raises `StoreUnavailable`."""

    def keep(self, workspace: str, destination: str, letters: Sequence[Letter]) -> None: ...


class Receipts(Protocol):
    """Keeps receipts, and jobs that nobody can read. Raises `StoreUnavailable`."""

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None: ...

    def keep_unreadable(self, destination: str, at: str, message_id: str, body: bytes) -> None: ...


class Desk(Protocol):
    """Where a batch is settled."""

    @property
    def letters(self) -> Letters: ...

    @property
    def receipts(self) -> Receipts: ...

    @property
    def progress(self) -> ProgressNotes: ...

    @property
    def queue(self) -> Queue: ...

    @property
    def now(self) -> Callable[[], datetime]: ...


class Trouble(NamedTuple):
    """An event that did not get through, as the log may know it."""

    job: str
    place: int
    reason: str
    attempts: int = 0


@dataclass(frozen=True)
class Outcome:
    """`failed` are the ids of messages to be handed out again; `delivered` counts events."""

    failed: tuple[str, ...]
    delivered: int
    troubles: tuple[Trouble, ...]


def settle(batch: Batch, workspace: str, fates: Sequence[Fate], tallies: Sequence[Tally], desk: Desk) -> Outcome:
    """Raises `StoreUnavailable` where no letter or receipt could be kept: then all of the batch comes again."""
    letters = [letter for fate in fates for letter in fate.letters]
    if letters:
        desk.letters.keep(workspace, batch.destination, letters)
    _keep_receipts(batch.destination, workspace, fates, tallies, desk)
    _note(batch.destination, fates, desk.progress)
    _hide(batch.queue_url, fates, desk.queue)
    return _outcome(fates)


def _keep_receipts(
    destination: str, workspace: str, fates: Sequence[Fate], tallies: Sequence[Tally], desk: Desk
) -> None:
    at = iso(desk.now())
    for fate in fates:
        if fate.is_unreadable:
            message = fate.task.message
            desk.receipts.keep_unreadable(destination, at, message.id, message.body.encode())
    done = [(fate.task.job, fate) for fate in fates if fate.task.job is not None]
    jobs = {job.id: (fate.task.note.done, fate.fates) for job, fate in done if fate.fates}
    again = {job.id for job, fate in done if fate.task.message.receives > 1 or job.reached is not None}
    left = {job.id: len(job.run.events) - fate.task.note.done - len(fate.fates) for job, fate in done if fate.fates}
    retried = sum(tally.retried for tally in tallies)
    if jobs or retried:
        delays: Counter[int] = sum((tally.delays for tally in tallies), Counter())
        failed = {job.id: job.run.received_at for job, fate in done if fate.wait_s is not None and _has_failed(fate)}
        more = {"retried": retried, "delays": delays, "causes": _causes(tallies), "waiting": failed}
        desk.receipts.keep_deliver(workspace, destination, deliver_receipt(at, jobs, again, left, **more))


def _has_failed(fate: Fate) -> bool:
    """Whether an event of the job was tried, and has to be again."""
    return fate.note is not None and fate.note.attempts > 0


def _causes(tallies: Sequence[Tally]) -> dict[str, Cause]:
    found: dict[str, Cause] = {}
    for tally in tallies:
        for reason, cause in tally.causes.items():
            count = cause.count + (found[reason].count if reason in found else 0)
            found[reason] = msgspec.structs.replace(cause, count=count)
    return found


def _note(destination: str, fates: Sequence[Fate], notes: ProgressNotes) -> None:
    """Without its note a job starts over, and repeats events under the same keys; that is the lesser harm."""
    given_back: dict[str, list[str]] = {}
    for fate in fates:
        job = fate.task.job
        if job is None or fate.wait_s is None:
            continue
        if fate.note is None:
            given_back.setdefault(job.run.workspace, []).append(job.id)
            continue
        with suppress(StoreUnavailable):
            notes.write(job.run.workspace, destination, job.id, fate.note)
    for workspace, job_ids in given_back.items():
        with suppress(StoreUnavailable):
            notes.give_back(workspace, destination, job_ids)


def _hide(queue_url: str, fates: Sequence[Fate], queue: Queue) -> None:
    """The failing jobs first, then those behind them: these must not come back later than what they wait for.

    What could not be hidden stays so until the queue's own time-out, and comes back in order all the same.
    """
    waiting = [fate for fate in fates if fate.wait_s is not None]
    heads = {fate.task.message.group: fate for fate in reversed(waiting)}
    behind = [_wait(fate) for fate in waiting if heads[fate.task.message.group] is not fate]
    first = [_wait(fate) for fate in waiting if heads[fate.task.message.group] is fate]
    with suppress(Unavailable):
        for waits in (first, behind):
            for at in range(0, len(waits), HIDDEN_AT_ONCE):
                queue.hide(queue_url, waits[at : at + HIDDEN_AT_ONCE])


def _wait(fate: Fate) -> tuple[str, int]:
    return fate.task.message.receipt, math.ceil(fate.wait_s or 0.0)


def _outcome(fates: Sequence[Fate]) -> Outcome:
    return Outcome(
        failed=tuple(fate.task.message.id for fate in fates if fate.wait_s is not None),
        delivered=sum(code == DELIVERED for fate in fates for code in fate.fates),
        troubles=tuple(trouble for fate in fates for trouble in _troubles(fate)),
    )


def _troubles(fate: Fate) -> list[Trouble]:
    job, first = fate.task.job, fate.task.note.done
    name = job.id if job else fate.task.message.id
    found = [Trouble(name, index, code) for index, code in enumerate(fate.fates, first) if code != DELIVERED]
    if fate.is_unreadable:
        found.append(Trouble(name, 0, UNREADABLE))
    if fate.reason:
        note = fate.note or Progress(first)
        found.append(Trouble(name, note.done, fate.reason, note.attempts))
    return found
