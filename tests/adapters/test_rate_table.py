"""What is known of destinations' rates: the fake and DynamoDB keep one contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from msgspec.structs import replace

from penstock import tables
from penstock.adapters.rate_table import RateTable
from penstock.domain.rate import RateState, Slot
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_rate import MemoryRates

KEY, OTHERS = (WORKSPACE, DESTINATION), ("ws_bbbbbbbbbbbb", DESTINATION)
TABLE = "penstock-test-gates"
FULL = RateState(
    limit=7.25,
    ceiling=10.0,
    tokens=0.1 + 0.2,
    at=1_764_000_000.123456,
    pause_until=1_764_000_030.5,
    lowered_at=1_764_000_000.0,
    raised_at=1_764_000_001.0,
    busy_at=1_764_000_002.0,
    slots=(Slot("a", 2, 1_764_000_130.0), Slot("b", 1, 1_764_000_131.0)),
    pace=3.5,
)


def client() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


@pytest.fixture(params=["memory", "dynamodb"])
def states(request: pytest.FixtureRequest, aws: None) -> Any:
    return MemoryRates() if request.param == "memory" else RateTable(client(), TABLE)


def test_nothing_is_known_at_first(states: Any) -> None:
    assert states.read(*KEY) == RateState()


def test_what_was_put_is_read_to_the_last_digit(states: Any) -> None:
    done, saved = states.swap(*KEY, RateState(), FULL)
    assert (done, saved) == (True, replace(FULL, version=1))
    assert states.read(*KEY) == saved
    assert states.read(*OTHERS) == RateState()


def test_who_comes_second_gets_what_is_there_and_changes_nothing(states: Any) -> None:
    _, first = states.swap(*KEY, RateState(), FULL)
    assert states.swap(*KEY, RateState(), RateState(limit=1.0)) == (False, first)
    done, second = states.swap(*KEY, first, replace(first, tokens=5.0))
    assert done
    assert states.swap(*KEY, first, replace(first, tokens=9.0)) == (False, second)
    assert states.read(*KEY) == second


def test_a_gate_beside_it_is_left_alone(aws: None) -> None:
    item = {"owner": {"S": tables.owner(*KEY)}, "sk": {"S": "gate"}, "version": {"N": "4"}}
    client().put_item(TableName=TABLE, Item=item)
    RateTable(client(), TABLE).swap(*KEY, RateState(), FULL)
    assert client().get_item(TableName=TABLE, Key={name: item[name] for name in ("owner", "sk")})["Item"] == item


class Broken:
    """Every call fails in the same way; or works, and its answer is lost."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, call: str) -> Callable[..., Any]:
        def fail(**request: Any) -> Any:
            raise self.error

        return fail


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ThrottlingException"}}, "UpdateItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb.example"),
    ],
)
def test_what_cannot_be_reached_is_unavailable(error: Exception) -> None:
    broken = RateTable(Broken(error), TABLE)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        broken.read(*KEY)
    with pytest.raises(StoreUnavailable):
        broken.swap(*KEY, RateState(), FULL)


def test_a_try_whose_answer_was_lost_is_known_for_ones_own(aws: None) -> None:
    """botocore tries again by itself, and is refused by what its first try has put there."""
    table = RateTable(client(), TABLE)
    _, saved = table.swap(*KEY, RateState(), FULL)
    assert table.swap(*KEY, RateState(), FULL) == (True, saved)
