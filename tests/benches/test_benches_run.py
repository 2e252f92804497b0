"""The benches still fit what they measure: each runs through once, with little to do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from benchmarks import books, timing
from functions.collect import handler as collect_handler

LITTLE = {
    "collect": {"EVENTS": 200},
    "claims": {"RUNS": 10},
    "deliver": {"EVENTS": 10},
    "schema_tracker": {"EVENTS": 400, "FEW": 50, "FEWER": 20, "HARD": 400},
    "schema_cost": {"EVENTS": 2_000},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LITTLE)
def test_a_bench_runs_and_every_row_has_a_figure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Any = import_module(f"benchmarks.{name}")
    monkeypatch.setattr(collect_handler, "ports", collect_handler.ports)  # the bench gives it others
    for constant, value in LITTLE[name].items():
        monkeypatch.setattr(bench, constant, value)
    if hasattr(bench, "rates"):
        monkeypatch.setattr(bench, "rates", lambda contenders, rounds=1: timing.rates(contenders, 1))
    rows = bench.run()
    assert rows
    assert all(row.ours >= 0 and row.peer_value > 0 for row in rows)


@pytest.mark.slow
def test_a_look_at_a_busy_destination_holds_little_more_than_it_counts() -> None:
    """A quarter of a gatekeeper at 650 runs a second, as `docs/scale.md` says: here a thirteenth of that."""
    assert books.held_mb(50) < 128 / 13
