"""Replay letters: put dead and discarded events on a queue once more, in order for each user, beside the live ones.

A replay goes on in steps, each set going by a ticket. For a page of letters a step claims them, sends the jobs, notes
what it has created, marks the letters, and only then moves the replay's cursor, on condition that nobody else has.
Whatever is lost by a crash between two of these is done again: the queue knows its jobs for five minutes, longer than
a ticket stays hidden, and what was marked is not sent again. Of several replays only one has a letter in hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import letter_index, letters, replays
from penstock.domain.books import CreatedReceipt
from penstock.domain.job import Job, encode_job, group_of
from penstock.domain.letter_index import LetterEntry, LetterFilter
from penstock.domain.letters import Letter
from penstock.domain.replays import Replay, Ticket
from penstock.domain.routing import Route
from penstock.errors import QueueGone, QueueUnavailable, StoreChanged

ENTRIES_PER_CALL = 10
LARGEST_CALL = 1024 * 1024 - 16 * 1024
SENT_AT_ONCE = 100  # letters between two moves of the cursor
PAUSES_S = (0.1, 0.4)
MOST_WAITING = 20_000  # jobs in the queue of a target that takes them more slowly than they come
SLOW_DOWN_S = 30
LANE = "replay\0"  # before the key; a client's key that begins so would share a lane, to no harm
MOST_LOOKS, LOOK_AGAIN_S = 5, 5
GONE, DISABLED = "destination_deleted", "destination_disabled"
BROKEN, GIVEN_UP = "internal_error", "given_up"  # a fault of the hub's own; a step that failed for a day


class Message(NamedTuple):
    """One job as it goes to a queue."""

    id: str
    group: str
    body: str


class Index(Protocol):
    """The index of letters. Raises `StoreUnavailable`."""

    def find(self, workspace: str, destination: str, place: str) -> LetterEntry | None: ...

    def in_order(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, replay: str
    ) -> tuple[list[LetterEntry], str | None]:
        """Letters after a place, and up to which place it has looked, None for all."""

    def count(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, replay: str
    ) -> tuple[int, str | None]: ...

    def claim(self, workspace: str, destination: str, entries: Sequence[LetterEntry], replay: str) -> set[str]:
        """Take letters in hand; the places of those that are, and nobody else has dealt with since they were read."""

    def mark(self, workspace: str, destination: str, places: Sequence[str], replay: str, at: str) -> None:
        """They were sent."""


class Bodies(Protocol):
    def read(self, entries: Sequence[LetterEntry]) -> list[Letter | None]:
        """None for each whose body is gone. Raises `StoreUnavailable`."""


class Replays(Protocol):
    """Raises `StoreUnavailable`."""

    def find(self, workspace: str, destination: str, replay_id: str) -> Replay | None: ...

    def change(self, before: Replay, after: Replay) -> None:
        """Raises `StoreChanged` where it is not as it was `before` any more."""

    def leave(self, workspace: str, destination: str, replay_id: str) -> None:
        """It is none of its workspace's live ones any more."""


class Targets(Protocol):
    """A destination as it is at this moment, None once it is deleted. Raises `StoreUnavailable`."""

    def find(self, workspace: str, destination: str) -> Route | None: ...


class Queues(Protocol):
    """Raises `QueueGone` or `QueueUnavailable`."""

    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        """The ids of those that were not taken, of ten at most."""

    def waiting(self, queue_url: str) -> int:
        """About how many messages it holds."""


class Receipts(Protocol):
    """Keeps receipts. Raises `StoreUnavailable`."""

    def keep_created(self, workspace: str, destination: str, receipt: CreatedReceipt) -> None: ...


class Tickets(Protocol):
    def put(self, ticket: Ticket, delay_s: int) -> None:
        """Raises `QueueUnavailable`."""


@dataclass(frozen=True)
class Ports:
    """`now` is ISO 8601 UTC, `new_id` a text that nobody else has."""

    index: Index
    bodies: Bodies
    replays: Replays
    targets: Targets
    queues: Queues
    receipts: Receipts
    tickets: Tickets
    now: Callable[[], str]
    new_id: Callable[[], str]
    sleep: Callable[[float], None]


