"""Track the schema: note every kind of value at every path, once, and count exactly, from one shard of the stream."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, wait
from threading import Lock
from typing import NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from penstock.domain import schema_facts, schema_tree, violations
from penstock.domain.enforcement import decoded
from penstock.domain.run import EMPTY, Run, decode_run, merged
from penstock.domain.schema_counts import BEGINNING, Count
from penstock.domain.schema_event import NOTHING, SECTIONS, EventKey, Head, head_of, key_of
from penstock.domain.schema_facts import Facts
from penstock.domain.schema_model import EventSchema
from penstock.domain.schema_tree import OBJECT, Node, Tally
from penstock.domain.shape_tracker import ShapeTracker
from penstock.domain.tracking_plan import Compiled, findings
from penstock.domain.violations import Violation

MOST_PATHS_IN_MEMORY = 250_000

A = TypeVar("A")
B = TypeVar("B")


class Record(NamedTuple):
    """One record of the stream; `day` is when the stream took it, YYYY-MM-DD in UTC."""

    sequence_number: str
    day: str
    data: bytes


class Schemas(Protocol):
    """The read models and the counts. Raises `StoreUnavailable`."""

    def load(self, key: EventKey, shard: str) -> tuple[EventSchema | None, Count | None]:
        """The event's schema as it is read, and this shard's count of the latest day."""

    def save(self, key: EventKey, shard: str, count: Count, known_upto: str) -> None:
        """Raises `StoreChanged` unless the stored count goes up to `known_upto`."""

    def put_by(self, key: EventKey, shard: str, finished: Count) -> None:
        """Keep a finished day's count, and add it to that of all days before; once, however often it is asked."""


class Places(Protocol):
    """The facts. Raises `StoreUnavailable`."""

    def note(self, key: EventKey, facts: Facts) -> None: ...


class Plans(Protocol):
    """The tracking plan of a (workspace, source), if it has one. Raises `StoreUnavailable`."""

    def get(self, of: tuple[str, str]) -> Compiled | None: ...


class Parked(Protocol):
    """Keeps records that cannot be read, for a person to look at. Raises `StoreUnavailable`."""

    def keep(self, record_id: str, data: bytes, reason: str) -> None: ...


class Known(Struct):
    """What a warm Lambda remembers of one event on one shard."""

    facts: Node
    count: Count
    saved_upto: str
    trackers: dict[str, ShapeTracker] = field(default_factory=dict)
    paths: int = 0


class Memory:
    """What a warm Lambda remembers of all events, the least recently used forgotten first."""

    def __init__(self, most_paths: int = MOST_PATHS_IN_MEMORY) -> None:
        self._most_paths = most_paths
        self._paths = 0
        self._lock = Lock()
        self._known: OrderedDict[tuple[EventKey, str], Known] = OrderedDict()

    def get(self, key: EventKey, shard: str) -> Known | None:
        with self._lock:
            known = self._known.get((key, shard))
            if known is not None:
                self._known.move_to_end((key, shard))
            return known

    def keep(self, key: EventKey, shard: str, known: Known) -> None:
        paths = 2 + sum(1 for _ in schema_tree.places(known.facts))
        with self._lock:
            self._drop(key, shard)
            known.paths = paths
            self._known[key, shard] = known
            self._paths += paths
            while self._paths > self._most_paths and len(self._known) > 1:
                _, oldest = self._known.popitem(last=False)
                self._paths -= oldest.paths

    def forget(self, key: EventKey, shard: str) -> None:
        with self._lock:
            self._drop(key, shard)

    def _drop(self, key: EventKey, shard: str) -> None:
        known = self._known.pop((key, shard), None)
        self._paths -= known.paths if known else 0


class Ports(Struct):
    """`threads` write for several events at once."""

    schemas: Schemas
    places: Places
    parked: Parked
    plans: Plans
    memory: Memory
    threads: Executor


class Outcome(NamedTuple):
    """`unreadable` are sequence numbers; `noted` counts new facts, `counted` the events' counts that were written."""

    events: int
    unreadable: tuple[str, ...]
    noted: int
    counted: int


class _Seen(NamedTuple):
    """One event of a record, as far as its schema goes."""

    sequence_number: str
    run: Run
    head: Head
    event: Raw


def track_schema(shard: str, records: Sequence[Record], ports: Ports) -> Outcome:
    """Records are of one shard, in order. Raises `StoreUnavailable` where they have to come again."""
    outcomes = [_track_day(shard, day, theirs, ports) for day, theirs in _by_day(records)]
    return Outcome(
        sum(each.events for each in outcomes),
        tuple(number for each in outcomes for number in each.unreadable),
        sum(each.noted for each in outcomes),
        sum(each.counted for each in outcomes),
    )


def _by_day(records: Iterable[Record]) -> Iterator[tuple[str, list[Record]]]:
    """In order, parted where the day changes; a clock that goes back a little does not end a day twice."""
    day = ""
    theirs: list[Record] = []
    for record in records:
        if record.day > day and theirs:
            yield day, theirs
            theirs = []
        day = max(day, record.day)
        theirs.append(record)
    if theirs:
        yield day, theirs


