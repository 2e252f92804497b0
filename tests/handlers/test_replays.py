"""How replays end that cannot go on, and how many there are at once: real handlers and wiring, on moto."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import boto3
import msgspec

from functions.replay.handler import MOST_RECEIVES, STEP_S, handler, step
from penstock.adapters.replay_table import ReplayTable
from penstock.domain.letter_index import LetterFilter
from penstock.domain.replays import Replay, new_id
from penstock.steps.keep_replays import MADE_WITHIN_S, MOST_LIVE
from tests.builders_letters import replay
from tests.control_api import REGION, Json, Tenant, tenant
from tests.handlers.test_letters import Context, cloud, destination, keep, mine, path, refused, tickets, worked_off

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


def test_a_step_is_over_after_some_seconds_or_when_its_function_has_no_time_for_another_page() -> None:
    now = [0.0]
    has_time = step(Context(), lambda: now[0])
    assert has_time()
    now[0] = STEP_S
    assert not has_time()

    class Late(Context):
        def get_remaining_time_in_millis(self) -> int:
            return 24_000

    assert not step(Late(), lambda: 0.0)()


def fill(of: Tenant, to: str) -> list[str]:
    """As many replays as the workspace may have."""
    return [of.made(path(to, "replays"), {"filter": {}})["id"] for _ in range(MOST_LIVE)]


def refusal(of: Tenant, to: str) -> tuple[int, str]:
    answer = of.call("POST", path(to, "replays"), {"filter": {}})
    return answer.status, answer.error["code"]


def test_a_workspace_has_so_many_replays_at_once_over_all_its_destinations(mine: Tenant) -> None:
    to, other = destination(mine), destination(mine)
    first, second, *_ = fill(mine, to)
    assert refusal(mine, to) == refusal(mine, other) == (409, "too_many_replays")
    neighbour = tenant("Other")
    neighbour.made(path(destination(neighbour), "replays"), {"filter": {}})
    mine.call("POST", path(to, f"replays/{first}/cancel"))
    mine.made(path(other, "replays"), {"filter": {}})
    assert refusal(mine, to) == (409, "too_many_replays")
    worked_off()
    assert mine.call("GET", path(to, f"replays/{second}")).body["state"] == "done"
    fill(mine, to)


def test_what_a_crash_left_among_the_live_is_found_to_be_over(mine: Tenant) -> None:
    to = destination(mine)
    ended, _ = kept(mine, to, state="done")
    never_made = new_id(time.time() - MADE_WITHIN_S - 1, "aaaa")
    being_made = [new_id(time.time(), f"{number:04d}") for number in range(MOST_LIVE - 2)]
    for each in (ended.id, never_made, *being_made):
        assert table().enter(mine.id, to, each, MOST_LIVE)
    mine.made(path(to, "replays"), {"filter": {}})
    mine.made(path(to, "replays"), {"filter": {}})
    assert refusal(mine, to) == (409, "too_many_replays")
