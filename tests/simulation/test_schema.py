"""Schemas under crashes, replays and any interleaving of shards: the state is the same, the feed without gap or repeat.

The real steps work on fakes of the stores, which run the contract tests of the tables that they stand for. A crash ends
everything between two calls of a store; what a warm Lambda remembered is gone, and its batch comes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from penstock.domain import schema_model, schema_view
from penstock.domain.schema_changes import Change
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_view import Reading
from penstock.errors import StoreChanged
from penstock.steps import publish_schema, track_schema
from penstock.steps.publish_schema import publish_schema as publish
from penstock.steps.track_schema import Memory, Record
from penstock.steps.track_schema import track_schema as track
from tests.builders_pipeline import SOURCE, WORKSPACE
from tests.builders_schema import event, record
from tests.fakes_pipeline import Inline, MemoryParked, MemoryPlans
from tests.fakes_schema import MemoryFeed, MemoryPlaces, MemorySchemas

OF_SOURCE = f"{WORKSPACE}#{SOURCE}"
NAMES = ("total", "Total", "id", "when")
DAYS = ("2026-11-22", "2026-11-23", "2026-11-24")

scalars = st.sampled_from([None, True, 1, 2.5, "text", "2026-11-23T16:00:00Z", [], {}])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=4,
)
events = st.builds(
    lambda name, properties, number: event(number, name=name, properties=properties),
    st.sampled_from(["Added", "added", "Bought"]),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=3),
    st.integers(0, 20),
)
shards = st.lists(st.lists(events, min_size=1, max_size=3), min_size=1, max_size=6)


class Crash(BaseException):
    """The Lambda is gone."""


@dataclass
class Fuse:
    """Ends everything before the call of a store whose turn it is; None never does."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash


class Fused:
    """A store that may be cut off before each call, and for the facts of one event between any two paths."""

    def __init__(self, store: Any, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def note(self, key: EventKey, facts: dict[str, Any]) -> None:
        for path, sighting in facts.items():
            self._fuse.burn()
            self._store.note(key, {path: sighting})

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def fused(*given: Any) -> Any:
            self._fuse.burn()
            return call(*given)

        return fused


@dataclass
class Policies:
    def get(self, of_source: str) -> str:
        return "variant"


@dataclass
class Hub:
    """The schema's part of the hub: warm memories, stores, and a fuse."""

    places: MemoryPlaces = field(default_factory=MemoryPlaces)
    schemas: MemorySchemas = field(default_factory=MemorySchemas)
    fuse: Fuse = field(default_factory=Fuse)
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.feed = MemoryFeed(self.places)

    def batch(self, shard: str, records: Sequence[Record]) -> None:
        """One batch, again and again until it is through."""
        schemas, places = Fused(self.schemas, self.fuse), Fused(self.places, self.fuse)
        ports = track_schema.Ports(schemas, places, MemoryParked(), MemoryPlans(), self.memory, Inline())
        while True:
            try:
                track(shard, records, ports)
                return
            except Crash:
                self.memory = Memory()
                ports = structs.replace(ports, memory=self.memory)

    def publish(self) -> None:
        """What the stream of the facts brings about, for every event of the source."""
        for owner in list(self.places.events):
            places, feed, schemas = (Fused(store, self.fuse) for store in (self.places, self.feed, self.schemas))
            ports = publish_schema.Ports(places, feed, schemas, Policies(), lambda attempt: None)
            while True:
                try:
                    publish(owner, ports)
                    break
                except (Crash, StoreChanged):
                    continue

    @property
    def changes(self) -> list[Change]:
        return self.feed.read(OF_SOURCE, 0, 10**6)

    def state(self) -> bytes:
        """Facts, counts and schemas, but for what the order of publication decides: names given, and versions."""
        rows = {
            owner: sorted(
                (path, sorted(row.kinds.items()), sorted(row.guards), sorted(row.published))
                for path, row in found.rows.items()
            )
            for owner, found in self.places.events.items()
        }
        models = {owner: _nameless(blob) for owner, blob in self.schemas.schemas.items()}
        counts = sorted((list(key), list(map(str, value))) for key, value in self.schemas.today.items())
        past = sorted((list(key), list(map(str, value))) for key, value in self.schemas.past.items())
        days = sorted((list(key), value.hex()) for key, value in self.schemas.days.items())
        return msgspec.json.encode([rows, models, counts, past, days], order="sorted")


def _nameless(blob: bytes) -> Any:
    schema = schema_model.unpacked(blob)
    places = tuple(structs.replace(place, columns={}) for place in schema.places)
    return msgspec.to_builtins(structs.replace(schema, places=places, version=0, table=""))


def stream(content: Sequence[Sequence[dict[str, Any]]], days: Sequence[str] = DAYS[1:2]) -> dict[str, list[Record]]:
    """Records of runs on two shards, numbered per shard, in the order in which they were sent; days only go up."""
    found: dict[str, list[Record]] = {"shard-0": [], "shard-1": []}
    for place, run in enumerate(content):
        theirs = found[f"shard-{place % 2}"]
        day = days[min(place * len(days) // len(content), len(days) - 1)]
        theirs.append(record(len(theirs) + 1, *run, day=day, second=place))
    return found


def batches(records: Sequence[Record], sizes: Iterator[int]) -> Iterator[Sequence[Record]]:
    place = 0
    while place < len(records):
        size = next(sizes)
        yield records[place : place + size]
        place += size


def undisturbed(content: Sequence[Sequence[dict[str, Any]]], days: Sequence[str] = DAYS[1:2]) -> Hub:
    hub = Hub()
    for shard, records in stream(content, days).items():
        if records:
            hub.batch(shard, records)
    hub.publish()
    return hub


@given(shards, st.data())
def test_crashes_replays_and_interleavings_leave_the_same_state_and_a_whole_feed(
    content: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    days = data.draw(st.sampled_from([DAYS[:1], DAYS[:2], DAYS]))
    hub = Hub()
    todo = {
        shard: list(batches(records, iter(lambda: data.draw(st.integers(1, 3)), 0)))
        for shard, records in stream(content, days).items()
        if records
    }
    while todo:
        shard = data.draw(st.sampled_from(sorted(todo)))
        hub.fuse.left = data.draw(st.none() | st.integers(0, 12))
        batch = todo[shard][0]
        hub.batch(shard, batch)
        if data.draw(st.booleans()):
            hub.batch(shard, batch)  # Kinesis hands it over once more
        if data.draw(st.booleans()):
            hub.memory = Memory()  # another Lambda takes over
        if data.draw(st.booleans()):
            hub.publish()
        todo[shard].pop(0)
        if not todo[shard]:
            del todo[shard]
    hub.fuse.left = None
    hub.publish()
    assert hub.state() == undisturbed(content, days).state()
    assert_whole(hub)


@given(shards)
def test_the_whole_stream_once_more_changes_nothing(content: list[list[dict[str, Any]]]) -> None:
    hub = undisturbed(content)
    before, told = hub.state(), len(hub.changes)
    hub.memory = Memory()
    for shard, records in stream(content).items():
        if records:
            hub.batch(shard, records)
    hub.publish()
    assert hub.state() == before
    assert len(hub.changes) == told
    assert hub.places.read(next(iter(hub.places.events))).table is not None


@given(shards)
def test_counts_are_those_of_the_events(content: list[list[dict[str, Any]]]) -> None:
    hub = undisturbed(content, DAYS)
    expected: dict[str, int] = {}
    totals: dict[tuple[str, str], int] = {}
    for each in (each for run in content for each in run):
        expected[each["event"]] = expected.get(each["event"], 0) + 1
        for name in each["properties"]:
            totals[each["event"], name] = totals.get((each["event"], name), 0) + 1
    for name, count in expected.items():
        key = EventKey(WORKSPACE, SOURCE, "track", name)
        view = schema_view.view(*reading(hub, key), "variant")  # type: ignore[arg-type]
        assert view.count == count
        found = {path.path: path.count for path in view.paths}
        for (event_name, property_name), total in totals.items():
            if event_name == name:
                assert found[f"properties.{property_name}"] == total


def test_the_feed_tells_number_then_string_then_object() -> None:
    hub = Hub()
    for number, value in enumerate([1.5, "text", {"amount": 1}]):
        hub.batch("shard-0", [record(number + 1, event(number, properties={"total": value}))])
        hub.publish()
    told = [(each.change, each.path, each.kinds, each.type) for each in hub.changes]
    assert told == [
        ("added", "properties.total", ("number",), "number"),
        ("conflict", "properties.total", ("number", "string"), "string"),
        ("conflict", "properties.total", ("number", "object", "string"), "object"),
        ("added", "properties.total.amount", ("integer",), "integer"),
    ]


def test_a_null_is_told_with_the_column_that_is_there() -> None:
    hub = Hub()
    for number, value in enumerate([1, None]):
        hub.batch("shard-0", [record(number + 1, event(number, properties={"total": value}))])
        hub.publish()
    assert [(each.kind, each.type, each.column) for each in hub.changes] == [
        ("integer", "integer", "total"),
        ("null", "integer", "total"),
    ]


def test_a_day_that_began_elsewhere_is_counted_once() -> None:
    """A crash after a day was put by and before the next one's count was saved."""
    hub = Hub()
    hub.batch("shard-0", [record(1, event(1), day=DAYS[0])])
    hub.fuse.left = 1  # put_by goes through, save does not
    hub.batch("shard-0", [record(2, event(2), day=DAYS[1])])
    hub.publish()
    key = EventKey(WORKSPACE, SOURCE, "track", "Order Completed")
    assert schema_view.view(*reading(hub, key), "variant").count == 2  # type: ignore[arg-type]


def test_ids_used_as_names_become_a_map_in_whatever_order_they_come() -> None:
    runs = [[event(n, properties={"scores": {f"user_{n}": n, "best": "text"}})] for n in range(150)]
    hub = undisturbed(runs)
    assert [each.path for each in hub.changes if each.change == "collapsed"] == ["properties.scores.*"]
    batched = within_batches(runs, 7)
    assert facts(batched) == facts(hub)
    backwards = Hub()
    for shard, records in stream(runs).items():
        for number, each in enumerate(reversed(records), 1):
            backwards.batch(shard, [Record(str(number), each.day, each.data)])
        backwards.publish()
    assert facts(backwards) == facts(hub)
    key = EventKey(WORKSPACE, SOURCE, "track", "Order Completed")
    for each in (hub, batched, backwards):
        found = {path.path: path.count for path in schema_view.view(*reading(each, key), "variant").paths}  # type: ignore[arg-type]
        assert found["properties.scores.*"] == 150
        assert found["properties.scores.best"] == 150


def within_batches(content: Sequence[Sequence[dict[str, Any]]], size: int) -> Hub:
    """Published after each batch: what is collapsed at last was told of one by one before."""
    hub = Hub()
    for shard, records in stream(content).items():
        for batch in batches(records, iter(lambda: size, 0)):
            hub.batch(shard, batch)
            hub.publish()
    return hub


def facts(hub: Hub) -> Any:
    return {
        owner: sorted((path, sorted(row.kinds.items())) for path, row in found.rows.items())
        for owner, found in hub.places.events.items()
    }


def assert_whole(hub: Hub) -> None:
    assert [each.version for each in hub.changes] == list(range(1, len(hub.changes) + 1))
    told = [(each.call, each.event, each.path, each.kind) for each in hub.changes]
    assert len(told) == len(set(told))
    columns = {(each.event, each.column): each.path for each in hub.changes if each.column}
    assert len({(event_name, path) for (event_name, _), path in columns.items()}) <= len(columns)
    for found in hub.places.events.values():
        assert all(row.published >= row.kinds.keys() - {"object"} for row in found.rows.values())


def reading(hub: Hub, key: EventKey) -> tuple[Any, Any, Any]:
    """As the table gives it to a query."""
    today, past = {}, {}
    for shard in ("shard-0", "shard-1"):
        schema, count = hub.schemas.load(key, shard)
        if count is not None:
            today[shard] = count
        if (key.owner, shard) in hub.schemas.past:
            past[shard] = hub.schemas.past_of(key, shard)
    return Reading(schema, today, past)