class Outcome(Enum):
    ABSENT = "absent"  # not made yet, or never
    GOES_ON = "goes_on"
    ENDED = "ended"
    HANDED_OVER = "handed_over"  # somebody else is at it, or has cancelled it


def replay_letters(ticket: Ticket, ports: Ports, has_time: Callable[[], bool]) -> Outcome:
    """Work on a replay for as long as there is time. Raises `Unavailable` where the ticket has to come again."""
    replay = ports.replays.find(ticket.workspace, ticket.destination, ticket.replay)
    if replay is None:
        return _look_again(ticket, ports)
    while replay.is_live:
        delay_s = _delay(replay, ports) if has_time() else 0
        if delay_s is not None:
            ports.tickets.put(ticket, delay_s)
            return Outcome.GOES_ON
        after = _stepped(replay, ports)
        if not _is_changed(replay, after, ports.replays):
            return Outcome.HANDED_OVER
        replay = after
    ports.replays.leave(ticket.workspace, ticket.destination, ticket.replay)
    return Outcome.ENDED


def fail_replay(ticket: Ticket, reason: str, ports: Ports) -> None:
    """End a replay that cannot go on; one that is changed meanwhile is somebody else's. Raises `Unavailable`."""
    replay = ports.replays.find(ticket.workspace, ticket.destination, ticket.replay)
    if replay is None or not replay.is_live or _is_failed(replay, reason, ports):
        ports.replays.leave(ticket.workspace, ticket.destination, ticket.replay)


def _is_failed(replay: Replay, reason: str, ports: Ports) -> bool:
    return _is_changed(replay, _moved(replay, ports, state="failed", reason=reason), ports.replays)


def _look_again(ticket: Ticket, ports: Ports) -> Outcome:
    """The ticket goes out before the replay is made; what is not there after a while never will be."""
    if ticket.looks < MOST_LOOKS:
        ports.tickets.put(msgspec.structs.replace(ticket, looks=ticket.looks + 1), LOOK_AGAIN_S)
    else:
        ports.replays.leave(ticket.workspace, ticket.destination, ticket.replay)
    return Outcome.ABSENT


def _delay(replay: Replay, ports: Ports) -> int | None:
    """For how long to wait for the target to take what it has; None for not at all."""
    target = ports.targets.find(replay.workspace, replay.target)
    if target is None or replay.state == "pending":
        return None
    try:
        return SLOW_DOWN_S if ports.queues.waiting(target.queue_url) > MOST_WAITING else None
    except QueueGone:
        return None


def _is_changed(before: Replay, after: Replay, kept: Replays) -> bool:
    """Whether it is as it is `after`: a write whose answer was lost is refused when it is tried again."""
    try:
        kept.change(before, after)
    except StoreChanged:
        return kept.find(after.workspace, after.destination, after.id) == after
    return True


def _stepped(replay: Replay, ports: Ports) -> Replay:
    """The replay one step further: some letters counted, or some sent."""
    target = ports.targets.find(replay.workspace, replay.target)
    if target is None or not target.enabled:
        return _moved(replay, ports, state="failed", reason=GONE if target is None else DISABLED)
    if replay.state == "pending":
        return _counted(replay, ports)
    try:
        return _sent(replay, target, ports)
    except QueueGone:
        return _moved(replay, ports, state="failed", reason=GONE)


def _moved(replay: Replay, ports: Ports, **changes: object) -> Replay:
    return replays.moved(replay, ports.now(), ports.new_id(), **changes)


def _counted(replay: Replay, ports: Ports) -> Replay:
    of = (replay.workspace, replay.destination, replay.filter, replay.cursor, replay.id)
    count, reached = (1, None) if replay.filter.letter else ports.index.count(*of)
    state = "running" if reached is None else "pending"
    return _moved(replay, ports, state=state, total=(replay.total or 0) + count, cursor=reached)


