"""Reads a stream, live or bulk, and puts every run on the queues of the destinations that want it."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from penstock.domain.stream_record import shard_of
from penstock.errors import Unavailable
from penstock.steps.fan_out import Record, fan_out
from penstock.wiring.fanout import given, ports


class ReplayBatch(RuntimeError):
    """Lambda is to hand over the whole batch again."""


@cache
def logger() -> Logger:
    return Logger(service="fanout")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answers one batch of a shard: from which record on it has to be replayed, if from any."""
    records = [_record(each) for each in event["Records"]]
    try:
        outcome = fan_out(records, ports())
    except Unavailable as error:
        logger().error("not fanned out", records=len(records), reason=str(error))
        raise ReplayBatch(str(error)) from error
    logger().info("fanned out", records=len(records), jobs=outcome.messages, failed=len(outcome.failed))
    for unreadable in outcome.unreadable:
        logger().error("parked a record that nobody can read", record=unreadable)
    return _answer(event, outcome.failed)


def _record(record: dict[str, Any]) -> Record:
    kinesis = record["kinesis"]
    data, arrived_at = base64.b64decode(kinesis["data"]), float(kinesis["approximateArrivalTimestamp"])
    return Record(record_id(record), data, arrived_at)


def record_id(record: dict[str, Any]) -> str:
    """`<shard>-<sequence number>`: Kinesis numbers records per shard."""
    shard = shard_of(record["eventSourceARN"], record["eventID"])
    return f"{shard}-{record['kinesis']['sequenceNumber']}"


def _answer(event: dict[str, Any], failed: frozenset[str]) -> dict[str, Any]:
    """The first failed record, from which Lambda replays; the local cloud takes an exception alone."""
    numbers = [each["kinesis"]["sequenceNumber"] for each in event["Records"] if record_id(each) in failed]
    if numbers and not given().stream_partial_failures:
        raise ReplayBatch(f"{len(numbers)} records were not taken by every queue")
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers[:1]]}
