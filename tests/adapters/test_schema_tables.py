"""Places, schemas and the change feed: the fakes and DynamoDB keep one contract."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from msgspec import structs

from penstock.adapters.change_feed import FeedPublisher, change_in
from penstock.adapters.event_bus import EventBus
from penstock.adapters.place_table import PlaceTable
from penstock.adapters.schema_table import SchemaTable
from penstock.adapters.source_policies import SourcePolicies
from penstock.domain import schema_counts
from penstock.domain.schema_changes import Change, EventFacts
from penstock.domain.schema_counts import BEGINNING, Count
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_facts import ROOT, First
from penstock.domain.schema_model import EventSchema, Place
from penstock.errors import BusUnavailable, StoreChanged, StoreUnavailable
from tests.builders_schema import DAY, KEY, SHARD, at, seen, shape, sighting
from tests.control_api import REGION, make_tables
from tests.fakes_schema import MemoryFeed, MemoryPlaces, MemorySchemas

CONFIG, PLACES, SCHEMAS, CHANGES = (f"penstock-test-{name}" for name in ("config", "places", "schemas", "changes"))
TOTAL = "properties.total"
OTHER = EventKey(KEY.workspace, KEY.source, "identify", None)


@dataclass
class Stores:
    places: Any
    schemas: Any
    feed: Any


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


@pytest.fixture
def tables() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


@pytest.fixture(params=["memory", "dynamodb"])
def stores(request: pytest.FixtureRequest, tables: None) -> Iterator[Stores]:
    if request.param == "memory":
        places = MemoryPlaces()
        yield Stores(places, MemorySchemas(), MemoryFeed(places))
        return
    with ThreadPoolExecutor(4) as threads:
        dynamodb = client("dynamodb")
        yield Stores(
            PlaceTable(dynamodb, PLACES, threads),
            SchemaTable(dynamodb, SCHEMAS),
            FeedPublisher(dynamodb, CHANGES, PLACES),
        )


def change(version: int, path: str = TOTAL, kind: str = "number", column: str | None = "total") -> Change:
    return Change(version, "added", "track", KEY.event, path, kind, (kind,), kind, column, at(0))


def note(stores: Stores, *kinds: str, second: int = 0, message_id: str = "m", path: str = TOTAL) -> None:
    root = sighting("object", second=second, message_id=message_id)
    stores.places.note(KEY, {ROOT: root, path: sighting(*kinds, second=second, message_id=message_id)})


def facts(stores: Stores) -> EventFacts:
    found: EventFacts = stores.places.read(KEY.owner)
    return found


def test_what_was_noted_is_read_with_the_events_own_name(stores: Stores) -> None:
    note(stores, "number", "string")
    found = facts(stores)
    assert (found.call, found.event, found.table) == ("track", "Order Completed", None)
    assert found.rows[TOTAL].kinds == {"number": First(at(0), "m"), "string": First(at(0), "m")}
    assert found.rows[TOTAL].published == frozenset()


def test_the_least_first_of_a_kind_stays_whatever_comes_in_which_order(stores: Stores) -> None:
    note(stores, "number", "string", second=5)
    note(stores, "number", second=9)
    note(stores, "number", "boolean", second=5, message_id="a")
    note(stores, "number", "string", second=7, message_id="a")
    assert facts(stores).rows[TOTAL].kinds == {
        "number": First(at(5), "a"),
        "string": First(at(5), "m"),
        "boolean": First(at(5), "a"),
    }


def test_guards_are_noted_with_or_without_kinds(stores: Stores) -> None:
    stores.places.note(KEY, {ROOT: sighting("object"), TOTAL: sighting("object", guards=["depth"])})
    stores.places.note(KEY, {TOTAL: sighting("object", second=9, guards=["name_length"])})
    stores.places.note(KEY, {ROOT: sighting(guards=["paths:00001:ab"])})
    found = facts(stores)
    assert found.rows[TOTAL].guards == {"depth", "name_length"}
    assert found.root is not None and found.root.guards == {"paths:00001:ab"}


@pytest.mark.parametrize(
    "path", ["properties.a\\.b", "properties.", "properties.é.\U0001f600", "properties." + "x" * 3000]
)
def test_any_path_can_be_noted(stores: Stores, path: str) -> None:
    note(stores, "string", path=path)
    assert path in facts(stores).rows


def test_events_do_not_meet(stores: Stores) -> None:
    note(stores, "number")
    assert stores.places.read(OTHER.owner).rows == {}


def test_a_path_loses_the_kinds_that_stand_elsewhere(stores: Stores) -> None:
    note(stores, "number", "string")
    stores.places.take_back(KEY, TOTAL, facts(stores).rows[TOTAL], {"string"})
    assert facts(stores).rows[TOTAL].kinds.keys() == {"number"}
    stores.places.take_back(KEY, TOTAL, facts(stores).rows[TOTAL], {"number"})
    assert TOTAL not in facts(stores).rows
    stores.places.take_back(KEY, TOTAL, structs.replace(facts(stores).root, kinds={}), set())


def test_what_was_noted_meanwhile_is_not_taken_back(stores: Stores) -> None:
    note(stores, "number", second=30)
    row = facts(stores).rows[TOTAL]
    note(stores, "string", second=31)
    stores.places.take_back(KEY, TOTAL, row, {"number"})
    assert facts(stores).rows[TOTAL].kinds.keys() == {"number", "string"}
    row = facts(stores).rows[TOTAL]
    note(stores, "number", second=10, message_id="earlier")
    stores.places.take_back(KEY, TOTAL, row, {"number"})
    assert "number" in facts(stores).rows[TOTAL].kinds


def test_a_column_has_one_owner_for_good(stores: Stores) -> None:
    note(stores, "number")
    assert stores.places.claim_column(KEY, "total", TOTAL, "number")
    assert stores.places.claim_column(KEY, "total", TOTAL, "number")
    assert not stores.places.claim_column(KEY, "total", "properties.Total", "number")
    assert not stores.places.claim_column(KEY, "total", TOTAL, "string")
    assert facts(stores).taken == {"total": f"{TOTAL}\0number"}


def test_a_table_has_one_event_for_good(stores: Stores) -> None:
    note(stores, "number")
    stores.places.note(OTHER, {ROOT: sighting("object")})
    assert stores.places.claim_table(KEY, "orders")
    assert stores.places.claim_table(KEY, "orders")
    assert not stores.places.claim_table(OTHER, "orders")
    assert facts(stores).table == "orders"


def test_published_changes_move_the_head_and_mark_their_paths(stores: Stores) -> None:
    note(stores, "number", "string")
    assert stores.feed.head(KEY.of_source) == 0
    first, second = change(1), change(2, kind="string", column="total__string")
    stores.feed.publish(KEY, [first, second])
    assert stores.feed.head(KEY.of_source) == 2
    assert stores.feed.read(KEY.of_source, 0, 100) == [first, second]
    assert stores.feed.read(KEY.of_source, 1, 100) == [second]
    assert stores.feed.read(KEY.of_source, 0, 1) == [first]
    assert stores.feed.read(KEY.of_source, 2, 100) == []
    row = facts(stores).rows[TOTAL]
    assert (row.published, row.version) == ({"number", "string"}, 2)
    assert list(row.columns.items()) == [("number", "total"), ("string", "total__string")]


def test_nothing_is_published_on_a_head_that_has_moved_on_or_of_a_path_that_is_gone(stores: Stores) -> None:
    note(stores, "number")
    stores.feed.publish(KEY, [change(1)])
    for late in ([change(1)], [change(3)], [change(2, path="properties.gone")]):
        with pytest.raises(StoreChanged):
            stores.feed.publish(KEY, late)
    assert stores.feed.head(KEY.of_source) == 1
    assert facts(stores).rows[TOTAL].version == 1


def test_forty_changes_fit_one_publication(stores: Stores) -> None:
    paths = [f"properties.p{number}" for number in range(40)]
    stores.places.note(KEY, {ROOT: sighting("object"), **{path: sighting("number") for path in paths}})
    stores.feed.publish(KEY, [change(n, path=path) for n, path in enumerate(paths, 1)])
    assert stores.feed.head(KEY.of_source) == 40


def test_a_count_is_saved_only_upon_the_one_that_was_read(stores: Stores) -> None:
    tree = shape(total=seen("number", count=3))
    assert stores.schemas.load(KEY, SHARD) == (None, None)
    stores.schemas.save(KEY, SHARD, Count(DAY, "7", tree), BEGINNING)
    with pytest.raises(StoreChanged):
        stores.schemas.save(KEY, SHARD, Count(DAY, "7", tree), BEGINNING)
    with pytest.raises(StoreChanged):
        stores.schemas.save(KEY, SHARD, Count(DAY, "9", tree), "8")
    stores.schemas.save(KEY, SHARD, Count(DAY, "9", tree, 40, at(0)), "7")
    _, count = stores.schemas.load(KEY, SHARD)
    assert (count.day, count.upto, count.events_before, count.began) == (DAY, "9", 40, at(0))
    assert schema_counts.packed(count.tree) == schema_counts.packed(tree)
    assert stores.schemas.load(KEY, "shardId-000000000001") == (None, None)


def test_a_schema_replaces_the_one_that_was_read(stores: Stores) -> None:
    first = EventSchema("track", KEY.event, "order_completed", 1, at(0), (Place(TOTAL, ("number",), "number", at(0)),))
    second = structs.replace(first, version=2)
    assert stores.schemas.published(KEY) == ""
    stores.schemas.publish(KEY, first, "")
    tag = stores.schemas.published(KEY)
    stores.schemas.publish(KEY, second, tag)
    assert stores.schemas.published(KEY) != tag
    with pytest.raises(StoreChanged):
        stores.schemas.publish(KEY, structs.replace(first, version=3), tag)
    stores.schemas.publish(KEY, first, tag)  # what was read is no news, whatever is there by now
    assert stores.schemas.load(KEY, SHARD)[0] == second


def test_what_outgrows_an_item_lies_in_several(tables: None) -> None:
    store = SchemaTable(client("dynamodb"), SCHEMAS)
    names = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000))
    places = tuple(Place(f"properties.{name}", ("string",), "string", at(0)) for name in names)
    schema = EventSchema("track", KEY.event, "t", 1, at(0), places)
    store.publish(KEY, schema, "")
    count = Count(DAY, "1", shape(total=seen("number")))
    store.save(KEY, SHARD, count, BEGINNING)
    found = store.read(KEY)
    assert found.schema == schema and found.today.keys() == {SHARD}
    items = client("dynamodb").scan(TableName=SCHEMAS, Select="COUNT")["Count"]
    assert items > 2, "the schema was meant to be too large for one item"
    store.publish(KEY, structs.replace(schema, places=()), store.published(KEY))
    assert store.read(KEY).schema == structs.replace(schema, places=())


def test_a_finished_day_is_put_by_once(tables: None) -> None:
    store = SchemaTable(client("dynamodb"), SCHEMAS)
    finished = Count(DAY, "7", shape(total=seen("number", count=3)))
    store.save(KEY, SHARD, finished, BEGINNING)
    for _ in range(2):
        store.put_by(KEY, SHARD, finished)
    past = store.read(KEY).past[SHARD]
    assert (past.day, past.tree.names["properties"].names["total"].kinds["number"].count) == (DAY, 3)
    later = Count("2026-11-24", "9", shape(total=seen("number", count=4)))
    store.put_by(KEY, SHARD, later)
    assert store.read(KEY).past[SHARD].tree.names["properties"].names["total"].kinds["number"].count == 7


def test_events_are_listed_by_call_and_name(tables: None) -> None:
    store = SchemaTable(client("dynamodb"), SCHEMAS)
    keys = [KEY, OTHER, structs_key("Added"), structs_key("added")]
    for key in keys:
        for shard in ("shardId-000000000000", "shardId-000000000001"):
            store.save(key, shard, Count(DAY, "7", shape()), BEGINNING)
    rows = list(store.listed(KEY.of_source, None))
    assert [row.summary.event for row in rows[::2]] == [
        None,
        *sorted(["Added", "added"], key=digest),
        "Order Completed",
    ]
    assert len({row.id for row in rows}) == 4
    assert [row.summary.event for row in store.listed(KEY.of_source, rows[5].id)] == ["Order Completed"] * 2


def structs_key(event: str) -> EventKey:
    return KEY._replace(event=event)


def digest(event: str) -> str:
    return structs_key(event).digest


def test_a_source_has_the_policy_that_it_was_given_and_one_that_is_gone_the_default(tables: None) -> None:
    item = {"workspace_id": {"S": KEY.workspace}, "sk": {"S": f"source#{KEY.source}"}, "schema_policy": {"S": "widen"}}
    client("dynamodb").put_item(TableName=CONFIG, Item=item)
    policies = SourcePolicies(client("dynamodb"), CONFIG)
    assert policies.read(KEY.of_source) == "widen"
    assert policies.read(f"{KEY.workspace}#src_gone") == "variant"


def test_the_bus_takes_changes_and_says_when_it_does_not(tables: None) -> None:
    client("events").create_event_bus(Name="penstock-test")
    EventBus(client("events"), "penstock-test").put([("src#1", b'{"version":1}')])

    class Refusing:
        def put_events(self, **_: Any) -> dict[str, Any]:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}

    with pytest.raises(BusUnavailable):
        EventBus(Refusing(), "penstock-test").put([("src#1", b"{}")])  # type: ignore[arg-type]


class Down:
    """A client whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _: str) -> Any:
        def call(**_: Any) -> Any:
            raise self._error

        return call


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "Any"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    ],
)
def test_a_store_that_does_not_answer_is_unavailable(error: Exception) -> None:
    down: Any = Down(error)
    with ThreadPoolExecutor(1) as threads:
        for call in (
            lambda: PlaceTable(down, PLACES, threads).note(KEY, {ROOT: sighting("object")}),
            lambda: PlaceTable(down, PLACES, threads).read(KEY.owner),
            lambda: SchemaTable(down, SCHEMAS).read(KEY),
            lambda: FeedPublisher(down, CHANGES, PLACES).head(KEY.of_source),
            lambda: SourcePolicies(down, CONFIG).read(KEY.of_source),
        ):
            with pytest.raises(StoreUnavailable):
                call()


def test_the_feeds_stream_shows_changes_and_its_head_is_none() -> None:
    assert change_in({"version": {"N": "7"}}) is None
