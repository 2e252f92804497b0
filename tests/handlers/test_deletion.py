"""What becomes of a destination that is deleted, through the real handlers and their wiring, on moto."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from functions.fanout.handler import handler as fan_out
from functions.gatekeeper.handler import handler as gatekeeper
from penstock.wiring import gatekeeper as wiring
from tests.control_api import REGION
from tests.handlers.test_overflow import Cloud, cloud_with_gatekeeper, fill, waiting
from tests.handlers.test_pipeline import Context, kinesis_event

ALERT = {"name": "Down", "metric": "gate", "webhook": "https://example.com/alert"}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_with_gatekeeper() as made:
        yield made


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


def delete(cloud: Cloud) -> None:
    assert cloud.tenant.call("DELETE", path(cloud)).status == 204


def path(cloud: Cloud, rest: str = "") -> str:
    return f"/control/destinations/{cloud.destination}{rest}"


def chores() -> list[dict[str, str]]:
    url = client("sqs").get_queue_url(QueueName="penstock-test-chores")["QueueUrl"]
    found = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for each in found:
        client("sqs").delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return [{"body": each["Body"]} for each in found]


def look(cloud: Cloud, outlives_s: float = 300.0) -> None:
    os.environ["PENSTOCK_QUEUE_OUTLIVES_S"] = str(outlives_s)
    wiring.ports.cache_clear()
    gatekeeper(
        {"Records": [{"body": json.dumps({"workspace": cloud.tenant.id, "destination": cloud.destination})}]}, Context()
    )


def letters(cloud: Cloud) -> list[int]:
    """The numbers of the events that they hold."""
    answer = cloud.tenant.call("GET", path(cloud, "/letters"))
    if answer.status == 404:  # the destination is gone, and there is none
        return []
    found = answer.body["letters"]
    assert {each["reason"] for each in found} <= {"destination_deleted"}
    whole = [cloud.tenant.call("GET", path(cloud, f"/letters/{each['id']}")).body for each in found]
    return sorted(each["content"]["properties"]["n"] for each in whole)


def left(cloud: Cloud) -> list[str]:
    """What there still is of the destination but letters, receipts, and turns that find nothing when they come."""
    names = [f"penstock-test-{table}" for table in ("config", "gates", "overflow")]
    items = [item for name in names for item in client("dynamodb").scan(TableName=name)["Items"]]
    mine = [item for item in items if cloud.destination in str(item)]
    found = [
        str(item) for item in mine if "opened_at" not in item and "#alerts" not in item.get("owner", {}).get("S", "")
    ]
    queues = client("sqs").list_queues(QueueNamePrefix=f"penstock-test-d-{cloud.destination}").get("QueueUrls", [])
    mappings = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    return [*found, *queues, *(each["UUID"] for each in mappings if cloud.destination in each["EventSourceArn"])]


def test_what_waits_becomes_letters_that_are_replayed_to_another_destination(cloud: Cloud) -> None:
    other = cloud.tenant.destination(name="Other", settings={"url": cloud.tool.url})["id"]
    fan_out(kinesis_event(cloud.run(1, 2), cloud.run(3, key="grace")), Context())
    delete(cloud)
    gatekeeper({"Records": chores()}, Context())
    assert letters(cloud) == [1, 2, 3]
    assert (cloud.books.accepted, cloud.books.dead) == (3, {"destination_deleted": 3})
    assert cloud.tenant.made(path(cloud, "/replays"), {"filter": {}, "to": other})["to"] == other
    assert cloud.tool.numbers == []


def test_nothing_of_a_destination_is_left_when_all_is_buried(cloud: Cloud) -> None:
    cloud.tenant.made(path(cloud, "/alerts"), ALERT)
    cloud.tenant.call("POST", path(cloud, "/pause"))
    fill(cloud, 6)
    assert waiting(cloud) == 3
    delete(cloud)
    look(cloud)
    assert letters(cloud) == [1, 2, 3, 4, 5, 6]
    assert cloud.books.accepted == cloud.books.outcomes == 6
    assert left(cloud)
    reset_turn(cloud)
    look(cloud, outlives_s=0.0)
    assert left(cloud) == []
    assert cloud.tenant.call("DELETE", path(cloud)).status == 404


def reset_turn(cloud: Cloud) -> None:
    """As if the time until the next look had passed."""
    client("dynamodb").update_item(
        TableName="penstock-test-gates",
        Key={"owner": {"S": f"{cloud.tenant.id}#{cloud.destination}"}, "sk": {"S": "burial"}},
        UpdateExpression="SET turn_at = :long_ago, attend_at = :then",
        ExpressionAttributeValues={":long_ago": {"N": "0"}, ":then": {"S": "2026-01-01T00:00:00.000Z"}},
    )


def test_a_deletion_whose_chore_was_lost_is_found_by_the_tick(cloud: Cloud) -> None:
    fan_out(kinesis_event(cloud.run(1)), Context())
    delete(cloud)
    chores()
    reset_turn(cloud)
    gatekeeper({"tick": True}, Context())
    assert [json.loads(each["body"])["destination"] for each in chores()] == [cloud.destination]


def test_a_job_in_hand_is_waited_for(cloud: Cloud) -> None:
    fan_out(kinesis_event(cloud.run(1)), Context())
    records = cloud.received()
    delete(cloud)
    look(cloud, outlives_s=0.0)
    assert (letters(cloud), len(left(cloud)) > 0) == ([], True)
    client("sqs").change_message_visibility(
        QueueUrl=cloud.queue_url, ReceiptHandle=records[0]["receiptHandle"], VisibilityTimeout=0
    )
    for _ in range(2):
        reset_turn(cloud)
        look(cloud, outlives_s=0.0)
    assert (letters(cloud), left(cloud)) == ([1], [])
