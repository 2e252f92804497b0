"""Reads the streams of the tables `places` and `changes`: publishes what is new, and announces what was published."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from penstock.errors import Unavailable
from penstock.steps.announce_changes import Announced, announce_changes
from penstock.steps.publish_schema import publish_schema
from penstock.wiring.schema_changes import announcing, change_in, facts_in, given, publishing


class ReplayBatch(RuntimeError):
    """Lambda is to hand over the whole batch again."""


@cache
def logger() -> Logger:
    return Logger(service="schema_changes")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answers one batch of a table's stream: from which record on it has to be replayed, if from any."""
    records = event["Records"]
    try:
        if f"/{given().changes_table}/" in records[0]["eventSourceARN"]:
            _announce(records)
        else:
            _publish(records)
    except Unavailable as error:
        logger().error("not published", records=len(records), reason=str(error))
        if not given().stream_partial_failures:
            raise ReplayBatch(str(error)) from error
        return {"batchItemFailures": [{"itemIdentifier": records[0]["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}


def _publish(records: list[dict[str, Any]]) -> None:
    """Each event that something was noted of, once."""
    owners = dict.fromkeys(each["dynamodb"]["Keys"]["owner"]["S"] for each in records if _is_news(each))
    told = {owner: publish_schema(owner, publishing()) for owner in owners}
    logger().info("published", records=len(records), events=len(told), changes=sum(told.values()))


def _is_news(record: dict[str, Any]) -> bool:
    """Whether a fact was noted: names that were claimed, and marks of our own, would have us begin again for ever."""
    image = record["dynamodb"]
    if record["eventName"] == "REMOVE" or not image["Keys"]["sk"]["S"].startswith("place#"):
        return False
    return "OldImage" not in image or facts_in(image["OldImage"]) != facts_in(image["NewImage"])


def _announce(records: list[dict[str, Any]]) -> None:
    changes = [found for each in records if each["eventName"] == "INSERT" for found in _announced(each["dynamodb"])]
    announce_changes(changes, announcing())
    logger().info("announced", changes=len(changes))


def _announced(record: dict[str, Any]) -> list[Announced]:
    change = change_in(record["NewImage"])
    workspace, source = record["Keys"]["owner"]["S"].split("#")
    return [] if change is None else [Announced(workspace, source, change)]
