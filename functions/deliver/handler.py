"""Takes jobs off a destination's queue and sends their events to the tool."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from penstock.steps.deliver import deliver
from penstock.steps.lane import Message
from penstock.steps.settle import Batch
from penstock.wiring.deliver import destination_of, given, ports, queue_url

MARGIN_S = 3.0  # to note what was reached, after the last request has timed out
MOST_TROUBLES = 20  # that are logged of one batch


class Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


@cache
def logger() -> Logger:
    return Logger(service="deliver")


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answers one batch of a queue: which messages have to be handed out again."""
    batch = _batch(event["Records"])
    needed_ms = 1000 * (given().request_timeout_s + MARGIN_S)
    outcome = deliver(batch, ports(), lambda: context.get_remaining_time_in_millis() > needed_ms)
    logger().info(
        "delivered",
        destination=batch.destination,
        jobs=len(batch.messages),
        failed=len(outcome.failed),
        delivered=outcome.delivered,
        troubles=[trouble._asdict() for trouble in outcome.troubles[:MOST_TROUBLES]],
    )
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in outcome.failed]}


def _batch(records: list[dict[str, Any]]) -> Batch:
    """A mapping hands over the messages of one queue."""
    arn = records[0]["eventSourceARN"]
    return Batch(destination_of(arn), queue_url(arn), [_message(record) for record in records])


def _message(record: dict[str, Any]) -> Message:
    attributes = record["attributes"]
    return Message(
        id=record["messageId"],
        receipt=record["receiptHandle"],
        group=attributes["MessageGroupId"],
        body=record["body"],
        receives=int(attributes["ApproximateReceiveCount"]),
        sent_at=int(attributes["SentTimestamp"]) / 1000,
    )
