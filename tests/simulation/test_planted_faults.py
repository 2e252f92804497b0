"""Each fault that is planted is seen within a few seeds, by the promise that it breaks."""

from __future__ import annotations

import pytest

from tests.simulation.faults import MORE, SEVEN
from tests.simulation.overflowing import Overflowing
from tests.simulation.promises import BOOKS, LOST
from tests.simulation.restless import Restless
from tests.simulation.run import simulate
from tests.simulation.world import World

WITHIN = 10  # seeds
WITHIN_FOR_MORE = 60  # seeds; some of these need several accidents at once


@pytest.mark.parametrize("fault", SEVEN, ids=lambda fault: fault.__name__)
def test_each_of_the_seven_faults_is_seen_by_the_promise_that_it_breaks(fault: type[World]) -> None:
    assert any(simulate(seed, fault).broken[fault.breaks] for seed in range(WITHIN))


@pytest.mark.parametrize("fault", MORE, ids=lambda fault: fault.__name__)
def test_other_faults_are_seen_too(fault: type[World]) -> None:
    assert any(simulate(seed, fault).broken[fault.breaks] for seed in range(WITHIN_FOR_MORE))


def test_none_of_these_seeds_fails_without_a_fault() -> None:
    assert all(simulate(seed).is_good for seed in range(WITHIN))


def test_nothing_is_lost_and_the_books_balance_whatever_people_change_between_two_tries() -> None:
    found = [simulate(seed, Restless).broken for seed in range(2 * WITHIN)]
    assert [broken for broken in found if broken[BOOKS] or broken[LOST]] == []


def test_lanes_that_are_often_stored_by_halves_keep_every_promise() -> None:
    assert all(simulate(seed, Overflowing).is_good for seed in range(2 * WITHIN))
