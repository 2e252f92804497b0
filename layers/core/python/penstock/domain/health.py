"""How a destination does, as a person is shown it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from penstock.domain import delays, minutes
from penstock.domain.gate import GateView
from penstock.domain.minutes import Figures, Minute, Total
from penstock.domain.timestamps import instant
from penstock.errors import Invalid

USUAL_MINUTES = 60
MOST_MINUTES = 14 * 24 * 60

Queued = Annotated[
    int,
    Meta(description="Jobs, not events, in its queues, by SQS's own count: each has one event or several of one user"),
]
OldestAge = Annotated[
    float, Meta(description="At least so many seconds ago was the oldest event accepted that still waits; 0 for none")
]
CountedTo = Annotated[str, Meta(description="All receipts before this time are in the figures")]


class Sample(Struct, frozen=True):
    """The last event of a cause; `body` is the beginning of what the tool answered."""

    message_id: str
    status: int | None
    body: str


class ErrorView(Struct, frozen=True):
    """How many tries of the window failed by one cause."""

    cause: str
    count: int
    sample: Sample


class Counts(Struct, frozen=True, kw_only=True):
    """accepted + created = delivered + filtered + discarded + dead + what still waits; `duplicates` come on top.

    `retried` are failed tries that another one follows. Of a minute a count can be negative: an earlier one was wrong.
    """

    accepted: int
    created: int
    delivered: int
    filtered: int
    discarded: int
    dead: int
    retried: int
    duplicates: int


class MinuteView(Counts, frozen=True, kw_only=True):
    """One minute in which something happened."""

    at: str
    p50_ms: float | None
    p95_ms: float | None


class WindowView(Counts, frozen=True, kw_only=True):
    """The last so many minutes together."""

    minutes: int
    delivered_share: float | None
    discarded_by: dict[str, int]
    dead_by: dict[str, int]


class RateView(Struct, frozen=True):
    """The limits that the destination is held to now; null is none. `paused_until` is by its own `Retry-After`."""

    requests_per_s: float | None
    concurrency: int | None
    paused_until: str | None = None


class HealthView(Counts, frozen=True, kw_only=True):
    """A destination's figures since `since`, and of the window.

    Where `is_complete` is false there was more to count than one request does: ask again, it goes on from there. Time
    to deliver (`p50_ms`, `p95_ms`), `errors` and `per_minute` are of the window.
    """

    since: str | None
    counted_to: CountedTo
    is_complete: bool
    queued: Queued
    oldest_age_s: OldestAge
    gate: GateView
    rate: RateView
    p50_ms: float | None
    p95_ms: float | None
    errors: list[ErrorView]
    window: WindowView
    per_minute: list[MinuteView]


def minutes_asked(text: str | None) -> int:
    """Raises `Invalid` for what is no number of minutes from 1 to 14 days."""
    if text is None:
        return USUAL_MINUTES
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MOST_MINUTES and len(text) < 6):
        raise Invalid("invalid_minutes", f"minutes is a whole number from 1 to {MOST_MINUTES}", "minutes")
    return int(text)


def counts(figures: Figures) -> dict[str, Any]:
    return {
        "accepted": figures.accepted,
        "created": figures.created,
        "delivered": figures.delivered,
        "filtered": figures.filtered,
        "discarded": sum(figures.discarded.values()),
        "dead": sum(figures.dead.values()),
        "retried": figures.retried,
        "duplicates": figures.duplicates,
    }


def window(figures: Figures, asked: int) -> WindowView:
    return WindowView(
        **counts(figures),
        minutes=asked,
        delivered_share=delivered_share(figures),
        discarded_by=dict(figures.discarded),
        dead_by=dict(figures.dead),
    )


def delivered_share(figures: Figures) -> float | None:
    """Of all tries and final refusals, the share that got through; None where nothing was tried."""
    lost = sum(figures.discarded.values()) + sum(figures.dead.values())
    tried = figures.delivered + lost + figures.retried
    return round(figures.delivered / tried, 4) if tried > 0 else None


def per_minute(found: Iterable[Minute]) -> list[MinuteView]:
    return [
        MinuteView(at=f"{each.at}:00.000Z", **counts(each.figures), **quantiles(each.figures.delays)) for each in found
    ]


def quantiles(counted: Mapping[int, int]) -> dict[str, Any]:
    return {"p50_ms": delays.quantile(counted, 0.5), "p95_ms": delays.quantile(counted, 0.95)}


def errors(figures: Figures) -> list[ErrorView]:
    """The most frequent first."""
    found = [
        ErrorView(reason, cause.count, Sample(cause.message_id, cause.status, cause.body))
        for reason, cause in figures.causes.items()
    ]
    return sorted(found, key=lambda error: (-error.count, error.cause))


def oldest_age_s(total: Total, newest_first: Iterable[Minute], now: float) -> float:
    """At least so old is the oldest event that waits, in seconds, by the books; 0 where none does.

    Either a job is known to have failed and not to have ended since. Or of n events that wait the oldest is at least as
    old as the n-th that was accepted last, in whatever order they are delivered.
    """
    accepted = min(total.waiting.values(), default=None)
    found = instant(accepted) if accepted else None
    known = now - found.timestamp() if found else 0.0
    left = total.figures.taken - total.figures.outcomes
    for each in newest_first if left > 0 else ():
        left -= each.figures.taken
        if left <= 0:
            return round(max(known, now - _begin_of(minutes.after(each.at)), 0.0), 3)
    return round(max(known, 0.0), 3)


def end_of(total: Total) -> float:
    """Up to when it counts, in epoch seconds."""
    return _begin_of(total.upto)


def _begin_of(minute: str) -> float:
    found = instant(minute)
    return found.timestamp() if found else 0.0


def time_of(minute: str) -> str:
    """`2026-11-23T16:05:00.000Z`"""
    return f"{minute}:00.000Z"


def first_minute(now: float, asked: int) -> str:
    """The window's first: it has so many minutes with the present one."""
    return minutes.in_minutes(datetime.fromtimestamp(now - 60.0 * (asked - 1), UTC))


def merged(kept: Iterable[Minute], anew: Sequence[Minute], begin: str) -> list[Minute]:
    """By time, those counted anew in the place of those kept, from a minute on."""
    found = {each.at: each for each in kept} | {each.at: each for each in anew}
    return [found[at] for at in sorted(found) if at >= begin]
