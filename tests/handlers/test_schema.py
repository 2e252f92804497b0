"""Schemas from the stream to the API: the real handlers and their wiring on moto, with events as Lambda sends them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import boto3
import jsonschema
import msgspec
import pytest

from functions.schema.handler import ReplayBatch
from functions.schema.handler import handler as track
from functions.schema_changes.handler import handler as publish
from penstock.adapters.plan_validator import compiled
from penstock.domain.schema_event import EventKey
from penstock.domain.tracking_plan import NewPlan, findings
from penstock.steps.track_schema import Known, Memory
from penstock.wiring import schema as schema_wiring
from penstock.wiring import schema_changes as changes_wiring
from tests.builders_pipeline import SHARD, event, run_of
from tests.control_api import REGION, Json, Tenant, tenant
from tests.handlers.test_pipeline import Cloud, cloud_of_its_own, kinesis_event

TABLES = {name: f"penstock-test-{name}" for name in ("places", "schemas", "changes")}
BUS = "penstock-test"


@dataclass
class Hub:
    """The hub's handlers, with the tests as their pollers; `seen` are the items that streams have shown."""

    cloud: Cloud
    dynamodb: Any = field(default_factory=lambda: boto3.client("dynamodb", region_name=REGION))
    seen: dict[str, list[Json]] = field(default_factory=lambda: {"places": [], "changes": []})
    sent: int = 0

    @property
    def tenant(self) -> Tenant:
        return self.cloud.tenant

    def send(self, *events: Json, key: str = "ada") -> None:
        """One run through the stream and, as far as it brings news, through the tables' streams."""
        self.sent += 1
        run = run_of(*events, workspace=self.tenant.id, source=self.cloud.source, key=key)
        assert track(kinesis_event(run, first=self.sent), None) == {"batchItemFailures": []}
        self.follow()

    def follow(self) -> None:
        for table in ("places", "changes"):
            records = [self.record(table, item) for item in self._new(table)]
            if records:
                assert publish({"Records": records}, None) == {"batchItemFailures": []}

    def _new(self, table: str) -> list[Json]:
        items = self.dynamodb.scan(TableName=TABLES[table], ConsistentRead=True)["Items"]
        new = [item for item in items if item not in self.seen[table]]
        self.seen[table] = items
        return sorted(new, key=lambda item: item["sk"]["S"])

    def record(self, table: str, item: Json) -> Json:
        keys = {"owner": item["owner"], "sk": item["sk"]}
        return {
            "eventName": "INSERT",
            "eventSourceARN": f"arn:aws:dynamodb:{REGION}:123456789012:table/{TABLES[table]}/stream/2026-11-23T16:00",
            "dynamodb": {"Keys": keys, "NewImage": item, "SequenceNumber": "1"},
        }

    def get(self, path: str, **query: Any) -> Any:
        answer = self.tenant.call("GET", f"/control/sources/{self.cloud.source}/schema{path}", **query)
        assert answer.status == 200, answer
        return answer.body

    def paths(self, name: str = "Counted") -> dict[str, Json]:
        return {each["path"]: each for each in self.get(f"/events/{quote(name, safe='')}")["paths"]}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # what is asked for is asked of the store each time: no test waits for a cache
    monkeypatch.setenv("PENSTOCK_SCHEMA_FRESH_S", "-1")
    monkeypatch.setenv("PENSTOCK_SCHEMA_STALE_S", "-1")
    with cloud_of_its_own() as cloud:
        os.environ.update({f"PENSTOCK_{name.upper()}_TABLE": table for name, table in TABLES.items()})
        os.environ["PENSTOCK_EVENT_BUS"] = BUS
        boto3.client("events", region_name=REGION).create_event_bus(Name=BUS)
        forget_wiring()
        try:
            yield Hub(cloud)
        finally:
            forget_wiring()


