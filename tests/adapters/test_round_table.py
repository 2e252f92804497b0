"""Where the round stands: the fake and DynamoDB keep one contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from penstock.adapters.round_table import RoundTable
from penstock.domain.rounds import Round
from penstock.errors import StoreChanged, StoreUnavailable
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_health import MemoryRounds

NOW = 1_790_000_000.25
BEGUN = Round().going_on(NOW)


@pytest.fixture
def tables() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


@pytest.fixture(params=["memory", "dynamodb"])
def rounds(request: pytest.FixtureRequest, tables: None) -> Any:
    return MemoryRounds() if request.param == "memory" else table("penstock-test-gates")


def table(name: str) -> RoundTable:
    return RoundTable(boto3.client("dynamodb", region_name=REGION), name)


def test_the_first_round_is_due_and_what_it_has_reached_is_read_again(rounds: Any) -> None:
    assert rounds.read() == Round()
    assert rounds.read().is_due(NOW)
    rounds.save(Round(), BEGUN)
    reached = BEGUN.at(WORKSPACE, DESTINATION)
    rounds.save(BEGUN, reached)
    assert rounds.read() == reached


def test_only_who_knows_how_it_stands_takes_it_further(rounds: Any) -> None:
    rounds.save(Round(), BEGUN)
    for before in (Round(), BEGUN.at(WORKSPACE)):
        with pytest.raises(StoreChanged):
            rounds.save(before, BEGUN.at(WORKSPACE, DESTINATION))
    assert rounds.read() == BEGUN


def test_a_table_that_does_not_answer_is_unavailable(tables: None) -> None:
    for act in (lambda: table("absent").read(), lambda: table("absent").save(Round(), BEGUN)):
        with pytest.raises(StoreUnavailable):
            act()
