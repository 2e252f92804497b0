"""`docs/scale.md` holds what its script reckons and what the stages reserve."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import scale
from infra.stages import stage

DOC = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
PROTECTED = 100  # that AWS keeps for functions without a share


@pytest.mark.parametrize("table", [scale.taken, scale.costs, scale.budget])
def test_the_tables_are_those_that_the_script_prints(table: object) -> None:
    assert callable(table)
    assert table() in DOC, "run python -m benchmarks.scale"


def test_the_figures_in_the_text_are_those_of_the_script() -> None:
    assert f"**{scale.idle_month():.2f} USD a month**" in DOC
    assert f"{scale.round_month():.0f} USD a month for 100,000 destinations" in DOC
    assert f"{scale.largest_day()} million events a day is what" in DOC
    assert f"{scale.named_mb(100):.1f} MB for each hundred runs a second, up to {scale.named_mb(650):.0f} MB" in DOC
    assert round(scale.most_runs(), -1) == 650


def test_the_shares_fit_into_an_account_that_asked_for_nothing() -> None:
    assert sum(stage("prod", "us-east-1").reserved.values()) <= 1_000 - PROTECTED


def test_ten_times_the_events_cost_less_than_ten_times() -> None:
    small, large = (sum(scale.Taken(scale.Traffic(size)).dollars().values()) for size in scale.SIZES[1:])
    assert small < large < 10 * small
