"""What becomes of jobs that the overflow could not store all at once: the fake and DynamoDB keep one contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from penstock.adapters.overflow_table import OverflowTable
from penstock.domain.overflow import appended_place
from penstock.errors import StoreUnavailable
from tests.adapters.test_overflow_table import ADA, DEDUP, GATES, LANE, NOW, OVERFLOW, jobs, numbers, table
from tests.control_api import REGION, make_tables
from tests.fakes_overflow import ANY_SIZE, MemoryOverflow
from tests.fakes_pipeline import Clock


class Throttled:
    """DynamoDB that leaves the first job of a call unwritten, while it `leaves_first`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.leaves_first = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803 - as boto3 has it
        ((name, requests),) = RequestItems.items()
        left = [each for each in requests if "PutRequest" in each][:1] if self.leaves_first else []
        taken = [each for each in requests if each not in left]
        if taken:
            self._client.batch_write_item(RequestItems={name: taken})
        return {"UnprocessedItems": {name: left} if left else {}}


@pytest.fixture(params=["memory", "dynamodb"])
def throttled(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """An overflow, and what says whether it leaves the first job of a call unwritten."""
    with mock_aws():
        make_tables()
        if request.param == "memory":
            memory = MemoryOverflow(Clock())
            yield memory, memory
        else:
            client = Throttled(boto3.client("dynamodb", region_name=REGION))
            yield table(client), client


def test_of_jobs_that_are_not_all_stored_none_is_seen_and_they_come_again_in_order(throttled: tuple[Any, Any]) -> None:
    overflow, trouble = throttled
    overflow.open(LANE, ADA)
    overflow.append(LANE, jobs(1))
    for parking in (5_000, 6_000):
        trouble.leaves_first = True
        for store in (
            lambda parking=parking: overflow.park(LANE, parking, jobs(7, 8, 9)),
            lambda: overflow.append(LANE, jobs(2, 3, 4)),
        ):
            with pytest.raises(StoreUnavailable):
                store()
            assert numbers(overflow.stored(LANE, 10, ANY_SIZE)) == [1]
    assert overflow.state(LANE).is_whole is False
    trouble.leaves_first = False
    overflow.append(LANE, jobs(2, 3))
    overflow.append(LANE, jobs(4))
    overflow.park(LANE, 6_000, jobs(7))
    overflow.park(LANE, 6_000, jobs(8, 9))
    assert numbers(overflow.stored(LANE, 10, ANY_SIZE)) == [7, 8, 9, 1, 2, 3, 4]
    assert overflow.state(LANE).is_whole is True


def test_a_lane_whose_jobs_were_never_all_stored_shows_none_of_them_if_it_overflows_again(
    throttled: tuple[Any, Any],
) -> None:
    overflow, trouble = throttled
    overflow.open(LANE, ADA)
    trouble.leaves_first = True
    with pytest.raises(StoreUnavailable):
        overflow.append(LANE, jobs(2, 3, 4))
    trouble.leaves_first = False
    assert overflow.release(LANE, overflow.state(LANE))
    assert overflow.stored(LANE, 10, ANY_SIZE) == []
    overflow.open(LANE, ADA)
    for number in range(5, 9):
        overflow.append(LANE, jobs(number))
        assert numbers(overflow.stored(LANE, 10, ANY_SIZE)) == list(range(5, number + 1))


def test_while_jobs_are_being_stored_nobody_sees_some_of_them() -> None:
    with mock_aws():
        make_tables()
        client = Throttled(boto3.client("dynamodb", region_name=REGION))
        seen: list[list[int]] = []

        def look(_: float) -> None:
            seen.append(numbers(table(client).stored(LANE, 10, ANY_SIZE)))
            client.leaves_first = False

        overflow = OverflowTable(client, OVERFLOW, DEDUP, GATES, lambda: NOW, look)  # type: ignore[arg-type]
        overflow.open(LANE, ADA)
        overflow.append(LANE, jobs(1))
        client.leaves_first = True
        overflow.append(LANE, jobs(2, 3, 4))
        assert (seen, numbers(overflow.stored(LANE, 10, ANY_SIZE))) == ([[1]], [1, 2, 3, 4])


def test_of_two_who_store_jobs_of_one_lane_the_first_is_told_that_its_jobs_are_void() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table(client).open(LANE, ADA)

        class Meanwhile:
            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

            def batch_write_item(self, **request: Any) -> Any:
                table(client).append(LANE, jobs(3, 4))
                return client.batch_write_item(**request)

        with pytest.raises(StoreUnavailable):
            table(Meanwhile()).append(LANE, jobs(1, 2))
        assert set(numbers(table(client).stored(LANE, 10, ANY_SIZE))) >= {3, 4}


def test_a_lane_that_is_dropped_while_jobs_are_stored_in_it_is_not_there_again() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table(client).open(LANE, ADA)

        class Meanwhile:
            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

            def batch_write_item(self, **request: Any) -> Any:
                table(client).release(LANE, table(client).state(LANE))
                return client.batch_write_item(**request)

        with pytest.raises(StoreUnavailable):
            table(Meanwhile()).append(LANE, jobs(1))
        (left,) = client.scan(TableName=OVERFLOW)["Items"]
        assert (left["sk"]["S"], "expires_at" in left) == (appended_place(1), True)


def test_what_dynamodb_leaves_unwritten_is_written_again_or_said() -> None:
    class Busy:
        def __init__(self, client: Any, times: int) -> None:
            self._client = client
            self._times = times

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        def batch_write_item(self, **request: Any) -> Any:
            if self._times:
                self._times -= 1
                return {"UnprocessedItems": request["RequestItems"]}
            return self._client.batch_write_item(**request)

    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table(client).open(LANE, ADA)
        assert table(Busy(client, 2)).append(LANE, jobs(1)) is True
        assert numbers(table(client).stored(LANE, 10, ANY_SIZE)) == [1]
        with pytest.raises(StoreUnavailable):
            table(Busy(client, 99)).append(LANE, jobs(2))
