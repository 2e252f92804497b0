"""What becomes of one event at a destination: verdicts as data, and when to try again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    DONE = "done"
    RETRY = "retry"
    ASK = "ask"  # a person has to mend something: tried again, slowly, and never discarded
    DISCARD = "discard"


class Trouble(Enum):
    """Why no answer came back."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    DNS = "dns"
    BLOCKED_ADDRESS = "blocked_address"


@dataclass(frozen=True)
class Answer:
    """A destination's answer; `status` is None, and `trouble` says why, where none came.

    Of an answer that is no 2xx, `headers` (at most 20 of at most 200 characters) and `body` (its first 4 KB) are kept.
    """

    status: int | None
    retry_after: str | None = None
    trouble: Trouble | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def reason(self) -> str:
        return f"http_{self.status}" if self.status is not None else (self.trouble or Trouble.CONNECTION).value


BY_STATUS = {
    401: Verdict.ASK,
    403: Verdict.ASK,
    408: Verdict.RETRY,
    423: Verdict.RETRY,
    429: Verdict.RETRY,
    501: Verdict.DISCARD,
}
BY_CLASS = {
    1: Verdict.RETRY,
    2: Verdict.DONE,
    3: Verdict.ASK,  # redirects are not followed: the address in the settings is wrong
    4: Verdict.DISCARD,
    5: Verdict.RETRY,
}
BY_TROUBLE = {
    Trouble.TIMEOUT: Verdict.RETRY,
    Trouble.CONNECTION: Verdict.RETRY,
    Trouble.TLS: Verdict.RETRY,
    Trouble.DNS: Verdict.RETRY,
    Trouble.BLOCKED_ADDRESS: Verdict.ASK,
}


class Schedule(NamedTuple):
    """Seconds before the next try: up to `first`, doubled each time up to `longest`, never under `shortest`."""

    shortest: float
    first: float
    longest: float


SCHEDULES = {
    Verdict.RETRY: Schedule(1.0, 1.0, 900.0),
    Verdict.ASK: Schedule(30.0, 60.0, 900.0),
}
LONGEST_RETRY_AFTER_S = 3_600.0


def judge(answer: Answer) -> Verdict:
    """An event's fate by the answer that it got."""
    if answer.status is None:
        return BY_TROUBLE[answer.trouble or Trouble.CONNECTION]
    return BY_STATUS.get(answer.status) or BY_CLASS.get(answer.status // 100, Verdict.RETRY)


def delay_s(answer: Answer, attempts: int, chance: float, now: datetime) -> float:
    """Seconds until the next try after `attempts` failed ones: exponential with full jitter (`chance` in [0, 1)).

    What the destination asks for by `Retry-After` is the least that it gets, up to an hour.
    """
    schedule = SCHEDULES[judge(answer)]
    ceiling = min(schedule.first * 2.0 ** min(attempts - 1, 30), schedule.longest)
    asked = min(retry_after_s(answer.retry_after, now), LONGEST_RETRY_AFTER_S)
    return max(chance * ceiling, schedule.shortest, asked)


def retry_after_s(value: str | None, now: datetime) -> float:
    """`Retry-After` as seconds from now: a number of them or an HTTP date; 0 for what is neither."""
    if value is None:
        return 0.0
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
