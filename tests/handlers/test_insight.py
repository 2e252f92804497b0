"""Health, trace and alerts from the outside: the control API's real handler and wiring, on moto."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.minute_table import MinuteTable
from penstock.adapters.progress import ProgressTable
from penstock.adapters.rate_table import RateTable
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.round_table import RoundTable
from penstock.domain import dedup
from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, Cause, CreatedReceipt, FanoutReceipt, RecordReceipt, deliver_receipt
from penstock.domain.delays import bucket
from penstock.domain.job import group_of
from penstock.domain.progress import Progress
from penstock.domain.rate import RateState
from penstock.steps import count_books
from penstock.steps.count_books import tick
from penstock.steps.read_health import Books
from penstock.tables import key_owner
from tests.builders_pipeline import SHARD
from tests.control_api import REGION, Answer, Json, Tenant, call, control_cloud, tenant

USER = "ada"
ODD = 'a/b?c#%41 ü"\n'
RECORD = f"{SHARD}-{7:056d}"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Callable[[str], Any]]:
    with control_cloud() as client:
        yield client


@dataclass
class World:
    """A tenant with a source and a destination, and what the pipeline would have written of it."""

    cloud: Callable[[str], Any]
    mine: Tenant
    source: str
    destination: str
    now: float

    @property
    def path(self) -> str:
        return f"/control/destinations/{self.destination}"

    @property
    def receipts(self) -> ReceiptTable:
        ids = count()
        return ReceiptTable(self.cloud("dynamodb"), "penstock-test-receipts", time.time, lambda: str(next(ids)))

    def fan_out(self, ago_s: float, **records: RecordReceipt) -> None:
        named = {record_of(name): counts for name, counts in records.items()}
        self.receipts.keep_fanout(self.mine.id, self.destination, FanoutReceipt(iso(self.now - ago_s), named))

    def deliver(self, ago_s: float, jobs: dict[str, tuple[int, list[str]]], **more: Any) -> None:
        self.receipts.keep_deliver(self.mine.id, self.destination, deliver_receipt(iso(self.now - ago_s), jobs, **more))

    def enqueue(self, jobs: int) -> None:
        """Jobs that nobody takes: the mapping is off."""
        sqs, functions = self.cloud("sqs"), self.cloud("lambda")
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        url = sqs.get_queue_url(QueueName=f"penstock-test-d-{self.destination}.fifo")["QueueUrl"]
        for number in range(jobs):
            sqs.send_message(
                QueueUrl=url, MessageBody="x", MessageGroupId=f"g-{number}", MessageDeduplicationId=f"d-{number}"
            )

    def claim(self, message_id: str, record: str = RECORD, index: int = 0) -> None:
        item = {
            "owner": {"S": key_owner(self.mine.id, self.source, group_of(self.source, USER))},
            "sk": {"S": dedup.day_of(self.now)},
            dedup.short_hash(message_id): {"B": dedup.claims_of(record, index + 1)[index]},
            "ids": {"N": "1"},
        }
        self.cloud("dynamodb").put_item(TableName="penstock-test-dedup", Item=item)

    def health(self, **query: Any) -> Json:
        answer = self.mine.call("GET", f"{self.path}/health", **query)
        assert answer.status == 200, answer
        return answer.body

    def trace(self, message_id: str, **query: Any) -> Answer:
        return self.mine.call("GET", f"/control/trace/{quote(message_id, safe='')}", **({"user": USER} | query))


def record_of(name: str) -> str:
    return f"{SHARD}-{int(name.removeprefix('r')):056d}"


@pytest.fixture
def world(cloud: Callable[[str], Any]) -> World:
    mine = tenant()
    source = mine.source()["id"]
    destination = mine.destination(source_ids=[source])["id"]
    return World(cloud, mine, source, destination, time.time())


def balance(found: Json) -> int:
    gone = sum(found[name] for name in ("delivered", "filtered", "discarded", "dead"))
    return found["accepted"] + found["created"] - gone


def test_a_new_destination_is_healthy_and_empty(world: World) -> None:
    found = world.health()
    assert balance(found) == found["accepted"] == found["queued"] == found["oldest_age_s"] == 0
    assert (found["gate"]["state"], found["is_complete"], found["since"]) == ("open", True, None)
    assert (found["p50_ms"], found["window"]["delivered_share"], found["per_minute"]) == (None, None, [])
    assert found["rate"] == {"requests_per_s": None, "concurrency": None, "paused_until": None}


def test_health_tells_the_limits_that_a_destination_is_held_to(world: World) -> None:
    world.mine.call("PATCH", world.path, {"delivery": {"requests_per_s": 50.0, "concurrency": 3}})
    table = RateTable(world.cloud("dynamodb"), "penstock-test-gates")
    table.swap(world.mine.id, world.destination, RateState(), RateState(limit=20.0, pause_until=world.now + 60))
    paused_until = iso(world.now + 60)
    assert world.health()["rate"] == {"requests_per_s": 20.0, "concurrency": 3, "paused_until": paused_until}


def test_health_tells_what_became_of_events_long_ago_and_just_now(world: World) -> None:
    world.fan_out(86_400, r1=RecordReceipt(5, 1, 2))
    world.receipts.keep_created(world.mine.id, world.destination, CreatedReceipt(iso(world.now - 300), {"c": 1}))
    causes = {"http_503": Cause(2, "m-1", 503, "later")}
    jobs = {f"{record_of('r1')}-0": (0, [DELIVERED, "http_404", "dead:http_503", DELIVERED])}
    world.deliver(200, jobs, retried=2, delays={bucket(100.0): 1, bucket(900.0): 1}, causes=causes)
    world.deliver(0, {"c": (0, [DELIVERED])})
    for _ in range(2):  # counted for the first time, and from what was counted
        found = world.health()
        assert {name: found[name] for name in ("accepted", "created", "delivered", "filtered", "discarded")} == {
            "accepted": 5,
            "created": 1,
            "delivered": 3,
            "filtered": 1,
            "discarded": 1,
        }
        assert (found["dead"], found["retried"], found["duplicates"], balance(found)) == (1, 2, 2, 0)
        assert found["window"]["accepted"] == 0 and found["window"]["delivered"] == 3
        assert found["window"]["delivered_share"] == 0.4286
        assert (found["window"]["discarded_by"], found["window"]["dead_by"]) == ({"http_404": 1}, {"http_503": 1})
        assert found["p50_ms"] < 130 and 890 < found["p95_ms"] < 1_100
        sample = {"message_id": "m-1", "status": 503, "body": "later"}
        assert found["errors"] == [{"cause": "http_503", "count": 2, "sample": sample}]
        assert sum(minute["delivered"] for minute in found["per_minute"]) == 3
    whole = world.health(minutes=20_160)
    assert whole["window"]["accepted"] == 5 and len(whole["per_minute"]) == len(found["per_minute"]) + 1


def test_what_is_queued_is_asked_of_sqs_and_how_old_it_is_of_the_books(world: World) -> None:
    world.fan_out(600, r1=RecordReceipt(3, 0))
    world.fan_out(300, r2=RecordReceipt(2, 0))
    world.deliver(200, {f"{record_of('r1')}-0": (0, [DELIVERED, DELIVERED])}, left={f"{record_of('r1')}-0": 1})
    assert (world.health()["queued"], world.health()["oldest_age_s"]) == (0, 0.0)
    world.enqueue(2)
    found = world.health()
    assert (found["queued"], balance(found)) == (2, 3)
    assert 500 < found["oldest_age_s"] <= 601


def test_what_nobody_has_asked_for_is_in_the_totals_after_its_receipts_have_expired(world: World) -> None:
    world.fan_out(14.2 * 86_400, r1=RecordReceipt(3, 1))
    dynamodb, receipts = world.cloud("dynamodb"), "penstock-test-receipts"
    books = Books(world.receipts, MinuteTable(dynamodb, receipts, time.time), time.time)
    store = ConfigStore(Place("penstock-test-config", "penstock-test-audit", REGION))
    rounds = RoundTable(dynamodb, "penstock-test-gates")
    assert tick(count_books.Ports(rounds, store, books)).failed == 0
    assert tick(count_books.Ports(rounds, store, books)).destinations == 0
    mine = {":owner": {"S": f"{world.mine.id}#{world.destination}"}}
    expired = dynamodb.query(
        TableName=receipts,
        KeyConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues=mine,
    )["Items"]
    for item in expired:
        dynamodb.delete_item(TableName=receipts, Key={"owner": item["owner"], "sk": item["sk"]})
    assert (len(expired), world.health()["accepted"], world.health()["filtered"]) == (1, 3, 1)


def test_a_job_that_failed_long_ago_is_the_oldest_however_much_came_after_it(world: World) -> None:
    world.fan_out(3_000, r1=RecordReceipt(1, 0))
    world.deliver(2_990, {}, retried=1, waiting={f"{record_of('r1')}-0": iso(world.now - 3_001)})
    world.fan_out(10, r2=RecordReceipt(1, 0))
    world.deliver(9, {f"{record_of('r2')}-0": (0, [DELIVERED])})
    world.enqueue(1)
    assert 3_000 <= world.health()["oldest_age_s"] < 3_060


@pytest.mark.parametrize("minutes", ["0", "-1", "x", "20161", "1.5", "", "9" * 5_000])
def test_a_window_is_a_number_of_minutes_within_two_weeks(world: World, minutes: str) -> None:
    answer = world.mine.call("GET", f"{world.path}/health", minutes=minutes)
    assert (answer.status, answer.error["field"]) == (400, "minutes")


@pytest.mark.parametrize("message_id", ["m-1", ODD, "x" * 99])
def test_an_event_is_traced_by_its_messageid_whatever_that_is(world: World, message_id: str) -> None:
    world.claim(message_id, index=1)
    world.fan_out(30, r7=RecordReceipt(2, 0))
    world.deliver(20, {f"{RECORD}-0": (0, [DELIVERED, DELIVERED])})
    by_query = world.mine.call("GET", "/control/trace", message_id=message_id, user=USER, source=world.source)
    answers = [by_query] if "/" in message_id else [by_query, world.trace(message_id)]
    for answer in answers:
        (event,) = answer.body["events"]
        assert (event["source"], event["record"], event["index"]) == (world.source, RECORD, 1)
        assert event["accepted_at"] == iso(world.now - 30)
        (found,) = event["destinations"]
        assert (found["id"], found["verdict"], found["attempts"]) == (world.destination, "delivered", 1)


def test_a_slash_in_a_path_is_encoded_and_understood(world: World) -> None:
    world.claim("a b%")
    assert world.trace("a b%").status == 200


def test_an_event_that_is_tried_again_says_how_often_and_what_was_answered(world: World) -> None:
    world.claim("m")
    world.fan_out(30, r7=RecordReceipt(1, 0))
    note = Progress(0, 2, "http_503", world.now - 20, world.now + 60, answer="later")
    ProgressTable(world.cloud("dynamodb"), "penstock-test-progress", time.time).write(
        world.mine.id, world.destination, f"{RECORD}-0", note
    )
    (found,) = world.trace("m").body["events"][0]["destinations"]
    assert (found["verdict"], found["reason"], found["attempts"]) == ("waiting", "http_503", 2)
    assert found["last"] == {"status": 503, "trouble": None, "body": "later"}


def test_a_message_that_has_a_partition_to_itself_is_found_too(world: World) -> None:
    owner = key_owner(world.mine.id, world.source, group_of(world.source, USER))
    item = {
        "owner": {"S": f"{owner}#{dedup.short_hash('m')}"},
        "sk": {"S": dedup.day_of(world.now)},
        "claim": {"B": dedup.claims_of(RECORD, 1)[0]},
    }
    world.cloud("dynamodb").put_item(TableName="penstock-test-dedup", Item=item)
    assert world.trace("m").body["events"][0]["record"] == RECORD


def test_nobody_traces_anothers_events_or_without_naming_the_user(world: World) -> None:
    world.claim("m")
    assert call("GET", "/control/trace/m", token=tenant("Other").token, user=USER).status == 404
    assert world.trace("m", user="grace").status == 404
    assert world.trace("m", source="src_000000000000").status == 404
    assert world.trace("m", source="x" * 2_000).error["field"] == "source"
    assert world.mine.call("GET", "/control/trace/m").error["field"] == "user"
    assert world.mine.call("GET", "/control/trace", user=USER).error["field"] == "message_id"
    assert world.trace("x" * 100).status == 404


ALERT = {"name": "Slow", "metric": "oldest_age_s", "threshold": 60, "webhook": "https://example.com/alert"}


def test_an_alert_is_made_read_listed_changed_and_deleted(world: World) -> None:
    path = f"{world.path}/alerts"
    made = world.mine.made(path, ALERT)
    assert (made["metric"], made["threshold"], made["is_raised"], made["since"]) == ("oldest_age_s", 60, False, None)
    one = f"{path}/{made['id']}"
    assert world.mine.call("GET", one).body == made
    changed = world.mine.call("PATCH", one, {"threshold": 120, "enabled": False}).body
    assert (changed["threshold"], changed["enabled"], changed["name"]) == (120, False, "Slow")
    other = world.mine.made(path, ALERT | {"metric": "gate", "threshold": None})
    first = world.mine.call("GET", path, limit=1).body
    rest = world.mine.call("GET", path, limit=1, next=first["next"]).body
    assert {made["id"], other["id"]} == {first["alerts"][0]["id"], rest["alerts"][0]["id"]}
    assert rest["next"] is None
    assert world.mine.call("DELETE", one).status == 204
    assert world.mine.call("GET", one).status == world.mine.call("DELETE", one).status == 404
    log = [entry["action"] for entry in world.mine.call("GET", "/control/audit").body["audit"]]
    assert {"alert.created", "alert.changed", "alert.deleted"} <= set(log)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"threshold": None}, "threshold"),
        ({"metric": "gate"}, "threshold"),
        ({"metric": "delivered_share", "threshold": 1.5}, "threshold"),
        ({"webhook": None}, "webhook"),
        ({"webhook": "http://10.0.0.1/x"}, "webhook"),
        ({"sns_topic": "arn:aws:sns:us-east-1:123456789012:penstock-test-alerts-ws_000000000000"}, "webhook"),
    ],
)
def test_an_alert_measures_and_tells_something(world: World, wrong: Json, field: str) -> None:
    answer = world.mine.call("POST", f"{world.path}/alerts", ALERT | wrong)
    assert (answer.status, answer.error["field"]) == (400, field)


@pytest.mark.parametrize(
    ("topic", "status"),
    [
        ("arn:aws:sns:us-east-1:123456789012:penstock-test-alerts-{id}", 201),
        ("arn:aws:sns:us-east-1:123456789012:penstock-test-alerts-{id}-pager", 201),
        ("arn:aws:sns:us-east-1:123456789012:penstock-test-alerts-{id}0", 400),
        ("arn:aws:sns:us-east-1:123456789012:penstock-test-alerts-ws_000000000000", 400),
        ("arn:aws:sns:us-east-1:999999999999:penstock-test-alerts-{id}", 400),
        ("arn:aws:sns:eu-west-1:123456789012:penstock-test-alerts-{id}", 400),
        ("arn:aws:sns:us-east-1:123456789012:orders", 400),
    ],
)
def test_a_topic_is_the_workspaces_own(world: World, topic: str, status: int) -> None:
    body = {name: value for name, value in ALERT.items() if name != "webhook"}
    answer = world.mine.call("POST", f"{world.path}/alerts", body | {"sns_topic": topic.replace("{id}", world.mine.id)})
    assert answer.status == status, answer


def test_alerts_go_with_their_destination(world: World) -> None:
    alert = world.mine.made(f"{world.path}/alerts", ALERT)
    key = {"workspace_id": {"S": world.mine.id}, "sk": {"S": f"alert#{world.destination}.{alert['id']}"}}
    assert "Item" in world.cloud("dynamodb").get_item(TableName="penstock-test-config", Key=key)
    assert world.mine.call("DELETE", world.path).status == 204
    assert "Item" not in world.cloud("dynamodb").get_item(TableName="penstock-test-config", Key=key)


def test_a_destination_has_ten_alerts_at_most(world: World) -> None:
    for _ in range(10):
        world.mine.made(f"{world.path}/alerts", ALERT)
    answer = world.mine.call("POST", f"{world.path}/alerts", ALERT)
    assert (answer.status, answer.error["code"]) == (409, "too_many_alerts")