def _track_day(shard: str, day: str, records: Sequence[Record], ports: Ports) -> Outcome:
    events, unreadable = _read(shard, records, ports.parked)
    cold = [key for key in events if ports.memory.get(key, shard) is None]
    for key, stored in zip(cold, _each(ports.threads, lambda key: ports.schemas.load(key, shard), cold), strict=True):
        ports.memory.keep(key, shard, _known(stored, day))
    written = _each(ports.threads, lambda item: _settle(item[0], shard, day, item[1], ports), list(events.items()))
    return Outcome(
        sum(len(seen) for seen in events.values()),
        unreadable,
        sum(noted for noted, _ in written),
        sum(counted for _, counted in written),
    )


def _each(threads: Executor, act: Callable[[A], B], wanted: Sequence[A]) -> list[B]:
    """Do it for all of them at once, and to the end for all of them, before any trouble is raised."""
    begun = [threads.submit(act, each) for each in wanted]
    wait(begun)
    return [each.result() for each in begun]


def _read(shard: str, records: Sequence[Record], parked: Parked) -> tuple[dict[EventKey, list[_Seen]], tuple[str, ...]]:
    """The events of the records by whose schema they add to. What is no run is parked, and blocks nothing."""
    events: dict[EventKey, list[_Seen]] = defaultdict(list)
    unreadable = []
    for record in records:
        try:
            run = decode_run(record.data)
            if run.origin:
                continue  # carried on from a place where it was counted
            heads = [head_of(event) for event in run.events]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            parked.keep(f"{shard}-{record.sequence_number}", record.data, type(error).__name__)
            unreadable.append(record.sequence_number)
            continue
        for head, event in zip(heads, run.events, strict=True):
            events[key_of(run.workspace, run.source, head)].append(_Seen(record.sequence_number, run, head, event))
    return events, tuple(unreadable)


def _known(stored: tuple[EventSchema | None, Count | None], day: str) -> Known:
    schema, stored_count = stored
    count = stored_count or Count(day, BEGINNING, Node())
    return Known(schema_facts.known_tree(schema), count, count.upto)


def _settle(key: EventKey, shard: str, day: str, seen: Sequence[_Seen], ports: Ports) -> tuple[int, int]:
    """Note what is new in these events, then count them. What fails in between comes again and changes nothing."""
    known = ports.memory.get(key, shard)
    if known is None:  # forgotten for want of room since it was loaded
        known = _known(ports.schemas.load(key, shard), day)
    new = [each for each in seen if not known.count.has(each.sequence_number)]
    if not new:
        return 0, 0
    try:
        plan = ports.plans.get((key.workspace, key.source))
        against = {} if plan is None else _violations(new, plan)
        return _write(key, shard, day, new[-1].sequence_number, _shape(known, new), against, known, ports), 1
    except BaseException:
        ports.memory.forget(key, shard)
        raise


def _write(
    key: EventKey,
    shard: str,
    day: str,
    upto: str,
    shape: Node,
    against: Mapping[str, Violation],
    known: Known,
    ports: Ports,
) -> int:
    facts = schema_facts.learn(known.facts, shape)
    if facts:
        ports.places.note(key, facts)
    if day > known.count.day:
        if known.count.tree.kinds:
            ports.schemas.put_by(key, shard, known.count)
        known.count = known.count.next_day(day)
    schema_tree.merge(known.count.tree, shape)
    known.count.upto = upto
    if against:
        known.count.violations = violations.joined(known.count.violations, against)
    ports.schemas.save(key, shard, known.count, known.saved_upto)
    known.saved_upto = upto
    if facts:
        ports.memory.keep(key, shard, known)
    return len(facts)


def _violations(events: Sequence[_Seen], plan: Compiled) -> dict[str, Violation]:
    """What these events do against their source's plan."""
    counts: dict[str, Violation] = {}
    for seen in events:
        event = decoded(seen.run, seen.event)
        if found := findings(event, plan):
            theirs = violations.counted(event, seen.run.received_at, seen.head.messageId, found)
            counts = violations.joined(counts, theirs)
    return counts


def _shape(known: Known, events: Sequence[_Seen]) -> Node:
    """What these events look like, taken together, with exact counts."""
    root = Node()
    shared: dict[int, tuple[Run, list[str]]] = {}
    for _, run, head, _ in events:
        at, message_id = run.received_at, head.messageId
        schema_tree.merge(root, Node({OBJECT: Tally(1, at, message_id, at)}))
        for section in SECTIONS[:2]:
            raw = getattr(head, section)
            if raw is not NOTHING:
                _tracker(known, section).see(raw, at, message_id)
        if head.context is NOTHING or bytes(head.context) in (b"null", b"{}"):
            shared.setdefault(id(run), (run, []))[1].append(message_id)
        else:
            _tracker(known, "context").see(merged(run.context, head.context), at, message_id)
    for run, message_ids in shared.values():
        if bytes(run.context) != bytes(EMPTY):
            _tracker(known, "context").see(run.context, run.received_at, min(message_ids), len(message_ids))
    for section, tracker in known.trackers.items():
        found = tracker.drain()
        if found.kinds:
            schema_tree.merge(root, Node(names={section: found}))
    return root


def _tracker(known: Known, section: str) -> ShapeTracker:
    if section not in known.trackers:
        known.trackers[section] = ShapeTracker(section)
    return known.trackers[section]
