"""The homes of keys: the fake and DynamoDB keep one contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from penstock.adapters.home_table import KEPT_S, HomeTable
from penstock.domain.home import Home, HomeKey, Name
from penstock.errors import StoreChanged, StoreUnavailable
from tests.builders_pipeline import SOURCE, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_homes import MemoryHomes

TABLE = "penstock-test-dedup"
KEY = HomeKey(WORKSPACE, SOURCE, "a" * 32, "")
ONE, TWO, THREE = Name(0, 7), Name(1, 3), Name(2, 8)
NOW = 1_790_000_000.0


@pytest.fixture(params=["memory", "dynamodb"])
def homes(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryHomes()
        return
    with mock_aws():
        make_tables()
        yield HomeTable(boto3.client("dynamodb", region_name=REGION), TABLE, lambda: NOW, lambda _: None)


def of(homes: Any, key: HomeKey = KEY) -> Home:
    return homes.read([key])[key]


def test_a_key_that_nobody_moved_is_at_home_in_the_first_turn(homes: Any) -> None:
    assert of(homes) == Home(0, frozenset())


def test_keys_of_a_source_and_of_those_that_forward_to_it_are_apart(homes: Any) -> None:
    other, via = KEY._replace(group="b" * 32), KEY._replace(via="src_bbbbbbbbbbbb")
    homes.move(via, 3)
    homes.carry(other, [ONE], 0)
    assert homes.read([KEY, other, via]) == {KEY: Home(), other: Home(0, frozenset([ONE])), via: Home(3, frozenset())}


def test_a_key_moves_forward_only(homes: Any) -> None:
    for turn in (3, 1, 3):
        homes.move(KEY, turn)
    assert of(homes).turn == 3


def test_a_run_is_carried_only_from_the_turn_that_was_read(homes: Any) -> None:
    homes.carry(KEY, [ONE], 0)
    homes.move(KEY, 1)
    with pytest.raises(StoreChanged):
        homes.carry(KEY, [THREE], 0)
    homes.carry(KEY, [THREE], 1)
    homes.carry(KEY, [TWO], None)
    assert of(homes) == Home(1, frozenset([ONE, TWO, THREE]))


def test_a_key_comes_home_with_the_last_of_what_was_behind(homes: Any) -> None:
    homes.move(KEY, 1)
    homes.carry(KEY, [ONE, TWO, THREE], 1)
    homes.sent(KEY, [ONE], 2)
    assert of(homes) == Home(1, frozenset([TWO, THREE]))
    homes.sent(KEY, [TWO, THREE], 2)
    assert of(homes) == Home(2, frozenset())


def test_a_key_does_not_come_home_unasked_or_from_a_later_turn(homes: Any) -> None:
    homes.carry(KEY, [THREE], 0)
    homes.sent(KEY, [THREE], None)
    assert of(homes) == Home(0, frozenset())
    homes.move(KEY, 3)
    homes.carry(KEY, [THREE], 3)
    homes.sent(KEY, [THREE], 2)
    assert of(homes) == Home(3, frozenset())


def test_what_was_told_twice_changes_nothing(homes: Any) -> None:
    homes.carry(KEY, [ONE], 0)
    homes.carry(KEY, [ONE], 0)
    homes.sent(KEY, [ONE], 2)
    homes.sent(KEY, [ONE], 2)
    assert of(homes) == Home(2, frozenset())


def test_many_names_are_told_at_once(homes: Any) -> None:
    names = [Name(2, number) for number in range(150)]
    homes.carry(KEY, names, 0)
    homes.sent(KEY, names, 2)
    assert of(homes).behind == frozenset()


def test_however_many_runs_are_behind_all_are_known_and_the_key_comes_home_after_the_last(homes: Any) -> None:
    names = [Name(2, number) for number in range(1_000)]
    for first in range(0, 1_000, 100):
        homes.carry(KEY, names[first : first + 100], 0)
    homes.carry(KEY, names[850:950], 0)  # a batch that comes again
    other = KEY._replace(via="src_bbbbbbbbbbbb")
    homes.carry(other, [ONE], 0)
    assert of(homes).behind == frozenset(names)
    assert of(homes, other).behind == {ONE}
    for first in range(0, 1_000, 100):
        homes.sent(KEY, names[first : first + 100], 2 if first else None)
        assert of(homes).behind == frozenset(names[first + 100 :])
    homes.carry(KEY, [THREE], of(homes).turn)
    homes.sent(KEY, [THREE], 4)
    assert of(homes) == Home(4, frozenset())


def test_however_many_runs_are_behind_none_is_carried_from_another_turn_than_was_read(homes: Any) -> None:
    names = [Name(0, number) for number in range(300)]
    for first in range(0, 300, 100):
        homes.carry(KEY, names[first : first + 100], 0)
    homes.move(KEY, 1)
    with pytest.raises(StoreChanged):
        homes.carry(KEY, [THREE], 0)
    homes.carry(KEY, [TWO], None)
    assert of(homes) == Home(1, frozenset([*names, TWO]))


def test_a_key_with_many_runs_behind_has_a_small_item() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table = HomeTable(client, TABLE, lambda: NOW, lambda _: None)
        for first in range(0, 1_000, 50):
            table.carry(KEY, [Name(2, 10**55 + number) for number in range(first, first + 50)], 0)
        items = client.scan(TableName=TABLE)["Items"]
        assert max(len(json.dumps(item)) for item in items) < 8_000
        assert {item["expires_at"]["N"] for item in items} == {str(int(NOW) + KEPT_S)}


def test_rows_that_are_written_while_somebody_finds_none_are_not_forgotten() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table = HomeTable(client, TABLE, lambda: NOW, lambda _: None)
        names = [Name(2, number) for number in range(150)]
        table.carry(KEY, names[:100], 0)
        table.carry(KEY, names[100:], 0)
        table.sent(KEY, names, None)
        reader = HomeTable(
            Late(client, lambda: table.carry(KEY, names[:100], 0) or table.carry(KEY, names[100:], 0)),
            TABLE,
            lambda: NOW,
            lambda _: None,
        )
        of(reader)
        assert of(table).behind == frozenset(names)


def test_rows_are_not_forgotten_by_an_answer_that_was_lost_and_asked_for_again() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        table = HomeTable(client, TABLE, lambda: NOW, lambda _: None)
        names = [Name(2, number) for number in range(300)]
        table.carry(KEY, names[:100], 0)
        table.carry(KEY, names[100:200], 0)
        table.sent(KEY, names[100:200], None)
        of(HomeTable(Again(client, lambda: table.carry(KEY, names[200:], 0)), TABLE, lambda: NOW, lambda _: None))
        assert of(table).behind == frozenset([*names[:100], *names[200:]])


def test_whoever_meets_another_at_a_keys_item_tries_again() -> None:
    with mock_aws():
        make_tables()
        pauses: list[float] = []
        client = Meeting(boto3.client("dynamodb", region_name=REGION))
        table = HomeTable(client, TABLE, lambda: NOW, pauses.append)
        names = [Name(2, number) for number in range(150)]
        table.carry(KEY, names[:100], 0)
        table.carry(KEY, names[100:], 0)
        table.sent(KEY, names[:1], None)
        assert of(table).behind == frozenset(names[1:])
        assert len(pauses) == client.met == 5


class Meeting:
    """Every other write finds another under way."""

    def __init__(self, client: Any) -> None:
        self._client, self.met, self._writes = client, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_item(self, **request: Any) -> Any:
        self._meet({"Error": {"Code": "TransactionConflictException"}}, "UpdateItem")
        return self._client.update_item(**request)

    def transact_write_items(self, **request: Any) -> Any:
        reasons = {"CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}]}
        self._meet({"Error": {"Code": "TransactionCanceledException"}} | reasons, "TransactWriteItems")
        return self._client.transact_write_items(**request)

    def _meet(self, answer: Any, call: str) -> None:
        self._writes += 1
        if self._writes % 2:
            self.met += 1
            raise ClientError(answer, call)


class Again:
    """Makes its first update twice, as whoever gets no answer does, and does something in between."""

    def __init__(self, client: Any, act: Any) -> None:
        self._client, self._act = client, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_item(self, **request: Any) -> Any:
        self._client.update_item(**request)
        self._act()
        return self._client.update_item(**request)


class Late:
    """Does something once, after it has looked for rows."""

    def __init__(self, client: Any, act: Any) -> None:
        self._client, self._act = client, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, **request: Any) -> Any:
        answer = self._client.query(**request)
        act, self._act = self._act, lambda: None
        act()
        return answer


def test_more_keys_than_one_call_takes_are_read(homes: Any) -> None:
    keys = [KEY._replace(group=f"{number:032x}") for number in range(230)]
    for key in keys[::50]:
        homes.move(key, 1)
    assert sum(found.turn for found in homes.read(keys).values()) == 5


def test_homes_are_forgotten_when_no_stream_can_ask_for_them() -> None:
    with mock_aws():
        make_tables()
        client = boto3.client("dynamodb", region_name=REGION)
        HomeTable(client, TABLE, lambda: NOW, lambda _: None).move(KEY, 1)
        (item,) = client.scan(TableName=TABLE)["Items"]
        assert item["expires_at"] == {"N": str(int(NOW) + KEPT_S)}


class Failing:
    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, name)

        return call


def test_no_answer_is_no_home() -> None:
    table = HomeTable(Failing(), TABLE, lambda: NOW, lambda _: None)  # type: ignore[arg-type]
    for act in (
        lambda: table.read([KEY]),
        lambda: table.carry(KEY, [ONE], 0),
        lambda: table.sent(KEY, [ONE], 2),
        lambda: table.move(KEY, 1),
    ):
        with pytest.raises(StoreUnavailable):
            act()
