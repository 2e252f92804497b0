"""How replays end that cannot go on, and how many there are at once: real handlers and wiring, on moto."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import boto3
import msgspec

from functions.replay.handler import MOST_RECEIVES, handler
from penstock.adapters.replay_table import ReplayTable
from penstock.domain.letter_index import LetterFilter
from penstock.domain.replays import Replay
from tests.builders_letters import replay
from tests.control_api import REGION, Json, Tenant
from tests.handlers.test_letters import Context, cloud, destination, keep, mine, path, refused, tickets

__all__ = ["cloud", "mine"]

BEYOND_TIME = LetterFilter(from_=datetime.fromisoformat("0001-01-01T00:00:00+23:59"))


def table() -> ReplayTable:
    client = boto3.client("dynamodb", region_name=REGION)
    return ReplayTable(client, "penstock-test-letters", "penstock-test-audit", time.time)


def kept(of: Tenant, destination_id: str, **fields: Any) -> tuple[Replay, Json]:
    """A replay as it is stored, and its ticket as the mapping hands it over."""
    made = replay(workspace=of.id, destination=destination_id, target=destination_id, **fields)
    table()._put(made, {}, None)
    return made, {"messageId": "one", "body": msgspec.json.encode(made.ticket).decode()}


def state(of: Tenant, found: Replay) -> tuple[str, str | None]:
    now = of.call("GET", path(found.destination, f"replays/{found.id}")).body
    return now["state"], now["reason"]


def test_a_replay_that_breaks_its_function_ends_as_failed_and_its_ticket_comes_no_more(mine: Tenant) -> None:
    made, ticket = kept(mine, destination(mine), filter=BEYOND_TIME)
    assert handler({"Records": [ticket]}, Context()) == {"batchItemFailures": []}
    assert state(mine, made) == ("failed", "internal_error")


def test_a_step_that_failed_for_a_day_ends_its_replay(mine: Tenant) -> None:
    to = destination(mine)
    keep(mine, to, refused(mine))
    made, ticket = kept(mine, to)
    worn = ticket | {"attributes": {"ApproximateReceiveCount": str(MOST_RECEIVES + 1)}}
    assert handler({"Records": [worn]}, Context()) == {"batchItemFailures": []}
    assert state(mine, made) == ("failed", "given_up")
    assert tickets() == []


def test_a_replay_that_nobody_can_read_is_let_go(mine: Tenant) -> None:
    made, ticket = kept(mine, destination(mine))
    key = {"owner": {"S": f"{mine.id}#{made.destination}"}, "sk": {"S": f"replay#{made.id}"}}
    boto3.client("dynamodb", region_name=REGION).put_item(
        TableName="penstock-test-letters", Item=key | {"content": {"S": "[]"}, "version": {"N": "1"}}
    )
    assert handler({"Records": [ticket]}, Context()) == {"batchItemFailures": []}