def forget_wiring() -> None:
    schema_wiring.given.cache_clear()
    schema_wiring.ports.cache_clear()
    changes_wiring.given.cache_clear()
    changes_wiring.publishing.cache_clear()
    changes_wiring.announcing.cache_clear()


def test_number_then_string_then_object_is_one_story_wherever_it_is_told(hub: Hub) -> None:
    wants = {"schema_changes": True, "subscription": 'type = "none of the clients"'}
    path = f"/control/destinations/{hub.cloud.destination}"
    assert hub.tenant.call("PATCH", path, wants).status == 200
    for number, value in enumerate([1.5, "text", {"amount": 1}]):
        hub.send(event(number, properties={"total": value}))
    total = hub.paths()["properties.total"]
    assert (total["kinds"], total["type"], total["column"]) == (["number", "object", "string"], "number", "total")
    assert total["variants"] == [{"column": "total__string", "type": "string"}]
    assert (total["conflict"], total["count"], total["counts"]) == (True, 3, {"number": 1, "object": 1, "string": 1})
    feed = hub.get("/changes", after="0")
    assert [(each["version"], each["change"], each["kind"]) for each in feed["changes"]] == [
        (1, "added", "number"),
        (2, "conflict", "string"),
        (3, "conflict", "object"),
        (4, "added", "integer"),
    ]
    assert feed["next"] == "4"
    hub.cloud.deliver(hub.cloud.received())
    told = [json.loads(body) for _, body in hub.cloud.tool.received]
    assert [each["properties"] for each in told] == feed["changes"]
    assert {each["type"] for each in told} == {"schema_change"}
    books = hub.cloud.books
    assert (books.created, books.delivered) == (4, 4)


def test_marks_of_its_own_do_not_have_the_publisher_begin_again(hub: Hub) -> None:
    hub.send(event(1, properties={"total": 1}))
    places = hub.dynamodb.scan(TableName=TABLES["places"], ConsistentRead=True)["Items"]
    marked = [item for item in places if "published" in item]
    before = [{name: value for name, value in item.items() if name not in ("published", "version")} for item in marked]
    records = [hub.record("places", item) | {"eventName": "MODIFY"} for item in marked]
    for record, old in zip(records, before, strict=True):
        record["dynamodb"]["OldImage"] = old
    changes_wiring.publishing().places = Untouchable()  # type: ignore[assignment]
    assert publish({"Records": records}, None) == {"batchItemFailures": []}
    del records[0]["dynamodb"]["OldImage"]["kinds"]
    with pytest.raises(AssertionError):
        publish({"Records": records}, None)


class Untouchable:
    def read(self, owner: str) -> None:
        raise AssertionError("nothing was to be read")


