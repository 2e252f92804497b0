"""Trace an event: from its messageId and user to what became of it at every destination.

Its claim names its record of the stream and its place there. The record's receipt is found by search, since records of
a shard are in order; it says which job the event went into. What became of that stands in a letter, receipt or note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import NamedTuple, Protocol

from penstock.domain import dedup, trace
from penstock.domain.audit import iso
from penstock.domain.books import DeliverReceipt, FanoutReceipt, Receipt, RecordReceipt
from penstock.domain.dedup import Claims, Owner
from penstock.domain.destinations import Destination
from penstock.domain.job import group_of
from penstock.domain.letter_index import LetterEntry
from penstock.domain.letters import Letter, place_of
from penstock.domain.progress import Progress
from penstock.domain.sources import Source
from penstock.domain.trace import DestinationTrace, EventTrace, Held, Place, TraceView
from penstock.errors import NotFound
from penstock.steps.record import Ledger

DAYS = 15  # for which claims and receipts are kept
ASKED_S = 8.0  # for which sources are asked, a hundred at a time
MOST_S = 15.0  # for which destinations are; both together and the rest are done before the function's time-out
PROBED, PAGE = 300, 100  # receipts that are looked at to learn how far the stream was at a moment, and at once
NEAR_S = 60.0
ASIDE_S = 600.0  # by which records of a shard may be out of order: a batch that is replayed
MOST_RECEIPTS = 5_000  # from where the search has led to
END = ":"  # after every time


class ClaimsOf(Protocol):
    def find(self, owners: Sequence[Owner], days: Sequence[str], id_: str) -> Mapping[Owner, Mapping[str, Claims]]:
        """By ordering key and day the claims, of which those on one hash are meant. Raises `StoreUnavailable`."""


class Receipts(Protocol):
    def read(
        self, workspace: str, destination: str, begin: str, end: str, page: int | None = None
    ) -> Iterator[Receipt]:
        """From one time to another, oldest first, so many fetched at once. Raises `StoreUnavailable`."""


class Notes(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None: ...


class LetterIndex(Protocol):
    """Raises `StoreUnavailable`."""

    def find(self, workspace: str, destination: str, place: str) -> LetterEntry | None: ...


class LetterBodies(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, entries: Sequence[LetterEntry]) -> Sequence[Letter | None]: ...


@dataclass(frozen=True)
class Ports:
    """`clock` gives epoch seconds."""

    ledger: Ledger
    claims: ClaimsOf
    receipts: Receipts
    notes: Notes
    letters: LetterIndex
    bodies: LetterBodies
    clock: Callable[[], float]


class _Found(NamedTuple):
    """The receipt of a record at a destination, and the sizes of those of its jobs that were told of before it."""

    at: str
    counts: RecordReceipt
    sizes: Mapping[str, int]


def trace_event(workspace: str, message_id: str, user: str, source: str | None, ports: Ports) -> TraceView:
    """Raises `NotFound` for what no source of the workspace has got from this user, and `StoreUnavailable`."""
    found, unasked = _found(workspace, message_id, user, _sources(workspace, source, ports.ledger), ports)
    if not found and not unasked:
        raise NotFound("message_not_found", "no source has got such an event from this user in the last 15 days")
    until = ports.clock() + MOST_S
    destinations = list(chain.from_iterable(ports.ledger.pages(Destination, workspace))) if found else []
    traced = [_event(message_id, of, each, destinations, until, ports) for of, each in found]
    return TraceView(message_id, user, traced, unasked)


def _sources(workspace: str, source: str | None, ledger: Ledger) -> Iterator[list[str]]:
    """The one that is named, else all of the workspace, page by page."""
    if source is not None:
        yield [ledger.get(Source, workspace, source).id]
        return
    for page in ledger.pages(Source, workspace):
        yield [each.id for each in page]


def _found(
    workspace: str, message_id: str, user: str, sources: Iterable[Sequence[str]], ports: Ports
) -> tuple[list[tuple[str, Held]], list[str]]:
    """The events by their sources, and the sources that there was no time to ask."""
    now = datetime.fromtimestamp(ports.clock(), UTC)
    days = [(now - timedelta(days=back)).date().isoformat() for back in range(-1, DAYS + 1)]
    id_ = dedup.short_hash(message_id)
    until = ports.clock() + ASKED_S
    found: list[tuple[str, Held]] = []
    unasked: list[str] = []
    for page in sources:
        if ports.clock() > until:
            unasked += page
            continue
        owners = [Owner(workspace, each, group_of(each, user)) for each in page]
        claims = ports.claims.find(owners, days, id_)
        found += [(owner.source, each) for owner in owners for each in trace.held(claims.get(owner, {}), id_)]
    return found, unasked


def _event(
    message_id: str, source: str, of: Held, destinations: Sequence[Destination], until: float, ports: Ports
) -> EventTrace:
    traced, first = [], None
    for item in destinations:
        tracer = _Tracer(message_id, item, of, ports)
        if ports.clock() > until:
            traced.append(tracer.unknown(trace.NO_TIME))
            continue
        found = tracer.receipt(first)
        if found is not None:
            first = min(first or found.at, found.at)
            traced.append(tracer.traced(found))
        elif source in item.source_ids:
            traced.append(tracer.unknown(trace.NO_RECEIPT))
    return EventTrace(source, of.day, of.record, of.index, first, traced)


@dataclass(frozen=True)
class _Tracer:
    """Looks for one event at one destination."""

    message_id: str
    item: Destination
    of: Held
    ports: Ports

    def receipt(self, near: str | None) -> _Found | None:
        """The record's receipt; `near` is when another destination got it."""
        begin = _epoch(near) - NEAR_S if near else self._search() - ASIDE_S
        sizes: dict[str, int] = {}
        for receipt in islice(self._receipts(begin, PAGE), MOST_RECEIPTS):
            if isinstance(receipt, DeliverReceipt):
                sizes |= trace.sizes_in(receipt, self.of.record)
            elif isinstance(receipt, FanoutReceipt) and self.of.record in receipt.records:
                return _Found(receipt.at, receipt.records[self.of.record], sizes)
        return None

    def _search(self) -> float:
        """A moment, in epoch seconds, at which the shard was read up to shortly before the record, or not so far."""
        low, high = float(dedup.start_of(self.of.day)), self.ports.clock()
        while high - low > NEAR_S:
            middle = (low + high) / 2
            number = self._number_at(middle)
            low, high = (middle, high) if number is not None and number <= self.of.number else (low, middle)
        return low

    def _number_at(self, moment: float) -> int | None:
        """How far the record's shard was read then."""
        for receipt in islice(self._receipts(moment, PAGE), PROBED):
            if isinstance(receipt, FanoutReceipt):
                of_shard = [trace.number_of(each) for each in receipt.records if trace.shard_of(each) == self.of.shard]
                if of_shard:
                    return min(of_shard)
        return None

    def traced(self, found: _Found) -> DestinationTrace:
        if not trace.is_as_told(found.counts, self.of.record, found.sizes):
            return self.unknown(trace.CHOSEN_ANEW)
        place = trace.place_in(found.counts, self.of)
        if place is None:
            return self._with(verdict="filtered", reason=trace.KEPT_AWAY, at=found.at)
        key = (self.item.workspace_id, self.item.id)
        entry = self.ports.letters.find(*key, place_of(place.job, place.index))
        if entry is not None and entry.message_id not in (None, self.message_id):
            return self.unknown(trace.CHOSEN_ANEW)
        if entry is not None:
            return trace.of_letter(self.item.id, self.item.name, entry, self.ports.bodies.read([entry])[0])
        return self._by_receipts(found, place, self.ports.notes.read(*key, place.job))

    def _by_receipts(self, found: _Found, place: Place, note: Progress | None) -> DestinationTrace:
        failed = trace.attempts_in(note, place)
        begin = max(note.next_at - ASIDE_S, _epoch(found.at)) if note and failed else _epoch(found.at)
        read = 0
        for receipt in islice(self._receipts(begin, None), MOST_RECEIPTS):
            read += 1
            if not isinstance(receipt, DeliverReceipt):
                continue
            if not trace.is_as_told(found.counts, self.of.record, trace.sizes_in(receipt, self.of.record)):
                return self.unknown(trace.CHOSEN_ANEW)
            fate = trace.fate_in(receipt, place)
            if fate is not None:
                verdict, reason = fate
                return self._with(verdict=verdict, reason=reason, attempts=failed + 1, at=receipt.at)
        if note and failed:
            due, last = iso(note.next_at), trace.last_in(note, place)
            return self._with(verdict="waiting", reason=note.last, attempts=failed, at=due, last=last)
        if read < MOST_RECEIPTS and (note is None or note.done <= place.index):
            return self._with(verdict="waiting", reason=trace.BEHIND, attempts=0)
        return self.unknown(trace.NOT_FOUND)

    def unknown(self, reason: str) -> DestinationTrace:
        return self._with(verdict="unknown", reason=reason)

    def _with(self, **fields: object) -> DestinationTrace:
        return DestinationTrace(id=self.item.id, name=self.item.name, **fields)  # type: ignore[arg-type]

    def _receipts(self, begin: float, page: int | None) -> Iterator[Receipt]:
        return iter(self.ports.receipts.read(self.item.workspace_id, self.item.id, iso(begin), END, page))


def _epoch(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
