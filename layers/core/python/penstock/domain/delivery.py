"""What becomes of one event at a destination: verdicts as data, and when to try again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import NamedTuple

from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy
from penstock.domain.progress import Progress


class Verdict(Enum):
    DONE = "done"
    RETRY = "retry"
    DISCARD = "discard"
    CREDENTIALS = "credentials"  # a person has to renew them: the gate closes, nothing is discarded
    ADDRESS = "address"  # a person has to mend the URL: the same
    DEAD = "dead"  # tried for as long as the destination's policy says


STOPS = frozenset({Verdict.CREDENTIALS, Verdict.ADDRESS})  # what closes a gate at once


class Failure(Enum):
    """Why an event is tried again. Each kind has an age of its own, which begins when an event begins to fail so."""

    TROUBLE = "trouble"
    THROTTLED = "throttled"
    STOPPED = "stopped"


THROTTLED = 429
EARLY_TRIES = 2


class Trouble(Enum):
    """Why no answer came back."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    DNS = "dns"
    BLOCKED_ADDRESS = "blocked_address"
    NO_ROOM = "no_room"  # ours, not the destination's: the request was not made


@dataclass(frozen=True)
class Answer:
    """A destination's answer; `status` is None, and `trouble` says why, where none came.

    `headers` and `body` are the beginning of what it said where it did not take the event: 20 headers, 4 KB.
    """

    status: int | None
    retry_after: str | None = None
    trouble: Trouble | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_throttle(self) -> bool:
        return self.status == THROTTLED

    @property
    def reason(self) -> str:
        return f"http_{self.status}" if self.status is not None else (self.trouble or Trouble.CONNECTION).value


BY_STATUS = {
    401: Verdict.CREDENTIALS,
    403: Verdict.CREDENTIALS,
    408: Verdict.RETRY,
    423: Verdict.RETRY,
    429: Verdict.RETRY,
    501: Verdict.DISCARD,
}
BY_CLASS = {
    1: Verdict.RETRY,
    2: Verdict.DONE,
    3: Verdict.ADDRESS,  # redirects are not followed
    4: Verdict.DISCARD,
    5: Verdict.RETRY,
}
BY_TROUBLE = {
    Trouble.TIMEOUT: Verdict.RETRY,
    Trouble.CONNECTION: Verdict.RETRY,
    Trouble.TLS: Verdict.RETRY,
    Trouble.DNS: Verdict.RETRY,
    Trouble.BLOCKED_ADDRESS: Verdict.ADDRESS,
    Trouble.NO_ROOM: Verdict.RETRY,
}


class Patience(NamedTuple):
    """For how many seconds an event's request may take, in its first two tries and in later ones.

    Who answers quickly as a rule and now does not is waited for less: 600 such that hang would have all functions. The
    second try may come before all functions know of the first.
    """

    early_s: float
    later_s: float

    def of(self, attempts: int) -> float:
        """After `attempts` that failed."""
        return self.early_s if attempts < EARLY_TRIES else self.later_s


class Schedule(NamedTuple):
    """Seconds before the next try: up to `first`, doubled each time up to `longest`, never under `shortest`."""

    shortest: float
    first: float
    longest: float


SCHEDULES = {
    Verdict.RETRY: Schedule(1.0, 1.0, 90.0),
    Verdict.CREDENTIALS: Schedule(30.0, 60.0, 60.0),
    Verdict.ADDRESS: Schedule(30.0, 60.0, 60.0),
}
DAY_S = 86_400.0
# SQS keeps a job for fourteen days. From the first of these on what fails is given up, and what `Retry-After` hid
# before is back by the second. From that on nothing is tried any more, so that all that waits behind comes in time.
LAST_TRIED_S, TOO_OLD_S = 13 * DAY_S, 13.75 * DAY_S
MOST_DIGITS = 12
LONGEST_RETRY_AFTER_S = 43_000.0  # SQS hides a message for twelve hours at most, counted from when it was received


def judge(answer: Answer, policy: DeliveryPolicy = STANDARD) -> Verdict:
    """An event's fate by the answer that it got; the destination's own verdicts come before ours."""
    if answer.status is None:
        trouble = answer.trouble or Trouble.CONNECTION
        own = policy.verdicts.get(trouble.value) if trouble is not Trouble.BLOCKED_ADDRESS else None
        return Verdict(own) if own else BY_TROUBLE[trouble]
    own = policy.verdicts.get(str(answer.status)) or policy.verdicts.get(f"{answer.status // 100}xx")
    if own:
        return Verdict(own)
    return BY_STATUS.get(answer.status) or BY_CLASS.get(answer.status // 100, Verdict.RETRY)


def failure_of(verdict: Verdict, answer: Answer) -> Failure:
    """What kind of failure an answer is after which the event is tried again."""
    if verdict in STOPS:
        return Failure.STOPPED
    return Failure.THROTTLED if answer.is_throttle else Failure.TROUBLE


class Ages(NamedTuple):
    """Since when an event has failed at all, and since when as it does now, in epoch seconds."""

    first_at: float
    kind_at: float


def ages(note: Progress, failure: Failure, now: float, open_since: float) -> Ages:
    """The ages of an event that failed just now. What a closed gate or a person to mend something took is no age."""
    if not note.attempts or note.first_at < open_since or note.kind == Failure.STOPPED.value:
        return Ages(now, now)
    return Ages(note.first_at, max(note.first_at, note.kind_at) if note.kind == failure.value else now)


def is_too_old(ages: Ages, now: float, answer: Answer, policy: DeliveryPolicy) -> bool:
    """Whether an event is given up if this is the answer now: by what is allowed for answers like this one, or, where
    it fails now in one way and now in another, by the most that is allowed for any."""
    most_s = max(policy.age_s(is_throttled=False), policy.age_s(is_throttled=True))
    return now - ages.kind_at >= policy.age_s(answer.is_throttle) or now - ages.first_at >= most_s


def delay_s(verdict: Verdict, answer: Answer, attempts: int, chance: float, now: datetime) -> float:
    """Seconds until the next try after `attempts` failed ones: exponential with full jitter (`chance` in [0, 1)).

    What the destination asks for by `Retry-After` is the least that it gets, as far as SQS can hide a job.
    """
    schedule = SCHEDULES[verdict]
    ceiling = min(schedule.first * 2.0 ** min(attempts - 1, 30), schedule.longest)
    asked = min(retry_after_s(answer.retry_after, now), LONGEST_RETRY_AFTER_S)
    return max(chance * ceiling, schedule.shortest, asked)


def retry_after_s(value: str | None, now: datetime) -> float:
    """`Retry-After` as seconds from now: a number of them or an HTTP date; 0 for what is neither.

    A number of however many digits is one; more than `MOST_DIGITS` of them say no more than the highest of so many.
    """
    if value is None:
        return 0.0
    text = value.strip()
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0")
        return float(digits or 0) if len(digits) <= MOST_DIGITS else 10.0**MOST_DIGITS
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
