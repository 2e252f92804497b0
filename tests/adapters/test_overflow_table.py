"""The overflow: the fake and DynamoDB keep one contract, and marks are what the dedup table reads of a key."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from penstock import tables
from penstock.adapters.gate_table import GateTable
from penstock.adapters.overflow_table import OverflowTable
from penstock.domain.dedup import Owner
from penstock.domain.overflow import (
    EXPIRES_AFTER_S,
    RENEWED_BEFORE_S,
    LaneKey,
    LaneState,
    Stored,
    Turn,
    appended_place,
    parked_place,
)
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_overflow import ANY_SIZE, MemoryOverflow
from tests.fakes_pipeline import Clock

NOW = 1_790_000_000.0
OVERFLOW, DEDUP, GATES = "penstock-test-overflow", "penstock-test-dedup", "penstock-test-gates"
LANE = LaneKey(WORKSPACE, DESTINATION, "group-a")
OTHER = LaneKey(WORKSPACE, DESTINATION, "group-b")
ADA = Owner(WORKSPACE, SOURCE, "group-a")


@dataclass(frozen=True)
class Job:
    id: str
    body: str


def jobs(*numbers: int) -> list[Job]:
    return [Job(f"job-{number}", f"body of {number} é" * 50) for number in numbers]


def numbers(found: list[Stored]) -> list[int]:
    return [int(each.id.removeprefix("job-")) for each in found]


def table(client: Any = None, clock: Clock | None = None) -> OverflowTable:
    client = client or boto3.client("dynamodb", region_name=REGION)
    return OverflowTable(client, OVERFLOW, DEDUP, GATES, clock or (lambda: NOW), lambda _: None)


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = NOW
    return clock


@pytest.fixture(params=["memory", "dynamodb"])
def overflow(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Any]:
    with mock_aws():
        make_tables()
        yield MemoryOverflow(clock) if request.param == "memory" else table(clock=clock)


def test_a_lane_that_does_not_overflow_takes_nothing(overflow: Any) -> None:
    assert overflow.append(LANE, jobs(1)) is False
    assert (overflow.state(LANE), overflow.stored(LANE, 10, ANY_SIZE)) == (None, [])
    with pytest.raises(StoreUnavailable):
        overflow.park(LANE, 5_000, jobs(1))


def test_jobs_come_back_as_they_went_in_the_parked_ones_first(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    assert overflow.append(LANE, jobs(5, 6)) is True
    overflow.park(LANE, 5_000, jobs(1, 2))
    overflow.append(LANE, jobs(7))
    overflow.park(LANE, 5_000, jobs(3, 4))
    found = overflow.stored(LANE, 10, ANY_SIZE)
    assert numbers(found) == [1, 2, 3, 4, 5, 6, 7]
    assert [each.body for each in found] == [job.body for job in jobs(1, 2, 3, 4, 5, 6, 7)]
    assert (found[0].place, found[-1].place) == (parked_place(5_000, 1), appended_place(3))
    assert numbers(overflow.stored(LANE, 2, ANY_SIZE)) == [1, 2]
    assert overflow.state(LANE) == LaneState(3, 4, NOW, 5_000)


def test_no_more_characters_come_back_than_asked_for_but_one_job(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(1, 2, 3))
    sizes = [len(job.body) for job in jobs(1, 2, 3)]
    assert numbers(overflow.stored(LANE, 10, 0)) == [1]
    assert numbers(overflow.stored(LANE, 10, sum(sizes) - 1)) == [1, 2]
    assert numbers(overflow.stored(LANE, 10, sum(sizes))) == [1, 2, 3]


def test_what_is_parked_again_goes_before_what_was_parked_earlier(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    overflow.park(LANE, 5_000, jobs(3, 4))
    overflow.park(LANE, 6_000, jobs(1))
    overflow.park(LANE, 6_000, jobs(2))
    assert numbers(overflow.stored(LANE, 10, ANY_SIZE)) == [1, 2, 3, 4]


def test_more_jobs_than_one_call_carries_are_all_there(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(*range(60)))
    assert numbers(overflow.stored(LANE, 100, ANY_SIZE)) == list(range(60))
    assert overflow.count(WORKSPACE, DESTINATION, 100) == 60
    assert overflow.count(WORKSPACE, DESTINATION, 45) == 45


def test_what_a_destination_has_in_all_of_its_lanes_is_counted_and_nothing_else(overflow: Any) -> None:
    lanes = [LANE._replace(group=f"group-{number}") for number in range(20)]
    others = [LANE._replace(workspace="ws_bbbbbbbbbbbb"), LANE._replace(destination=f"{DESTINATION}-import")]
    for lane in (*lanes, *others):
        overflow.open(lane, ADA)
        overflow.append(lane, jobs(1, 2))
        overflow.park(lane, 5_000, jobs(3))
        overflow.park(lane, 6_000, jobs(4))
    assert overflow.count(WORKSPACE, DESTINATION, 100) == 80
    overflow.remove(lanes[0], [parked_place(6_000, 2), parked_place(5_000, 1)])
    overflow.release(lanes[1], overflow.state(lanes[1]))
    assert [overflow.count(WORKSPACE, DESTINATION, most) for most in (100, 20, 10)] == [74, 20, 10]
    assert len(overflow.lanes(WORKSPACE, DESTINATION, 100)) == 19
    assert overflow.count(WORKSPACE, f"{DESTINATION}-import", 100) == 4
    assert overflow.count(WORKSPACE, "dst_nobody", 100) == 0


def test_jobs_are_counted_without_being_read() -> None:
    """DynamoDB reads whole items, whatever is asked of them: ten thousand large jobs would be two gigabytes."""
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table(client).open(LANE, ADA)
        table(client).append(LANE, [Job(f"job-{number}", secrets.token_hex(100_000)) for number in range(20)])
        read: list[dict[str, Any]] = []

        class Reading:
            def query(self, **request: Any) -> Any:
                assert "IndexName" in request
                answer = client.query(**request)
                read.extend(answer["Items"])
                return answer

        assert table(Reading()).count(WORKSPACE, DESTINATION, 100) == 20
        assert len(read) == 21 and not [item for item in read if "body" in item]


def test_jobs_that_were_stored_before_the_index_had_them_are_counted_once_they_are_renewed() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table(client).open(LANE, ADA)
        table(client).append(LANE, jobs(1, 2))
        for item in client.scan(TableName=OVERFLOW)["Items"]:
            if "body" in item:
                key = {name: item[name] for name in ("owner", "sk")}
                remove = {"UpdateExpression": "REMOVE #of", "ExpressionAttributeNames": {"#of": "of"}}
                client.update_item(TableName=OVERFLOW, Key=key, **remove)
        assert table(client).count(WORKSPACE, DESTINATION, 10) == 0
        assert table(client).renew(LANE, 10)
        assert table(client).count(WORKSPACE, DESTINATION, 10) == 2


def test_what_comes_again_of_late_is_stored_once_and_holds_up_nothing(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(1, 2))
    overflow.append(LANE, jobs(1, 2, 3))
    overflow.append(LANE, jobs(3))
    found = overflow.stored(LANE, 10, ANY_SIZE)
    assert numbers(found) == [1, 2, 3]
    overflow.remove(LANE, [each.place for each in found])
    overflow.append(LANE, jobs(3, 4))
    assert numbers(overflow.stored(LANE, 10, ANY_SIZE)) == [4]
    assert overflow.stored(LANE, 10, ANY_SIZE)[-1].place == appended_place(overflow.state(LANE).tail)
    assert overflow.release(LANE, overflow.state(LANE))
    overflow.open(OTHER, ADA)
    overflow.append(OTHER, jobs(4))
    assert numbers(overflow.stored(OTHER, 10, ANY_SIZE)) == [4]


def test_of_the_many_jobs_of_a_lane_the_last_are_remembered(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    for first in range(0, 225, 25):
        overflow.append(LANE, jobs(*range(first, first + 25)))
    overflow.append(LANE, jobs(0, 30))
    assert numbers(overflow.stored(LANE, 300, ANY_SIZE)) == [*range(225), 0]


def test_opening_again_changes_nothing(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(1))
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(2))
    assert numbers(overflow.stored(LANE, 10, ANY_SIZE)) == [1, 2]


def test_what_the_queue_has_is_forgotten(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(*range(40)))
    overflow.remove(LANE, [appended_place(number) for number in range(1, 31)])
    assert numbers(overflow.stored(LANE, 100, ANY_SIZE)) == list(range(30, 40))


def test_the_lanes_of_a_destination_are_found_and_no_others(overflow: Any) -> None:
    overflow.open(OTHER, ADA)
    overflow.open(LANE, ADA)
    overflow.open(LaneKey(WORKSPACE, "dst_bbbbbbbbbbbb", "group-a"), ADA)
    overflow.open(LaneKey("ws_bbbbbbbbbbbb", DESTINATION, "group-a"), ADA)
    assert sorted(overflow.lanes(WORKSPACE, DESTINATION, 10)) == [LANE, OTHER]
    assert len(overflow.lanes(WORKSPACE, DESTINATION, 1)) == 1


def test_lanes_are_found_from_one_of_them_on(overflow: Any) -> None:
    lanes = [LANE._replace(group=f"group-{number}") for number in range(5)]
    for lane in lanes:
        overflow.open(lane, ADA)
    overflow.open(LaneKey(WORKSPACE, f"{DESTINATION}-import", "group-9"), ADA)
    assert overflow.lanes(WORKSPACE, DESTINATION, 2) == lanes[:2]
    assert overflow.lanes(WORKSPACE, DESTINATION, 2, "group-1") == lanes[2:4]
    assert overflow.lanes(WORKSPACE, DESTINATION, 9, "group-3") == lanes[4:]
    assert overflow.lanes(WORKSPACE, DESTINATION, 9, "group-4") == []


def test_which_lane_of_a_queue_was_looked_at_last_is_known_at_the_next_turn_and_no_longer(
    overflow: Any, clock: Clock
) -> None:
    imports = LaneKey(WORKSPACE, f"{DESTINATION}-import", "group-c")
    overflow.reach(LANE)
    overflow.open(LANE, ADA)
    overflow.open(imports, ADA)
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) == Turn({}, NOW)
    overflow.reach(LANE)
    overflow.reach(OTHER)
    overflow.reach(imports)
    clock.now += 15
    expected = {DESTINATION: "group-b", f"{DESTINATION}-import": "group-c"}
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) == Turn(expected, NOW)
    clock.now += 301
    overflow.end_turns(WORKSPACE, DESTINATION)
    overflow.open(LANE, ADA)
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) == Turn({}, clock.now)


def test_a_lane_is_released_as_it_was_seen_or_not_at_all(overflow: Any) -> None:
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(1))
    seen = overflow.state(LANE)
    overflow.append(LANE, jobs(2))
    assert overflow.release(LANE, seen) is False
    assert overflow.release(LANE, overflow.state(LANE)) is True
    assert overflow.append(LANE, jobs(3)) is False
    assert overflow.lanes(WORKSPACE, DESTINATION, 10) == []


def test_what_waits_for_long_is_renewed_some_jobs_at_a_time(overflow: Any, clock: Clock) -> None:
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(*range(3, 5)))
    overflow.park(LANE, 5_000, jobs(*range(3)))
    assert overflow.expiring(WORKSPACE, DESTINATION, 10) == []
    clock.now += EXPIRES_AFTER_S - RENEWED_BEFORE_S + 1
    overflow.open(OTHER, ADA)
    assert overflow.expiring(WORKSPACE, DESTINATION, 10) == [LANE]
    assert overflow.expiring("ws_bbbbbbbbbbbb", DESTINATION, 10) == []
    assert [overflow.renew(LANE, 2) for _ in range(3)] == [False, False, True]
    assert overflow.expiring(WORKSPACE, DESTINATION, 10) == []
    assert numbers(overflow.stored(LANE, 10, ANY_SIZE)) == list(range(5))
    clock.now += EXPIRES_AFTER_S - RENEWED_BEFORE_S + 1
    assert overflow.expiring(WORKSPACE, DESTINATION, 1) == [LANE]
    assert [overflow.renew(LANE, 10), overflow.renew(OTHER, 1)] == [True, True]
    assert overflow.renew(LANE._replace(group="nobody"), 1) is True
    assert overflow.expiring(WORKSPACE, DESTINATION, 10) == []


def test_when_nothing_was_expiring_is_known_at_the_next_turn(overflow: Any, clock: Clock) -> None:
    overflow.renewed(WORKSPACE, DESTINATION)
    overflow.open(LANE, ADA)
    clock.now += 100
    overflow.renewed(WORKSPACE, DESTINATION)
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) == Turn({}, NOW + 100)


def expiries(client: Any) -> dict[str, float]:
    """Of all that is kept, by its sort key."""
    items = [item for name in (OVERFLOW, DEDUP) for item in client.scan(TableName=name)["Items"]]
    return {item["sk"]["S"]: float(item["expires_at"]["N"]) for item in items}


def test_a_lane_its_jobs_and_its_keys_mark_expire_and_are_renewed_and_the_lane_never_outlives_the_others(
    clock: Clock,
) -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        overflow = table(client, clock)
        overflow.open(LANE, ADA)
        overflow.append(LANE, jobs(3))
        clock.now += 86_400
        overflow.open(LANE, ADA)
        overflow.park(LANE, 5_000, jobs(1))
        parked, appended = parked_place(5_000, 1), appended_place(1)
        soon, later = NOW + EXPIRES_AFTER_S, NOW + EXPIRES_AFTER_S + 86_400
        assert expiries(client) == {"lane": soon, appended: soon, parked: later, "key": later}
        clock.now += 86_400
        assert [overflow.renew(LANE, 1) for _ in range(2)] == [False, False]
        last = clock.now + EXPIRES_AFTER_S
        assert expiries(client) == {"lane": soon, appended: last, parked: last, "key": last}
        assert overflow.renew(LANE, 1)
        assert set(expiries(client).values()) == {last}


def test_what_goes_back_to_the_queue_while_it_is_renewed_stays_away() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table(client).open(LANE, ADA)
        table(client).append(LANE, jobs(1, 2))

        class Meanwhile:
            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

            def query(self, **request: Any) -> Any:
                answer = client.query(**request)
                table(client).remove(LANE, [appended_place(1), appended_place(2)])
                return answer

        assert table(Meanwhile()).renew(LANE, 10)
        assert table(client).stored(LANE, 10, ANY_SIZE) == []


def test_a_destination_has_turns_from_its_first_lane_on_and_each_is_taken_once(overflow: Any, clock: Clock) -> None:
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) is None
    overflow.open(LANE, ADA)
    assert [overflow.take_turn(WORKSPACE, DESTINATION, 15.0) for _ in range(2)] == [Turn({}, NOW), None]
    clock.now += 10
    overflow.open(OTHER, ADA)
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) is None
    clock.now += 5
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) == Turn({}, NOW)
    assert overflow.take_turn("ws_bbbbbbbbbbbb", DESTINATION, 15.0) is None


def test_turns_end_a_while_after_a_lane_was_opened(overflow: Any, clock: Clock) -> None:
    overflow.open(LANE, ADA)
    overflow.end_turns(WORKSPACE, DESTINATION)
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) == Turn({}, NOW)
    clock.now += 301
    overflow.end_turns(WORKSPACE, DESTINATION)
    assert overflow.take_turn(WORKSPACE, DESTINATION, 15.0) is None
    overflow.end_turns(WORKSPACE, DESTINATION)


def test_a_destination_whose_turn_nobody_takes_is_found_by_the_tick_and_survives_its_gate() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        overflow, gates = table(client), GateTable(client, GATES, lambda: NOW)
        overflow.open(LANE, ADA)
        gates.forget(WORKSPACE, DESTINATION)
        assert gates.due(NOW, 10) == [(WORKSPACE, DESTINATION)]
        overflow.take_turn(WORKSPACE, DESTINATION, 15.0)
        assert gates.due(NOW + 30, 10) == []
        assert gates.due(NOW + 36, 10) == [(WORKSPACE, DESTINATION)]


def test_the_mark_is_an_attribute_of_the_keys_own_item() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        key = {"owner": {"S": tables.key_owner(*ADA)}, "sk": {"S": "key"}}
        overflow = table(client)
        overflow.open(LANE, ADA)
        assert f"{tables.OVER}{DESTINATION}" in client.get_item(TableName=DEDUP, Key=key)["Item"]
        overflow.unmark(LANE, ADA)
        assert f"{tables.OVER}{DESTINATION}" not in client.get_item(TableName=DEDUP, Key=key)["Item"]


def test_of_a_key_that_has_no_mark_nothing_is_kept() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table(client).unmark(LANE, ADA)
        assert client.scan(TableName=DEDUP)["Items"] == []


def test_an_outage_is_told() -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            def call(**_: Any) -> Any:
                raise EndpointConnectionError(endpoint_url="x")

            return call

    down = table(Down())
    for act in (
        lambda: down.open(LANE, ADA),
        lambda: down.append(LANE, jobs(1)),
        lambda: down.lanes(WORKSPACE, DESTINATION, 1),
        lambda: down.state(LANE),
        lambda: down.stored(LANE, 1, ANY_SIZE),
        lambda: down.remove(LANE, ["1#000000000001"]),
        lambda: down.release(LANE, LaneState(0, 0, NOW)),
        lambda: down.count(WORKSPACE, DESTINATION, 1),
        lambda: down.take_turn(WORKSPACE, DESTINATION, 1.0),
        lambda: down.end_turns(WORKSPACE, DESTINATION),
        lambda: down.reach(LANE),
        lambda: down.expiring(WORKSPACE, DESTINATION, 1),
        lambda: down.renew(LANE, 1),
        lambda: down.renewed(WORKSPACE, DESTINATION),
    ):
        with pytest.raises(StoreUnavailable):
            act()
