"""Notes of burials: the fake and DynamoDB keep one contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from penstock.adapters.burial_notes import OVERDUE_S, BurialNotes
from penstock.adapters.gate_table import GateTable
from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.burial import Burial
from penstock.domain.gate import Gate
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_gate import MemoryBurials, MemoryGates
from tests.fakes_pipeline import Clock

KEY, OTHER = (WORKSPACE, DESTINATION), ("ws_bbbbbbbbbbbb", DESTINATION)
TABLE = "penstock-test-gates"


class Shelf(NamedTuple):
    """The notes, and the gates beside which they lie."""

    notes: Any
    gates: Any
    clock: Clock


@pytest.fixture(params=["memory", "dynamodb"])
def shelf(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    clock = Clock()
    with mock_aws():
        make_tables()
        if request.param == "memory":
            book = MemoryGates(clock)
            yield Shelf(MemoryBurials(book, clock), book, clock)
        else:
            client = boto3.client("dynamodb", region_name=REGION)
            yield Shelf(BurialNotes(client, TABLE, clock), GateTable(client, TABLE, clock), clock)


def test_a_turn_is_taken_once_and_comes_again_after_a_while(shelf: Shelf) -> None:
    notes, _, clock = shelf
    assert notes.take_turn(*KEY, 60) is None
    notes.begin(*KEY)
    assert notes.take_turn(*KEY, 60) == Burial(clock.now)
    assert notes.take_turn(*KEY, 60) is None
    assert notes.take_turn(*OTHER, 60) is None
    clock.now += 60
    assert notes.take_turn(*KEY, 60) == Burial(clock.now - 60)


def test_what_was_reached_is_known_at_the_next_turn(shelf: Shelf) -> None:
    notes, _, clock = shelf
    notes.begin(*KEY)
    reached = Burial(clock.now, clock.now + 0.125, True)
    notes.take_turn(*KEY, 60)
    notes.put_off(*KEY, reached, 20)
    assert notes.take_turn(*KEY, 60) is None
    clock.now += 20
    assert notes.take_turn(*KEY, 60) == reached


def test_those_that_nobody_has_looked_after_are_due_the_longest_overdue_first(shelf: Shelf) -> None:
    notes, _, clock = shelf
    notes.begin(*KEY)
    clock.now += 1
    notes.begin(*OTHER)
    assert notes.due(clock.now, 10) == []
    assert notes.due(clock.now + OVERDUE_S, 10) == [KEY, OTHER]
    assert notes.due(clock.now + OVERDUE_S, 1) == [KEY]
    notes.take_turn(*KEY, 60)
    assert notes.due(clock.now + OVERDUE_S, 10) == [OTHER]


def test_a_burial_counts_from_when_it_was_last_begun(shelf: Shelf) -> None:
    notes, _, clock = shelf
    notes.begin(*KEY)
    clock.now += 1_000
    notes.begin(*KEY)
    assert notes.take_turn(*KEY, 60) == Burial(clock.now)


def test_only_a_note_that_is_old_enough_is_called_off(shelf: Shelf) -> None:
    notes, _, clock = shelf
    notes.call_off(*KEY, clock.now)
    notes.begin(*KEY)
    notes.call_off(*KEY, clock.now)
    assert notes.due(clock.now + 1_000, 10) == [KEY]
    notes.call_off(*KEY, clock.now + 1)
    assert notes.due(clock.now + 1_000, 10) == []


def test_a_note_lies_beside_the_gate_is_not_found_with_gates_and_is_forgotten_with_it(shelf: Shelf) -> None:
    notes, book, clock = shelf
    book.save(*KEY, Gate(), moves.closed(Gate(), gates.FAILING, clock.now))
    notes.begin(*KEY)
    notes.begin(*OTHER)
    assert book.due(clock.now + 1_000, 10) == [KEY]
    book.forget(*KEY)
    assert notes.due(clock.now + 1_000, 10) == [OTHER]
    notes.put_off(*KEY, Burial(clock.now), 0)
    assert notes.take_turn(*KEY, 60) is None


def test_an_outage_is_told() -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            def fails(**given: Any) -> Any:
                raise EndpointConnectionError(endpoint_url="x")

            return fails

    down = BurialNotes(Down(), TABLE, Clock())  # type: ignore[arg-type]
    for call in (
        lambda: down.begin(*KEY),
        lambda: down.due(0.0, 1),
        lambda: down.take_turn(*KEY, 1.0),
        lambda: down.put_off(*KEY, Burial(0.0), 1.0),
        lambda: down.call_off(*KEY, 0.0),
    ):
        with pytest.raises(StoreUnavailable):
            call()
