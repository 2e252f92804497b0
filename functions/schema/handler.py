"""Reads the stream and tracks the schema of every event that goes by."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from penstock.domain.stream_record import shard_of
from penstock.errors import Unavailable
from penstock.steps.track_schema import Outcome, Record, track_schema
from penstock.wiring.schema import given, ports


class ReplayBatch(RuntimeError):
    """Lambda is to hand over the whole batch again."""


@cache
def logger() -> Logger:
    return Logger(service="schema")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answers one batch of a shard: from which record on it has to be replayed, if from any."""
    first = event["Records"][0]
    shard = shard_of(first["eventSourceARN"], first["eventID"])
    records = [_record(each["kinesis"]) for each in event["Records"]]
    try:
        _noted(records, _tracked(shard, records))
    except Unavailable as error:
        logger().error("not tracked", records=len(records), reason=str(error))
        if not given().stream_partial_failures:
            raise ReplayBatch(str(error)) from error
        return {"batchItemFailures": [{"itemIdentifier": records[0].sequence_number}]}
    return {"batchItemFailures": []}


def _tracked(shard: str, records: list[Record]) -> Outcome:
    """All at once; where that breaks in a way that nobody foresaw, one by one, and what breaks alone is parked."""
    try:
        return track_schema(shard, records, ports())
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge: nothing may block a shard
        if len(records) > 1:
            logger().exception("a record breaks the tracker", records=len(records))
            parts = [_tracked(shard, [record]) for record in records]
            return Outcome(
                sum(part.events for part in parts),
                tuple(number for part in parts for number in part.unreadable),
                sum(part.noted for part in parts),
                sum(part.counted for part in parts),
            )
        [record] = records
        ports().parked.keep(f"{shard}-{record.sequence_number}", record.data, type(error).__name__)
        return Outcome(0, (record.sequence_number,), 0, 0)


def _noted(records: list[Record], outcome: Outcome) -> None:
    logger().info("tracked", records=len(records), events=outcome.events, facts=outcome.noted, counts=outcome.counted)
    for number in outcome.unreadable:
        logger().error("parked a record that cannot be tracked", record=number)


def _record(kinesis: dict[str, Any]) -> Record:
    arrived = datetime.fromtimestamp(float(kinesis["approximateArrivalTimestamp"]), UTC)
    return Record(kinesis["sequenceNumber"], arrived.date().isoformat(), base64.b64decode(kinesis["data"]))
