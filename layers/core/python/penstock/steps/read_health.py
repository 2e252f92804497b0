"""Read health: count a destination's receipts by minutes as far as they are not counted yet, and tell how it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby, islice
from typing import NamedTuple, Protocol

from penstock.domain import gate, health, minutes
from penstock.domain.audit import iso
from penstock.domain.books import Receipt
from penstock.domain.destinations import Destination, import_name
from penstock.domain.gate import Gate
from penstock.domain.health import HealthView, RateView
from penstock.domain.minutes import LOOKED_BACK, Figures, Minute, Total
from penstock.domain.named import Packed, latest, named
from penstock.errors import QueueGone, StoreChanged

FIRST, LAST = "0", ":"  # before and after every time
MOST_RECEIPTS = 20_000  # that one call reads; it always ends at the end of a minute
MOST_S = 10.0
MOST_NAMED = 7_000_000  # digests that are looked through: what 650 runs a second name in an hour
MOST_BEFORE = 100_000  # receipts of earlier minutes that are read for one
NAMED_FOR_S = 20 * 3_600.0  # less than digests are kept
MOST_COUNTED = 10_000  # jobs outside the queue


class Receipts(Protocol):
    def read(self, workspace: str, destination: str, begin: str, end: str) -> Iterator[Receipt]:
        """From one time to another, oldest first. Raises `StoreUnavailable`."""


class Minutes(Protocol):
    """What is counted already. Raises `StoreUnavailable`."""

    def total(self, workspace: str, destination: str) -> Total: ...

    def minutes(
        self, workspace: str, destination: str, begin: str, end: str, newest_first: bool = False
    ) -> Iterator[Minute]:
        """From one minute up to before another."""

    def digests(self, workspace: str, destination: str, begin: str, end: str, most: int) -> Mapping[str, Packed]:
        """Those of the last minutes, so many at most."""

    def fits(self, minutes: Sequence[Minute]) -> bool:
        """Whether so many can be put at once."""

    def roll(self, workspace: str, destination: str, before: Total, after: Total, minutes: Sequence[Minute]) -> None:
        """All of it or nothing. Raises `StoreChanged` where the total is not what it was before."""


class Queues(Protocol):
    def waiting(self, queue_url: str) -> int:
        """How many jobs there are, visible or not. Raises `QueueGone` or `QueueUnavailable`."""


class Overflow(Protocol):
    """Raises `StoreUnavailable`."""

    def count(self, workspace: str, destination: str, most: int) -> int:
        """How many jobs wait outside the queue, as far as `most`."""


class Gates(Protocol):
    """Raises `StoreUnavailable`."""

    def find(self, key: tuple[str, str]) -> Gate: ...


class Rates(Protocol):
    """Raises `StoreUnavailable`."""

    def view(self, item: Destination) -> RateView: ...


@dataclass(frozen=True)
class Books:
    """What counting takes; `clock` gives epoch seconds."""

    receipts: Receipts
    minutes: Minutes
    clock: Callable[[], float]


@dataclass(frozen=True)
class Ports:
    books: Books
    queues: Queues
    overflow: Overflow
    gates: Gates
    rates: Rates


class Standing(NamedTuple):
    """Everything counted, with the minutes that were counted just now.

    Those of the last two minutes are in it, and are counted anew the next time. Where it is not whole there are
    receipts after `total.upto` that were not reached.
    """

    total: Total
    minutes: tuple[Minute, ...]
    is_whole: bool


def roll_forward(workspace: str, destination: str, books: Books, before: str | None = None) -> Standing:
    """Count what is not counted yet, as far as one call goes, and keep what cannot change any more.

    Of the minutes before `before`, where it is given, nobody asks any more: they alone are counted, and the total alone
    is kept. A crash leaves the total as it was or as it is to be, and so do two who count at once: both find the same.
    """
    started, now = books.clock(), datetime.fromtimestamp(books.clock(), UTC)
    known = books.minutes.total(workspace, destination)
    if before is not None and known.upto >= before:
        return Standing(known, (), True)
    counter = _Counter(workspace, destination, books, now, known, known, keeps_minutes=before is None)
    receipts = books.receipts.read(workspace, destination, known.upto or FIRST, before or LAST)
    read = 0
    for minute, group in groupby(receipts, key=lambda receipt: minutes.minute_of(receipt.at)):
        if read > MOST_RECEIPTS or books.clock() - started > MOST_S:
            counter.keep()
            return Standing(counter.total, tuple(counter.done), False)
        theirs = list(group)
        read += len(theirs)
        counter.count(minute, theirs)
        del theirs  # before the next minute's are read
    counter.keep()
    return Standing(counter.total, tuple(counter.done), True)


@dataclass
class _Counter:
    """Counts minute after minute; `kept` is the total as it is stored."""

    workspace: str
    destination: str
    books: Books
    now: datetime
    kept: Total
    total: Total
    keeps_minutes: bool
    done: list[Minute] = field(default_factory=list)
    unkept: list[Minute] = field(default_factory=list)
    named: dict[str, Packed] | None = None
    may_keep: bool = True
    settled: Total | None = None

    def count(self, minute: str, receipts: Sequence[Receipt]) -> None:
        suspects, digests = self._suspects(minute, receipts)
        before = chain.from_iterable(self._receipts_of(each) for each in reversed(suspects))
        found = Minute(minute, minutes.counted(receipts, islice(before, MOST_BEFORE)), digests)
        if self.unkept and not self.books.minutes.fits([*self.unkept, found]):
            self.keep()
        self.total = self.total.plus(found, receipts)
        self.done.append(Minute(minute, found.figures))
        if minute < minutes.settled_before(self.now):
            self.unkept.append(found)
            self.settled = self.total

    def keep(self) -> None:
        """Store what was counted and is settled, unless somebody else does: then that is the same."""
        if not self.unkept or not self.may_keep or self.settled is None:
            return
        try:
            kept = self.unkept if self.keeps_minutes else ()
            self.books.minutes.roll(self.workspace, self.destination, self.kept, self.settled, kept)
            self.kept = self.settled
        except StoreChanged:
            self.may_keep = False
        self.unkept = []

    def _suspects(self, minute: str, receipts: Sequence[Receipt]) -> tuple[list[str], Packed]:
        """The minutes before whose receipts may name what this one's name, and what that is."""
        begin = minutes.moved(minute, -LOOKED_BACK)
        known = self._named_before(begin, minute) if self.named is None else self.named
        known = {at: theirs for at, theirs in known.items() if at >= begin}
        mine = named(receipts)
        suspects = mine.among(known)
        self.named = latest(known | {minute: mine.digests}, MOST_NAMED)
        return suspects, mine.digests

    def _named_before(self, begin: str, minute: str) -> Mapping[str, Packed]:
        """By the digests that were kept; what is too old for those is named by its receipts."""
        of = self.workspace, self.destination
        if minute > minutes.in_minutes(self.now - timedelta(seconds=NAMED_FOR_S)):
            return self.books.minutes.digests(*of, begin, minute, MOST_NAMED)
        receipts = self.books.receipts.read(*of, begin, minute)
        found: dict[str, Packed] = {}
        for at, theirs in groupby(receipts, key=lambda receipt: minutes.minute_of(receipt.at)):
            found = latest(found | {at: named(theirs).digests}, MOST_NAMED)
        return found

    def _receipts_of(self, minute: str) -> Iterable[Receipt]:
        return self.books.receipts.read(self.workspace, self.destination, minute, minutes.after(minute))