def _sent(replay: Replay, target: Route, ports: Ports) -> Replay:
    """The next letters sent, noted and marked; those that this replay marked before a crash are only counted."""
    found, reached = _next(replay, ports.index)
    new = [entry for entry in found if entry.replay != replay.id]
    ours = _claimed(replay, new, ports)
    opened = list(zip(ours, ports.bodies.read(ours), strict=True))
    jobs = _jobs(replay, [letter for _, letter in opened if letter is not None])
    _send(jobs, target.queue_url, ports)
    at = ports.now()
    if jobs:
        receipt = CreatedReceipt(at, {job.id: len(job.run.events) for job in jobs})
        ports.receipts.keep_created(replay.workspace, replay.target, receipt)
    kept = [entry.place for entry, letter in opened if letter is not None]
    ports.index.mark(replay.workspace, replay.destination, kept, replay.id, at)
    missing, skipped = len(ours) - len(kept), len(new) - len(ours)
    return _moved(
        replay,
        ports,
        state="running" if reached else "done",
        sent=replay.sent + len(found) - missing - skipped,
        missing=replay.missing + missing,
        skipped=replay.skipped + skipped,
        cursor=reached,
    )


def _claimed(replay: Replay, found: Sequence[LetterEntry], ports: Ports) -> list[LetterEntry]:
    """Those that it may send: nobody else's who is at work. What one that has ended had in hand is free again."""
    others = {entry.claimed for entry in found if entry.claimed not in (None, entry.replay, replay.id)}
    busy = {other for other in others if other and _is_busy(replay, other, ports.replays)}
    free = [entry for entry in found if entry.claimed == entry.replay or entry.claimed not in busy]
    taken = ports.index.claim(replay.workspace, replay.destination, free, replay.id) if free else set()
    return [entry for entry in free if entry.place in taken]


def _is_busy(replay: Replay, other: str, kept: Replays) -> bool:
    found = kept.find(replay.workspace, replay.destination, other)
    return found is not None and found.is_live


def _next(replay: Replay, index: Index) -> tuple[list[LetterEntry], str | None]:
    """The next letters, and up to which place the replay has come with them, None for its end."""
    owner = (replay.workspace, replay.destination)
    if replay.filter.letter is not None:
        entry = index.find(*owner, letter_index.place_of_id(replay.filter.letter))
        return ([] if entry is None else [entry]), None
    found, reached = index.in_order(*owner, replay.filter, replay.cursor, replay.id)
    if len(found) > SENT_AT_ONCE:
        found = found[:SENT_AT_ONCE]
        reached = found[-1].place
    return found, reached


def _jobs(replay: Replay, found: Sequence[Letter]) -> list[Job]:
    """One for each event, however often it has become a letter: of several the last."""
    made = {job.id: job for job in (letters.job_from(letter, replay.id, replay.target) for letter in found)}
    return list(made.values())


def _send(jobs: Sequence[Job], queue_url: str, ports: Ports) -> None:
    """Raises `QueueUnavailable` where not all were taken."""
    lines: dict[str, deque[Message]] = {}
    for job in jobs:
        group = group_of(job.run.source, LANE + job.run.key)
        lines.setdefault(group, deque()).append(Message(job.id, group, encode_job(job)))
    for pause_s in (*PAUSES_S, None):
        lines = _round(lines, queue_url, ports.queues)
        if not lines:
            return
        if pause_s is not None:
            ports.sleep(pause_s)
    raise QueueUnavailable("SQS did not take all of a replay's jobs")


def _round(lines: dict[str, deque[Message]], queue_url: str, queues: Queues) -> dict[str, deque[Message]]:
    """Send line by line as far as they are taken; what is left of the lines of which one was refused."""
    refused: dict[str, deque[Message]] = {}
    while lines:
        for call in _calls([line[0] for line in lines.values()]):
            not_taken = queues.send(queue_url, call)
            for message in call:
                line = lines[message.group]
                if message.id in not_taken:
                    refused[message.group] = lines.pop(message.group)
                    continue
                line.popleft()
                if not line:
                    del lines[message.group]
    return refused


def _calls(heads: Sequence[Message]) -> Iterator[list[Message]]:
    """The heads of lines in calls of ten, as far as one can carry them; never two of one line."""
    call: list[Message] = []
    size = 0
    for head in heads:
        weight = len(head.body.encode())
        if call and (len(call) == ENTRIES_PER_CALL or size + weight > LARGEST_CALL):
            yield call
            call, size = [], 0
        call.append(head)
        size += weight
    yield call
