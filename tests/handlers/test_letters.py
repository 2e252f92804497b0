"""Letters through the control API and the replay function: real handlers and wiring, on moto."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from functions.control.handler import app
from functions.replay.handler import handler
from penstock import settings
from penstock.domain.job import decode_job
from penstock.domain.letters import Letter, received, sent
from penstock.domain.webhook_settings import MASK
from penstock.wiring import letters, replay
from tests.builders_letters import letter
from tests.builders_pipeline import event, raw
from tests.control_api import REGION, Json, Tenant, control_cloud, tenant

SECRETS = {"Authorization": "Bearer s3cret", "X-Signature": "abc", "Idempotency-Key": "src:m-1"}


class Context:
    """What Lambda hands to a handler beside the event; `left_ms` is counted down by nobody."""

    function_name = "replay"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:replay"
    aws_request_id = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture
def cloud() -> Iterator[Callable[..., Any]]:
    with control_cloud() as client:
        for each in (replay.given, replay.ports, replay._client):
            each.cache_clear()
        yield client


@pytest.fixture
def mine(cloud: Any) -> Tenant:
    return tenant("Mine")


def destination(of: Tenant, **fields: Any) -> str:
    """Its queue keeps what is put on it: moto would have a Lambda of its own take that."""
    made = of.destination(**fields)["id"]
    lambdas = boto3.client("lambda", region_name=REGION)
    for mapping in lambdas.list_event_source_mappings()["EventSourceMappings"]:
        lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    return str(made)


def keep(of: Tenant, destination_id: str, *found: Letter) -> None:
    """As deliver does."""
    client = lambda service: boto3.client(service, region_name=REGION)  # noqa: E731
    letters.keeping(client, settings.from_environment()).keep(of.id, destination_id, found)


def now(second: int = 0) -> str:
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{second:03d}Z", time.gmtime(time.time() - 60))


def refused(of: Tenant, number: int = 1, **fields: Any) -> Letter:
    request = sent("https://example.com/hook", SECRETS, json.dumps(event(number)).encode())
    answer = received(404, None, {"Content-Type": "text/plain", "Set-Cookie": "s=1"}, b"no such order")
    plain: Json = {"at": now(number), "request": request, "response": answer, "workspace": of.id}
    return letter(number, **(plain | fields))


def tickets() -> list[Json]:
    sqs = boto3.client("sqs", region_name=REGION)
    url = sqs.get_queue_url(QueueName="penstock-test-replays")["QueueUrl"]
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
    for each in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return [{"messageId": each["MessageId"], "body": each["Body"]} for each in found]


def worked_off() -> None:
    """As the mapping hands tickets over, until there are none."""
    while found := tickets():
        for each in found:
            assert handler({"Records": [each]}, Context()) == {"batchItemFailures": []}


def jobs(destination_id: str) -> list[Any]:
    sqs = boto3.client("sqs", region_name=REGION)
    url = sqs.get_queue_url(QueueName=f"penstock-test-d-{destination_id}.fifo")["QueueUrl"]
    found = []
    while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        found += [decode_job(each["Body"]) for each in batch]
        for each in batch:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return found


def path(destination_id: str, rest: str = "letters") -> str:
    return f"/control/destinations/{destination_id}/{rest}"


def test_what_a_destination_did_not_take_is_listed_newest_first_and_opened(mine: Tenant) -> None:
    to = destination(mine)
    keep(mine, to, refused(mine, 1), refused(mine, 2, kind="dead", reason="timeout", key="grace", attempts=9))
    listed = mine.call("GET", path(to)).body
    assert listed["next"] is None
    dead, discarded = listed["letters"]
    assert (dead["kind"], dead["reason"], dead["user"], dead["attempts"]) == ("dead", "timeout", "grace", 9)
    assert (discarded["event"], discarded["message_id"], discarded["replayed_at"]) == ("Counted", "m-1", None)
    opened = mine.call("GET", path(to, f"letters/{discarded['id']}")).body
    assert opened["content"]["properties"] == {"n": 1}
    assert opened["request"]["headers"] == {**SECRETS, "Authorization": MASK, "X-Signature": MASK}
    assert (opened["response"]["status"], opened["response"]["body"]) == (404, "no such order")
    assert opened["response"]["headers"]["Set-Cookie"] == MASK


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"kind": "dead"}, ["m-3"]),
        ({"reason": "http_404"}, ["m-2", "m-1"]),
        ({"user": "grace"}, ["m-2"]),
        ({"event": "identify"}, ["m-1"]),
        ({"from": "2026-11-23T16:00:02Z"}, ["m-3", "m-2"]),
        ({"to": "2026-11-23T17:00:02+01:00"}, ["m-2", "m-1"]),
        ({"from": "2026-11-23T16:00:02Z", "to": "2026-11-23T16:00:02Z"}, ["m-2"]),
    ],
)
def test_letters_are_filtered(mine: Tenant, query: Json, expected: list[str]) -> None:
    to = destination(mine)
    keep(
        mine,
        to,
        refused(mine, 1, at="2026-11-23T16:00:01.000Z", event=raw(event(1, type="identify"))),
        refused(mine, 2, at="2026-11-23T16:00:02.000Z", key="grace"),
        refused(mine, 3, at="2026-11-23T16:00:03.000Z", kind="dead", reason="timeout"),
    )
    assert [each["message_id"] for each in mine.call("GET", path(to), **query).body["letters"]] == expected


@pytest.mark.parametrize("query", [{"kind": "lost"}, {"from": "yesterday"}, {"reason": "x" * 999}, {"next": "x"}])
def test_a_query_that_means_nothing_is_refused(mine: Tenant, query: Json) -> None:
    answer = mine.call("GET", path(destination(mine)), **query)
    assert (answer.status, answer.error["field"]) == (400, next(iter(query)))


@pytest.mark.parametrize(
    ("times", "field"),
    [
        ({"from": "0001-01-01T00:00:00+23:59"}, "from"),
        ({"from": "9999-12-31T23:59:59-23:59"}, "from"),
        ({"to": "9999-12-31T23:59:59-23:59"}, "to"),
        ({"from": "2026-11-25T00:00:00Z", "to": "2026-11-24T00:00:00Z"}, "from"),
        ({"from": "2026-11-25T12:00:00Z", "to": "2026-11-25T12:30:00+01:00"}, "from"),
    ],
)
def test_times_that_no_letter_can_have_are_refused_of_lists_and_of_replays(
    mine: Tenant, times: Json, field: str
) -> None:
    to = destination(mine)
    answer = mine.call("GET", path(to), **times)
    assert (answer.status, answer.error["code"], answer.error["field"]) == (400, "invalid_time", field)
    answer = mine.call("POST", path(to, "replays"), {"filter": times})
    assert (answer.status, answer.error["code"], answer.error["field"]) == (400, "invalid_time", f"filter.{field}")
    assert tickets() == []


def test_a_list_goes_on_page_by_page_and_its_cursor_is_good_for_nothing_else(mine: Tenant) -> None:
    to, other = destination(mine), destination(mine)
    keep(mine, to, *(refused(mine, number) for number in range(1, 6)))
    seen, more = [], {}
    for _ in range(3):
        page = mine.call("GET", path(to), limit="2", **more).body
        seen += [each["message_id"] for each in page["letters"]]
        if page["next"]:
            assert mine.call("GET", path(other), next=page["next"]).status == 400
            more = {"next": page["next"]}
    assert seen == ["m-5", "m-4", "m-3", "m-2", "m-1"]


def test_a_filter_is_replayed_with_progress_and_books_and_not_twice(mine: Tenant) -> None:
    to = destination(mine)
    keep(mine, to, *(refused(mine, number) for number in range(1, 4)), refused(mine, 4, reason="http_400"))
    made = mine.made(path(to, "replays"), {"filter": {"reason": "http_404"}})
    assert (made["state"], made["total"], made["sent"], made["to"]) == ("pending", None, 0, to)
    worked_off()
    done = mine.call("GET", path(to, f"replays/{made['id']}")).body
    assert (done["state"], done["total"], done["sent"], done["missing"]) == ("done", 3, 3, 0)
    found = jobs(to)
    assert [(job.replay, bytes(job.run.events[0])) for job in found] == [
        (made["id"], bytes(raw(event(number)))) for number in (1, 2, 3)
    ]
    assert [each["replay"] for each in mine.call("GET", path(to)).body["letters"]] == [None, *[made["id"]] * 3]
    again = mine.made(path(to, "replays"), {"filter": {}})
    worked_off()
    assert [job.run.events[0] for job in jobs(to)] == [raw(event(4))]
    assert [each["id"] for each in mine.call("GET", path(to, "replays")).body["replays"]] == [again["id"], made["id"]]
    rows = boto3.client("dynamodb", region_name=REGION).scan(TableName="penstock-test-receipts")["Items"]
    assert sum(len(json.loads(row["jobs"]["S"])) for row in rows) == 4


def test_one_letter_is_replayed_to_another_destination(mine: Tenant) -> None:
    to, other = destination(mine), destination(mine)
    keep(mine, to, refused(mine, 1), refused(mine, 2))
    one = mine.call("GET", path(to), user="ada").body["letters"][0]
    made = mine.made(path(to, f"letters/{one['id']}/replay"), {"to": other})
    worked_off()
    assert mine.call("GET", path(to, f"replays/{made['id']}")).body["state"] == "done"
    assert (jobs(to), [job.destination for job in jobs(other)]) == ([], [other])
    assert mine.made(path(to, f"letters/{one['id']}/replay"))["to"] == to


def test_a_replay_can_be_cancelled_once_and_not_when_it_has_ended(mine: Tenant) -> None:
    to = destination(mine)
    keep(mine, to, refused(mine))
    made = mine.made(path(to, "replays"), {"filter": {}})
    cancel = path(to, f"replays/{made['id']}/cancel")
    assert mine.call("POST", cancel).body["state"] == "cancelled"
    assert mine.call("POST", cancel).body["state"] == "cancelled"
    worked_off()
    assert jobs(to) == []
    done = mine.made(path(to, "replays"), {"filter": {}})
    worked_off()
    answer = mine.call("POST", path(to, f"replays/{done['id']}/cancel"))
    assert (answer.status, answer.error["code"]) == (409, "replay_ended")


def test_who_replayed_and_cancelled_stands_in_the_audit_log(mine: Tenant) -> None:
    to, other = destination(mine), destination(mine)
    made = mine.made(path(to, "replays"), {"filter": {}, "to": other})
    mine.call("POST", path(to, f"replays/{made['id']}/cancel"))
    log = mine.call("GET", "/control/audit").body["audit"]
    found = [(each["action"], each["fields"]) for each in log if each["target"] == made["id"]]
    assert found == [("replay.cancelled", ["to"]), ("replay.created", ["to"])]


def test_a_target_that_is_none_or_disabled_is_refused(mine: Tenant) -> None:
    to, off = destination(mine), destination(mine, enabled=False)
    for target, status, code in (
        ("dst_000000000000", 400, "unknown_destination"),
        (destination(tenant("Other")), 400, "unknown_destination"),
        (off, 409, "destination_disabled"),
    ):
        answer = mine.call("POST", path(to, "replays"), {"filter": {}, "to": target})
        assert (answer.status, answer.error["code"], answer.error["field"]) == (status, code, "to")
    assert tickets() == []


def test_another_workspaces_letter_is_not_there(mine: Tenant) -> None:
    other = tenant("Other")
    to, theirs = destination(mine), destination(other)
    keep(mine, to, refused(mine))
    letter_id = mine.call("GET", path(to)).body["letters"][0]["id"]
    for whose in (to, theirs):
        for method, rest in (("GET", ""), ("POST", "/replay")):
            answer = other.call(method, path(whose, f"letters/{letter_id}{rest}"))
            assert (answer.status, tickets()) == (404, []), (whose, rest)
    asked = other.call("POST", path(theirs, "replays"), {"filter": {"letter": letter_id}})
    assert asked.status == 404


def test_letters_outlive_their_destination_and_go_to_another(mine: Tenant) -> None:
    to, other = destination(mine), destination(mine)
    keep(mine, to, refused(mine))
    assert mine.call("DELETE", f"/control/destinations/{to}").status == 204
    assert len(mine.call("GET", path(to)).body["letters"]) == 1
    assert mine.call("POST", path(to, "replays"), {"filter": {}}).error["code"] == "unknown_destination"
    mine.made(path(to, "replays"), {"filter": {}, "to": other})
    worked_off()
    assert len(jobs(other)) == 1


def test_a_workspace_chooses_for_how_long_letters_are_kept(mine: Tenant) -> None:
    to = destination(mine)
    assert mine.call("GET", "/control/workspace").body["letters_retention_days"] == 30
    changed = mine.call("PATCH", "/control/workspace", {"letters_retention_days": 365})
    assert (changed.status, changed.body["letters_retention_days"]) == (200, 365)
    assert mine.call("PATCH", "/control/workspace", {"letters_retention_days": 8}).status == 400
    keep(mine, to, refused(mine))
    listed = boto3.client("s3", region_name=REGION).list_objects_v2(Bucket=os.environ["PENSTOCK_LETTER_BUCKET"])
    assert listed["Contents"][0]["Key"].startswith(f"r365/{mine.id}/{to}/")
    (entry,) = [
        each for each in mine.call("GET", "/control/audit").body["audit"] if each["action"] == "workspace.changed"
    ]
    assert entry["fields"] == ["letters_retention_days"]


def test_a_step_that_fails_has_its_ticket_come_again(mine: Tenant, cloud: Any) -> None:
    to = destination(mine)
    keep(mine, to, refused(mine))
    made = mine.made(path(to, "replays"), {"filter": {}})
    (ticket,) = tickets()
    s3 = cloud("s3")
    bucket = os.environ["PENSTOCK_LETTER_BUCKET"]
    (held,) = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    body = s3.get_object(Bucket=bucket, Key=held)["Body"].read()
    s3.put_object(Bucket=bucket, Key=held, Body=b"no gzip")
    assert handler({"Records": [ticket]}, Context()) == {"batchItemFailures": [{"itemIdentifier": ticket["messageId"]}]}
    s3.put_object(Bucket=bucket, Key=held, Body=body)
    assert handler({"Records": [ticket]}, Context()) == {"batchItemFailures": []}
    assert mine.call("GET", path(to, f"replays/{made['id']}")).body["state"] == "done"


def test_every_route_of_letters_is_one_of_the_apps() -> None:
    assert len([each for each in app.routes if "letters" in each or "replays" in each]) == 6