@dataclass(frozen=True)
class Reading:
    """All that is known of how a destination does now; `window` are its last minutes together.

    All receipts before `counted_to` are in it (epoch seconds): now, unless more come than one call counts.
    """

    standing: Standing
    minutes: Sequence[Minute]
    window: Figures
    queued: int
    oldest_age_s: float
    gate: Gate
    now: float
    counted_to: float


def read(item: Destination, asked: int, ports: Ports, as_counted: bool = False) -> Reading:
    """As of now, or, `as_counted`, as of when everything is counted. Raises `Unavailable`."""
    key = (item.workspace_id, item.id)
    standing = roll_forward(*key, ports.books)
    now = ports.books.clock()
    counted_to = now if standing.is_whole else health.end_of(standing.total)
    as_of = counted_to if as_counted else now
    begin = health.first_minute(as_of if as_of == now else as_of - 1.0, asked)
    kept = ports.books.minutes.minutes(*key, begin, LAST)
    window = health.merged(kept, standing.minutes, begin)
    queued = _queued(item, ports)
    newest_first = _newest_first(key, standing, ports.books)
    oldest = health.oldest_age_s(standing.total, newest_first, as_of) if queued else 0.0
    return Reading(standing, window, minutes.summed(window), queued, oldest, ports.gates.find(key), now, counted_to)


def health_of(item: Destination, asked: int, ports: Ports) -> HealthView:
    """Raises `Unavailable`."""
    found = read(item, asked, ports)
    total = found.standing.total
    return HealthView(
        **health.counts(total.figures),
        since=health.time_of(total.since) if total.since else None,
        counted_to=iso(found.now) if found.standing.is_whole else health.time_of(total.upto),
        is_complete=found.standing.is_whole,
        queued=found.queued,
        oldest_age_s=found.oldest_age_s,
        gate=gate.view(found.gate),
        rate=ports.rates.view(item),
        **health.quantiles(found.window.delays),
        errors=health.errors(found.window),
        window=health.window(found.window, asked),
        per_minute=health.per_minute(found.minutes),
    )


def _queued(item: Destination, ports: Ports) -> int:
    """In its queues or outside them."""
    urls = {item.id: item.queue_url, import_name(item.id): item.import_queue_url}
    names = [name for name, url in urls.items() if url]
    try:
        waiting = sum(ports.queues.waiting(url) for url in urls.values() if url)
    except QueueGone:
        return 0
    return waiting + sum(ports.overflow.count(item.workspace_id, name, MOST_COUNTED) for name in names)


def _newest_first(key: tuple[str, str], standing: Standing, books: Books) -> Iterator[Minute]:
    """Back to two weeks ago; what was counted just now need not be stored."""
    anew = {each.at for each in standing.minutes}
    yield from reversed(standing.minutes)
    stored = books.minutes.minutes(*key, FIRST, LAST, newest_first=True)
    yield from (each for each in islice(stored, health.MOST_MINUTES) if each.at not in anew)