def test_every_event_observed_is_valid_by_the_json_schema_of_it(hub: Hub) -> None:
    sent = [
        event(1, properties={"a": 1, "b": [1, "x", {"c": None}], "d.e": {"": True}}),
        event(2, properties={"a": 2.5, "b": "text", "when": "2026-11-23T16:00:00Z"}),
        event(3, properties={"a": None, "b": {}, "when": "soon"}),
        event(4, properties="odd"),
        event(5),
    ]
    for each in sent:
        hub.send(each)
    schema = hub.get("/events/Counted", format="jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    for each in sent:
        jsonschema.Draft202012Validator(schema).validate(each)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(event(6, properties={"a": "no number"}))


def test_a_map_is_valid_by_its_json_schema(hub: Hub) -> None:
    sent = [event(n, properties={"scores": {f"u{n}-{m}": m for m in range(60)} | {"note": "x"}}) for n in range(2)]
    for each in sent:
        hub.send(each)
    found = hub.get("/events/Counted")
    assert [each["guard"] for each in found["guards"]] == ["key_explosion"]
    assert {path["path"]: path["count"] for path in found["paths"]} == {
        "properties.scores": 2,
        "properties.scores.*": 120,
        "properties.scores.note": 2,
    }
    schema = hub.get("/events/Counted", format="jsonschema")
    for each in [*sent, event(9, properties={"scores": {"another": 7, "note": 7}})]:
        jsonschema.Draft202012Validator(schema).validate(each)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(event(9, properties={"scores": {"another": "text"}}))


def test_events_and_calls_are_listed_and_each_is_found_by_its_name(hub: Hub) -> None:
    names = ["A/B", "100%", "Ünïcode", "with space", "a#b"]
    for number, name in enumerate(names):
        hub.send(event(number, event=name, properties={"n": 1}))
    hub.send(event(7, type="identify", traits={"email": "a@example.com"}), event(8, type="page", name="Home"))
    listed = hub.get("")["events"]
    assert {each["event"] for each in listed} == {*names, None}
    assert [each["call"] for each in listed] == ["identify", "page", *["track"] * 5]
    for name in names:
        assert hub.get("/events", event=name)["event"] == name
    assert {each["path"] for each in hub.get("/calls/identify")["paths"]} == {"properties.n", "traits.email"}
    pages = hub.get("", limit=2)
    second = hub.get("", limit=100, next=pages["next"])
    assert pages["events"] + second["events"] == listed and second["next"] is None


def test_what_was_never_seen_is_not_found_and_what_cannot_be_asked_is_refused(hub: Hub) -> None:
    base = f"/control/sources/{hub.cloud.source}/schema"
    asked = {
        f"{base}/events/Nothing": ("event_not_found", None),
        f"{base}/calls/alias": ("event_not_found", None),
        f"{base}/calls/track": ("call_not_found", None),
        "/control/sources/src_aaaaaaaaaaaa/schema": ("source_not_found", None),
    }
    for path, (code, at) in asked.items():
        answer = hub.tenant.call("GET", path)
        assert (answer.status, answer.error["code"], answer.error["field"]) == (404, code, at), path
    refused = [
        ("/events", {}, "event"),
        ("/events", {"event": "x", "format": "xml"}, "format"),
        ("/changes", {"after": "-1"}, "after"),
        ("/changes", {"after": "x"}, "after"),
        ("/changes", {"wait": "forever"}, "wait"),
        ("", {"next": "nonsense"}, "next"),
    ]
    for path, query, at in refused:
        answer = hub.tenant.call("GET", base + path, **query)
        assert (answer.status, answer.error["field"]) == (400, at), (path, query)


def test_changes_are_waited_for_no_longer_than_asked(hub: Hub) -> None:
    assert hub.get("/changes", after="0", wait="1") == {"changes": [], "next": "0"}
    hub.send(event(1))
    assert len(hub.get("/changes", after="0", wait="60")["changes"]) == 1


def test_another_workspaces_schemas_are_out_of_reach(hub: Hub) -> None:
    hub.send(event(1))
    stranger = tenant("Strangers")
    for path in ("", "/events/Counted", "/changes"):
        assert stranger.call("GET", f"/control/sources/{hub.cloud.source}/schema{path}").status == 404


def test_a_poison_record_is_parked_with_its_reason_and_blocks_nothing(hub: Hub) -> None:
    run = run_of(event(1), workspace=hub.tenant.id, source=hub.cloud.source)
    batch = kinesis_event(b"\xff no run", run)
    assert track(batch, None) == {"batchItemFailures": []}
    hub.follow()
    assert hub.get("/events/Counted")["count"] == 1
    bucket = os.environ["PENSTOCK_FAILURE_BUCKET"]
    parked = boto3.client("s3", region_name=REGION).get_object(Bucket=bucket, Key=f"untracked/{SHARD}-{1:056d}")
    assert parked["Body"].read() == b"\xff no run"
    assert parked["Metadata"]["reason"] == "DecodeError"


class Fragile(Memory):
    """Breaks in a way that nobody foresaw at one of the events."""

    def get(self, key: EventKey, shard: str) -> Known | None:
        if key.event == "Bad":
            raise ZeroDivisionError
        return super().get(key, shard)


def test_a_record_that_breaks_the_tracker_is_parked_alone(hub: Hub) -> None:
    good = run_of(event(1), workspace=hub.tenant.id, source=hub.cloud.source)
    bad = run_of(event(2, event="Bad"), workspace=hub.tenant.id, source=hub.cloud.source)
    schema_wiring.ports().memory = Fragile()
    assert track(kinesis_event(good, bad), None) == {"batchItemFailures": []}
    hub.follow()
    assert hub.get("/events/Counted")["count"] == 1
    kept = boto3.client("s3", region_name=REGION).list_objects_v2(Bucket=os.environ["PENSTOCK_FAILURE_BUCKET"])
    assert [each["Key"] for each in kept["Contents"]] == [f"untracked/{SHARD}-{2:056d}"]


def test_a_store_that_does_not_answer_has_the_batch_replayed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(event(1), workspace=hub.tenant.id, source=hub.cloud.source)
    hub.dynamodb.delete_table(TableName=TABLES["places"])
    assert track(kinesis_event(run), None) == {"batchItemFailures": [{"itemIdentifier": f"{1:056d}"}]}
    monkeypatch.setenv("PENSTOCK_STREAM_PARTIAL_FAILURES", "false")
    schema_wiring.given.cache_clear()
    with pytest.raises(ReplayBatch):
        track(kinesis_event(run), None)


def test_a_source_says_what_becomes_of_contradictions(hub: Hub) -> None:
    for number, value in enumerate([1, "text"]):
        hub.send(event(number, properties={"total": value}))
    found = {}
    for policy in ("variant", "widen", "strict"):
        path = f"/control/sources/{hub.cloud.source}"
        assert hub.tenant.call("PATCH", path, {"schema_policy": policy}).body["schema_policy"] == policy
        found[policy] = hub.paths()["properties.total"]["type"]
    assert found == {"variant": "integer", "widen": "string", "strict": "integer"}
    assert hub.tenant.call("PATCH", f"/control/sources/{hub.cloud.source}", {"schema_policy": "x"}).status == 400


def test_an_inferred_plan_finds_nothing_in_what_it_was_inferred_from(hub: Hub) -> None:
    sent = [event(1, properties={"total": 1}), event(2, properties={"total": None, "tags": ["x"]})]
    for each in sent:
        hub.send(each)
    base = f"/control/sources/{hub.cloud.source}/tracking-plan"
    draft = hub.tenant.call("POST", f"{base}/infer").body
    draft |= {"violation": "block", "unplanned_property": "block", "unplanned_event": "block"}
    assert hub.tenant.call("PUT", base, draft).status == 200
    plan = compiled(msgspec.convert(draft, NewPlan))
    assert [findings(each, plan) for each in sent] == [[], []]
    assert findings(event(3, properties={"total": "x", "more": 1}), plan)


def test_violations_are_counted_by_rule_with_the_latest_shapes_and_no_values(hub: Hub) -> None:
    base = f"/control/sources/{hub.cloud.source}/tracking-plan"
    schema = {"properties": {"properties": {"properties": {"total": {"type": "number"}}}}}
    rule = {"type": "track", "event": "Counted", "schema": schema}
    assert hub.tenant.call("PUT", base, {"name": "Shop", "rules": [rule], "violation": "block"}).status == 200
    for number, total in enumerate([1, "secret", 2, "secret", None, "secret"]):
        hub.send(event(number, properties={"total": total}))
    hub.send(event(7, event="Surprise", properties={"more": True}))
    found = hub.tenant.call("GET", f"{base}/violations").body["violations"]
    assert [(each["rule"], each["event"], each["count"], each["action"]) for each in found] == [
        ("track/Counted:properties.total:type", "Counted", 4, "block"),
        ("track:unplanned_event", "Surprise", 1, "allow"),
    ]
    assert [each["message_id"] for each in found[0]["samples"]] == ["m-5", "m-4", "m-3"]
    assert found[0]["samples"][1]["shape"]["properties.total"] == "null"
    assert "secret" not in json.dumps(found)
