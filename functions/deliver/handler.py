"""Takes jobs off a destination's queue and sends their events to the tool."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from penstock.steps.deliver import Message, deliver
from penstock.wiring.deliver import given, ports, queue_url

MARGIN_S = 3.0  # to note what was reached, after the last request has timed out


class Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


@cache
def logger() -> Logger:
    return Logger(service="deliver")


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answers one batch of a queue: which messages have to be handed out again."""
    messages = [_message(record) for record in event["Records"]]
    needed_ms = 1000 * (given().request_timeout_s + MARGIN_S)
    outcome = deliver(messages, ports(), lambda: context.get_remaining_time_in_millis() > needed_ms)
    logger().info(
        "delivered",
        queue=event["Records"][0]["eventSourceARN"].rpartition(":")[2],
        jobs=len(messages),
        failed=len(outcome.failed),
        delivered=outcome.delivered,
        discarded=outcome.discarded,
        reasons=outcome.reasons,
    )
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in outcome.failed]}


def _message(record: dict[str, Any]) -> Message:
    attributes = record["attributes"]
    return Message(
        id=record["messageId"],
        receipt=record["receiptHandle"],
        group=attributes["MessageGroupId"],
        body=record["body"],
        receives=int(attributes["ApproximateReceiveCount"]),
        queue_url=queue_url(record["eventSourceARN"]),
    )
