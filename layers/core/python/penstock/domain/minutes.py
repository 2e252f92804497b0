"""A destination's figures minute by minute, and their running total.

A minute's figures are what its receipts add to the books of the receipts before them: whatever stood there already
counts nothing more, and what turned out to be delivered after all counts as that, and less as what it was taken for.
So the minutes add up to the books, in whatever pieces they are counted. Which earlier minutes may speak of the same
records and jobs is known by digests (`named.py`) for `LOOKED_BACK`, or for as long as what a busy destination names is
not too much to look through: what is said again after that counts twice, and what fan-out said wrongly of a job is put
right only by an outcome before that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta
from typing import TypeVar

from msgspec import Struct

from penstock.domain.books import Books, Cause, DeliverReceipt, Receipt, about, add_up, names_in
from penstock.domain.named import Packed, proves_its_creation
from penstock.domain.timestamps import instant

LOOKED_BACK = timedelta(hours=1)
SETTLED_AFTER_S = 120.0  # a receipt is written that long after the time that it bears, at most
MOST_WAITING = 200
MOST_CAUSES = 50

K = TypeVar("K", str, int)


class Figures(Struct, frozen=True, omit_defaults=True):
    """What was counted; `discarded`, `dead` and `causes` by reason, `delays` by bucket.

    A count may be negative: what an earlier minute took an event for turned out to be wrong.
    """

    accepted: int = 0
    created: int = 0
    duplicates: int = 0
    filtered: int = 0
    delivered: int = 0
    discarded: Mapping[str, int] = {}
    dead: Mapping[str, int] = {}
    retried: int = 0
    delays: Mapping[int, int] = {}
    causes: Mapping[str, Cause] = {}

    @property
    def taken(self) -> int:
        return self.accepted + self.created

    @property
    def outcomes(self) -> int:
        return self.filtered + self.delivered + sum(self.discarded.values()) + sum(self.dead.values())

    def plus(self, later: Figures) -> Figures:
        """Both together; of a cause the later sample stays."""
        return Figures(
            accepted=self.accepted + later.accepted,
            created=self.created + later.created,
            duplicates=self.duplicates + later.duplicates,
            filtered=self.filtered + later.filtered,
            delivered=self.delivered + later.delivered,
            discarded=_sum(self.discarded, later.discarded),
            dead=_sum(self.dead, later.dead),
            retried=self.retried + later.retried,
            delays=_sum(self.delays, later.delays),
            causes=_causes(self.causes, later.causes),
        )


class Minute(Struct, frozen=True):
    """One minute's figures; `at` is its beginning, `2026-11-23T16:05`. `digests` tell of what its receipts name."""

    at: str
    figures: Figures
    digests: Packed = b""


class Total(Struct, frozen=True):
    """All minutes before `upto` together, from `since` on.

    `waiting` has the jobs that failed and were not seen to end since, the oldest of them, with when they were accepted.
    """

    upto: str = ""
    since: str = ""
    figures: Figures = Figures()
    waiting: Mapping[str, str] = {}

    def plus(self, minute: Minute, receipts: Iterable[Receipt]) -> Total:
        """With the next minute in it, whose receipts these are."""
        return Total(
            upto=after(minute.at),
            since=self.since or minute.at,
            figures=self.figures.plus(minute.figures),
            waiting=_waiting(self.waiting, receipts),
        )


def minute_of(at: str) -> str:
    """`2026-11-23T16:05` of an ISO 8601 time."""
    return at[:16]


def after(minute: str) -> str:
    return moved(minute, timedelta(minutes=1))


def moved(minute: str, by: timedelta) -> str:
    found = instant(minute)
    assert found is not None, minute
    return in_minutes(found + by)


def in_minutes(moment: datetime) -> str:
    return moment.isoformat()[:16]


def settled_before(now: datetime) -> str:
    """The first minute that may still grow."""
    return in_minutes(now - timedelta(seconds=SETTLED_AFTER_S))


def counted(receipts: Iterable[Receipt], before: Iterable[Receipt]) -> Figures:
    """What a minute's receipts add to those before, of which `before` has all that name the same records or jobs.

    Nothing else of those is kept: what only they tell of is the same with this minute and without it.
    """
    these = list(receipts)
    names = names_in(these)
    those = [theirs for receipt in before if (theirs := about(names, receipt)) is not None]
    both, known = add_up([*those, *these], proves_its_creation), add_up(those, proves_its_creation)
    counts = _difference(both, known)
    for receipt in these:
        if isinstance(receipt, DeliverReceipt):
            more = Figures(retried=receipt.retried, delays=receipt.delays, causes=receipt.causes)
            counts = counts.plus(more) if receipt.retried or receipt.delays or receipt.causes else counts
    return counts


def summed(minutes: Iterable[Minute]) -> Figures:
    """In the order of time."""
    total = Figures()
    for minute in minutes:
        total = total.plus(minute.figures)
    return total


def _difference(both: Books, known: Books) -> Figures:
    return Figures(
        accepted=both.accepted - known.accepted,
        created=both.created - known.created,
        duplicates=both.duplicates - known.duplicates,
        filtered=both.filtered - known.filtered,
        delivered=both.delivered - known.delivered,
        discarded=_less(both.discarded, known.discarded),
        dead=_less(both.dead, known.dead),
    )


def _less(both: Counter[str], known: Counter[str]) -> dict[str, int]:
    found = {reason: both[reason] - known[reason] for reason in both | known}
    return {reason: count for reason, count in sorted(found.items()) if count}


def _sum(one: Mapping[K, int], other: Mapping[K, int]) -> dict[K, int]:
    found = {key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()}
    return {key: found[key] for key in sorted(found) if found[key]}


def _causes(one: Mapping[str, Cause], later: Mapping[str, Cause]) -> dict[str, Cause]:
    found = dict(one)
    for reason, cause in later.items():
        count = cause.count + (found[reason].count if reason in found else 0)
        found[reason] = Cause(count, cause.message_id, cause.status, cause.body)
    most = sorted(found, key=lambda reason: (-found[reason].count, reason))[:MOST_CAUSES]
    return {reason: found[reason] for reason in sorted(most)}


def _waiting(known: Mapping[str, str], receipts: Iterable[Receipt]) -> Mapping[str, str]:
    """The jobs that wait after receipts in the order of time; a job that is told of and does not wait is over."""
    found = dict(known)
    for receipt in receipts:
        if isinstance(receipt, DeliverReceipt):
            for job_id in receipt.jobs:
                found.pop(job_id, None)
            found |= receipt.waiting
    oldest: Set[str] = set(sorted(found, key=lambda job_id: (found[job_id], job_id))[:MOST_WAITING])
    return {job_id: at for job_id, at in found.items() if job_id in oldest}
