"""Six hundred of two thousand destinations hang to their time-out: the others hardly notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra import gatekeeper
from tests.simulation import at_scale_gatekeeper as modelled
from tests.simulation.at_scale import Hub, Plan
from tests.simulation.at_scale_figures import LIMIT, calm, seen

ONE_BY_ONE = Plan(sick=600, falls_ill_over_s=120.0)
AT_ONCE = Plan(sick=600)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("illness", ["hang", "slow"])
def test_six_hundred_that_fall_ill_one_after_another_delay_nobody_else(illness: str) -> None:
    assert seen(replace(ONE_BY_ONE, illness=illness)).ratio <= LIMIT


@pytest.mark.parametrize("illness", ["hang", "slow"])
def test_six_hundred_that_fall_ill_in_the_same_second_delay_nobody_else(illness: str) -> None:
    found = seen(replace(AT_ONCE, illness=illness))
    assert found.ratio <= LIMIT
    assert found.noticed_s <= 10
    assert found.later_ratio <= LIMIT


def test_all_that_hang_are_closed_after_three_minutes() -> None:
    assert seen(AT_ONCE).closed == 600
    assert calm().closed == 0


@pytest.mark.parametrize("illness", ["hang", "slow"])
def test_without_gates_and_bulkhead_everybody_would_wait(illness: str) -> None:
    careless = replace(AT_ONCE, illness=illness, gates=False, bulkhead=False)
    assert seen(careless).later_ratio > 2 * LIMIT


def test_a_plan_is_the_same_run_again() -> None:
    short = replace(ONE_BY_ONE, falls_ill_over_s=5.0, lasts_s=15.0)
    assert Hub(short).run().delays == Hub(short).run().delays


def test_the_gatekeeper_is_modelled_as_it_is_deployed() -> None:
    assert modelled.BATCHES_AT_ONCE == gatekeeper.BATCHES_AT_ONCE
    assert modelled.CHORES_AT_ONCE == gatekeeper.CHORES_AT_ONCE
