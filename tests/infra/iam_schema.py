"""What `schema`, `schema_changes` and the control API do for schemas and tracking plans, all of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
from msgspec import Raw

from penstock.domain.run import Run, decode_run, encode_run
from penstock.wiring import fanout

Json = dict[str, Any]
Call = Callable[..., Any]
DAY_S = 86_400
NAMES_OF_A_MAP = 150


def schemas(call: Call, control: Call, made: Json, record: Json, cloud: Any, kinesis: str) -> None:
    """From a record of the stream to the feed and its announcement, through every guard and store.

    `kinesis` is the endpoint at which calls that no botocore hook hears are noted.
    """
    token, source = made["token"], made["source"]["id"]
    routed = {"destination_id": made["destination"]["id"]}
    control("PATCH", "/control/destinations/{destination_id}", token, {"schema_changes": True}, **routed)
    plans(control, token, source)
    fanout.ports.cache_clear()  # it looked for a plan when there was none
    call("fanout", {"Records": [with_events(record, 1, track({"total": "x"}))]}, AWS_ENDPOINT_URL_KINESIS=kinesis)
    batches = [
        [with_events(record, 1, track({"total": 1, "scores": {"u": 1}}), track({"total": "x"}))],
        [with_events(record, 2, track({"total": 2.5, "scores": {"u": "both", **scores(range(60))}}))],
        [with_events(record, 3, track({"scores": scores(range(60, NAMES_OF_A_MAP))}), days=1)],
        [with_events(record, 4, track({"a/b": True}, "With/slash"), days=1), garbage(record, 5)],
    ]
    for number, batch in enumerate(batches):
        answer = call("schema", {"Records": batch})
        assert answer == {"batchItemFailures": []}, (number, answer)
        follow(call, cloud)
    read(control, token, source)


def plans(control: Call, token: str, source: str) -> None:
    route = "/control/sources/{source_id}/tracking-plan"
    rule = {
        "type": "track",
        "event": "Ordered",
        "schema": {"properties": {"properties": {"properties": {"total": {"type": "number"}}}}},
    }
    quarantine = control("POST", "/control/sources", token, {"name": "Quarantine"})["id"]
    plan = {"name": "Plan", "rules": [rule], "violation": "forward", "forward_to": quarantine}
    for _ in range(2):
        control("PUT", route, token, plan, source_id=source)
    control("GET", route, token, source_id=source)
    control("GET", route + "/versions", token, source_id=source)
    control("GET", route + "/versions/{version}", token, source_id=source, version="1")


def read(control: Call, token: str, source: str) -> None:
    route = "/control/sources/{source_id}/schema"
    control("GET", route, token, source_id=source)
    control("GET", route + "/events/{event}", token, source_id=source, event="Ordered")
    control("GET", route + "/events", token, source_id=source, event="With/slash")
    assert control("GET", route + "/changes", token, source_id=source, after="0")["changes"]
    found = control("GET", "/control/sources/{source_id}/tracking-plan/violations", token, source_id=source)
    assert found["violations"]
    control("POST", "/control/sources/{source_id}/tracking-plan/infer", token, source_id=source)
    control("DELETE", "/control/sources/{source_id}/tracking-plan", token, source_id=source)


def follow(call: Call, cloud: Any) -> None:
    """Shows `schema_changes` what the tables' streams would."""
    for table, arn in (("places", cloud.places_stream), ("changes", cloud.changes_stream)):
        records = [shown(item, arn) for item in items(table)]
        if records:
            answer = call("schema_changes", {"Records": records})
            assert answer == {"batchItemFailures": []}, (table, answer)


def items(table: str) -> Iterator[Json]:
    for page in boto3.client("dynamodb").get_paginator("scan").paginate(TableName=f"penstock-dev-{table}"):
        yield from page["Items"]


def shown(item: Json, arn: str) -> Json:
    keys = {"owner": item["owner"], "sk": item["sk"]}
    stream = {"Keys": keys, "NewImage": item, "SequenceNumber": "1"}
    return {"eventName": "INSERT", "eventSourceARN": arn, "dynamodb": stream}


def track(properties: Mapping[str, Any], event: str = "Ordered") -> Json:
    return {"type": "track", "event": event, "messageId": "m", "properties": properties}


def scores(numbers: range) -> dict[str, int]:
    return {f"user_{number}": number for number in numbers}


def with_events(record: Json, number: int, *events: Json, days: int = 0) -> Json:
    """A record of the stream with other events in its run, that many days later."""
    kinesis = record["kinesis"]
    run = decode_run(base64.b64decode(kinesis["data"]))
    raw = [json.dumps(event).encode() for event in events]
    other = Run(run.v, run.workspace, run.source, run.key, run.received_at, [Raw(each) for each in raw])
    return _record(record, number, encode_run(other), kinesis["approximateArrivalTimestamp"] + days * DAY_S)


def garbage(record: Json, number: int) -> Json:
    return _record(record, number, b"garbage", record["kinesis"]["approximateArrivalTimestamp"])


def _record(record: Json, number: int, data: bytes, arrived: float) -> Json:
    return record | {
        "kinesis": record["kinesis"]
        | {
            "data": base64.b64encode(data).decode(),
            "sequenceNumber": f"{int(record['kinesis']['sequenceNumber']) + number}",
            "approximateArrivalTimestamp": arrived,
        }
    }
