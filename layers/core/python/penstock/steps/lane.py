"""A lane: one user's jobs at one destination, worked off in order until one of them has to wait."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import delivery, letters, webhook
from penstock.domain.books import DEAD, DELIVERED, Cause
from penstock.domain.delays import bucket
from penstock.domain.delivery import STOPS, Ages, Answer, Failure, Patience, Trouble, Verdict
from penstock.domain.event import iso
from penstock.domain.job import Job
from penstock.domain.letters import Letter
from penstock.domain.progress import Progress
from penstock.domain.webhook import Request, Webhook
from penstock.errors import StoreUnavailable

STORE_DELAY_S = 5.0
PROBE_DELAY_S = 1.0  # nobody but the next probe polls the queue of a closed gate
DELETED, DISABLED, UNREADABLE = "destination_deleted", "destination_disabled", "unreadable"
TOO_OLD = "too_old"
NO_ROOM, NO_ROOM_DELAY_S = Trouble.NO_ROOM.value, 5.0
CRASH, OUT_OF_TIME, OUT_OF_TOKENS, STORE_UNAVAILABLE = "crash", "out_of_time", "rate_limited", "store_unavailable"
SAMPLED = 200  # bytes of an answer that receipts and notes keep
UNEXPLAINED = 2  # receives that no note explains, from which on it is noted that a job is begun with
MARKED = (NO_ROOM, STORE_UNAVAILABLE)  # for which an event waits that may have been noted as being tried


class Message(NamedTuple):
    """One message of the queue, as the poller hands it over; `receives` counts this time too.

    `sent_at` is when the queue took it, in epoch seconds: from then on SQS counts the days until it forgets it.
    """

    id: str
    receipt: str
    group: str
    body: str
    receives: int
    sent_at: float


class Task(NamedTuple):
    """A message with the job in it, None where nobody can read it, and what an earlier try has noted."""

    message: Message
    job: Job | None
    note: Progress = Progress()

    @property
    def is_worn(self) -> bool:
        """Whether it was received more often than deliver gave it back: no function was to be had, or one died."""
        return self.message.receives - 1 - self.note.returns >= UNEXPLAINED


class Tool(Protocol):
    """Sends one request and never raises for what the other side does."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer: ...


class Notes(Protocol):
    """Notes of failing jobs. Raises `StoreUnavailable`."""

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None: ...


class Tools(NamedTuple):
    """What lanes work with; `seconds` is a clock that never goes back."""

    tool: Tool
    notes: Notes
    now: Callable[[], datetime]
    seconds: Callable[[], float]
    chance: Callable[[], float]


class Limits(NamedTuple):
    """What may end a lane before its jobs do. `token` gives leave for one request, or says how long to wait for it,
    and `patience` how long it may take.

    `open_since` is when the gate opened, in epoch seconds: while it was closed nobody's age counted.
    """

    has_time: Callable[[], bool]
    token: Callable[[], float | None]
    patience: Patience
    is_probe: bool = False
    open_since: float = 0.0


@dataclass
class Tally:
    """What the requests of one lane came to; `answered` are those that the tool took or refused for good.

    `pause_s` is the longest wait that an answer 429 asked for.
    """

    requests: int = 0
    spent_s: float = 0.0
    answered: int = 0
    retried: int = 0
    throttled: int = 0
    pause_s: float = 0.0
    has_failed: bool = False
    stop: str | None = None
    delays: Counter[int] = field(default_factory=Counter)
    causes: dict[str, Cause] = field(default_factory=dict)


@dataclass(frozen=True)
class Fate:
    """What became of one message: `fates` of its events from `task.note.done` on, and when to go on, if at all."""

    task: Task
    fates: tuple[str, ...] = ()
    letters: tuple[Letter, ...] = ()
    wait_s: float | None = None
    note: Progress | None = None
    reason: str = ""

    @property
    def is_unreadable(self) -> bool:
        return self.task.job is None and self.wait_s is None


class _Settled(NamedTuple):
    """An event that needs no more, and the letter that is kept of it where it was not delivered."""

    fate: str
    letter: Letter | None = None


class _Pause(NamedTuple):
    """For how long an event that could not even be tried waits, and for what: that is no attempt."""

    wait_s: float
    reason: str


class _Again(NamedTuple):
    """An event that has to be tried again, and why."""

    verdict: Verdict
    answer: Answer


@dataclass
class Lane:
    """`is_alone`: the job at its head may have killed its function; each of its events is noted before it is tried."""

    tasks: Sequence[Task]
    settings: Webhook
    tools: Tools
    limits: Limits
    is_alone: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def group(self) -> str:
        return self.tasks[0].message.group

    def work_off(self) -> list[Fate]:
        """The fates of the lane's messages; once one has to wait, all behind it wait with it."""
        fates: list[Fate] = []
        for task in self.tasks:
            if fates and fates[-1].wait_s is not None:
                fates.append(Fate(task, wait_s=fates[-1].wait_s))
            elif fates and (self.is_alone or self._has_to_keep(fates[-1].fates)):
                fates.append(Fate(task, wait_s=0.0))
            else:
                fates.append(Fate(task) if task.job is None else self._work(task, task.job))
        return fates

    def _work(self, task: Task, job: Job) -> Fate:
        """Send the job's events until one has to wait, or time or tokens run out."""
        age_s = self.tools.now().timestamp() - task.message.sent_at
        if age_s >= delivery.TOO_OLD_S:
            return self._too_old(task, job)
        is_last = age_s >= delivery.LAST_TRIED_S
        fates: list[str] = []
        kept: list[Letter] = []
        for index in range(task.note.done, len(job.run.events)):
            note = task.note if index == task.note.done else _next(task.note, index)
            done = Fate(task, tuple(fates), tuple(kept))
            if self._has_to_keep(fates):
                return replace(done, wait_s=0.0, note=note._replace(returns=note.returns + 1))
            sent = self._pause(task, job, note) or self._send(job, note, is_last)
            if isinstance(sent, _Pause):
                back = note._replace(returns=note.returns + 1) if fates or sent.reason in MARKED else None
                return replace(done, wait_s=sent.wait_s, note=back, reason=sent.reason)
            if isinstance(sent, _Again):
                return self._waiting(done, note, sent.verdict, sent.answer)
            fates.append(sent.fate)
            kept += [sent.letter] if sent.letter else []
        return Fate(task, tuple(fates), tuple(kept))

    def _too_old(self, task: Task, job: Job) -> Fate:
        """SQS will forget the job soon, and has yet to hand out those behind it: its events are kept untried."""
        kept = letters.unsent(job, task.note, TOO_OLD, iso(self.tools.now()))
        return Fate(task, (f"{DEAD}{TOO_OLD}",) * len(kept), tuple(kept))

    def _has_to_keep(self, fates: Sequence[str]) -> bool:
        """Whether what was settled last has to be kept before anything else is tried.

        What is dead would otherwise be tried again after a crash, and be delivered behind what came after it. Alone,
        the mark of the next event would tell of this one before its receipt does.
        """
        return bool(fates) and (self.is_alone or fates[-1].startswith(DEAD))

    def _pause(self, task: Task, job: Job, note: Progress) -> _Pause | None:
        """Why the next event cannot be tried now, if so; where it can, and is dangerous, that is noted first."""
        if not self.limits.has_time():
            return _Pause(0.0, OUT_OF_TIME)
        wait_s = self.limits.token() if self._needs_request(note) else None
        if wait_s is not None:
            return _Pause(wait_s, OUT_OF_TOKENS)
        mark = self._mark(task, note)
        if mark is not None:
            try:
                self.tools.notes.write(job.run.workspace, job.destination, job.id, mark)
            except StoreUnavailable:
                return _Pause(STORE_DELAY_S, STORE_UNAVAILABLE)
        return None

    def _mark(self, task: Task, note: Progress) -> Progress | None:
        """What is noted before the next event is tried: alone of each that it is tried, else once that its job is.

        No note that is written when the job is given back repeats it, so that the job is begun with no more.
        """
        if self.is_alone:
            return None if note.is_alone else note._replace(is_alone=True)
        return note._replace(is_started=True) if task.is_worn and note is task.note else None

    def _needs_request(self, note: Progress) -> bool:
        return self.settings.enabled and not note.is_alone

    def _send(self, job: Job, note: Progress, is_last: bool) -> _Settled | _Again | _Pause:
        if note.is_alone:  # it was being tried, alone, when the function died
            return self._given_up(Verdict.DEAD, CRASH, job, note)
        if not self.settings.enabled:
            return self._given_up(Verdict.DISCARD, DISABLED, job, note)
        at = self.tools.now()
        request = webhook.request_for(job.run, job.run.events[note.done], self.settings, at.timestamp())
        if request is None:
            return self._given_up(Verdict.DISCARD, UNREADABLE, job, note)
        began = self.tools.seconds()
        timeout_s = self.limits.patience.of(note.attempts)
        answer = self.tools.tool.post(request.url, request.headers, request.body, timeout_s)
        if answer.trouble is Trouble.NO_ROOM:
            return _Pause(NO_ROOM_DELAY_S, NO_ROOM)
        self.tally.spent_s += self.tools.seconds() - began
        self.tally.requests += 1
        sent = self._judged(answer, job, note, request, at)
        if isinstance(sent, _Again) and is_last:  # whatever it waits for, SQS would not
            return self._given_up(Verdict.DEAD, answer.reason, job, note, request, answer)
        return sent

    def _judged(self, answer: Answer, job: Job, note: Progress, request: Request, at: datetime) -> _Settled | _Again:
        policy = self.settings.policy
        verdict = delivery.judge(answer, policy)
        if verdict is Verdict.DONE:
            self.tally.answered += 1
            self.tally.delays[bucket(_age_ms(job, self.tools.now()))] += 1
            return _Settled(DELIVERED)
        self._count(verdict, answer, job, note)
        if verdict is Verdict.DISCARD:
            self.tally.answered += 1
            return self._given_up(verdict, answer.reason, job, note, request, answer)
        ages = self._ages(note, delivery.failure_of(verdict, answer), at)
        if verdict is Verdict.RETRY and delivery.is_too_old(ages, at.timestamp(), answer, policy):
            return self._given_up(Verdict.DEAD, answer.reason, job, note, request, answer)
        return _Again(verdict, answer)

    def _ages(self, note: Progress, failure: Failure, at: datetime) -> Ages:
        """A probe goes through a closed gate: whatever fails in it has its whole age before it."""
        open_since = math.inf if self.limits.is_probe else self.limits.open_since
        return delivery.ages(note, failure, at.timestamp(), open_since)

    def _count(self, verdict: Verdict, answer: Answer, job: Job, note: Progress) -> None:
        known = self.tally.causes.get(answer.reason)
        message_id = webhook.message_id_of(job.run.events[note.done])
        body = answer.body[:SAMPLED].decode(errors="replace")
        self.tally.causes[answer.reason] = Cause((known.count if known else 0) + 1, message_id, answer.status, body)
        if answer.is_throttle:
            self.tally.throttled += 1
            asked_s = delivery.retry_after_s(answer.retry_after, self.tools.now())
            self.tally.pause_s = max(self.tally.pause_s, asked_s)
        self.tally.has_failed |= verdict is Verdict.RETRY and not answer.is_throttle
        self.tally.stop = verdict.value if verdict in STOPS else self.tally.stop

    def _waiting(self, done: Fate, note: Progress, verdict: Verdict, answer: Answer) -> Fate:
        """The job's fate where its next event has to be tried again. A probe is nobody's age, and holds nobody up."""
        now = self.tools.now()
        self.tally.retried += 1
        attempts = note.attempts + 1
        wait_s = delivery.delay_s(verdict, answer, attempts, self.tools.chance(), now)
        if self.limits.is_probe:
            wait_s = PROBE_DELAY_S
        failure = delivery.failure_of(verdict, answer)
        ages = self._ages(note, failure, now)
        reached = Progress(
            note.done,
            attempts,
            answer.reason,
            first_at=ages.first_at,
            next_at=now.timestamp() + wait_s,
            returns=note.returns + 1,
            answer=answer.body[:SAMPLED].decode(errors="replace"),
            kind=failure.value,
            kind_at=ages.kind_at,
            is_started=note.is_started,
        )
        return replace(done, wait_s=wait_s, note=reached, reason=answer.reason)

    def _given_up(
        self,
        verdict: Verdict,
        reason: str,
        job: Job,
        note: Progress,
        request: Request | None = None,
        answer: Answer | None = None,
    ) -> _Settled:
        """A discarded or dead event, kept whole for a person to look at and to replay."""
        is_dead = verdict is Verdict.DEAD
        kept = Letter(
            kind="dead" if is_dead else "discarded",
            reason=reason,
            at=iso(self.tools.now()),
            job=job.id,
            index=note.done,
            run=msgspec.structs.replace(job.run, events=[]),
            event=job.run.events[note.done],
            attempts=note.attempts + (answer is not None),
            first_at=iso(datetime.fromtimestamp(note.first_at, UTC)) if note.first_at else None,
            request=letters.sent(*request) if request else None,
            response=letters.received(*_content(answer)) if answer else None,
        )
        return _Settled(f"{DEAD}{reason}" if is_dead else reason, kept)


def _next(note: Progress, index: int) -> Progress:
    """Where a job stands whose events before `index` need no more. One that is suspected stays so to its end."""
    return Progress(index, returns=note.returns, is_started=note.is_started)


def _content(answer: Answer) -> tuple[int | None, str | None, Mapping[str, str], bytes]:
    return answer.status, answer.trouble.value if answer.trouble else None, answer.headers, answer.body


def _age_ms(job: Job, now: datetime) -> float:
    """Milliseconds since the hub accepted the job's events."""
    accepted = datetime.fromisoformat(job.run.received_at)
    return max(0.0, (now - accepted).total_seconds() * 1000)
