"""What the healthy destinations notice, in figures. `python -m tests.simulation.at_scale_figures` prints them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from penstock.domain.gate import GateState
from tests.simulation.at_scale import Hub, Plan

LIMIT = 1.25  # times the p95 of the same run with nobody ill
WINDOW_S = 10.0
LATER_S = 60.0  # after the first fell ill


class Figures(NamedTuple):
    """Seconds from accept to delivery of the healthy ones' events that were accepted once the first had fallen ill.

    `noticed_s` is for how long their p95 was over the limit, `later` what it was when the first minute had gone by.
    """

    p50: float
    p95: float
    worst: float
    noticed_s: float
    later: float
    events: int
    fast_at_once: int
    closed: int

    @property
    def ratio(self) -> float:
        return self.p95 / calm().p95

    @property
    def later_ratio(self) -> float:
        return self.later / calm().later


@cache
def seen(plan: Plan) -> Figures:
    hub = Hub(plan).run()
    delays = [(at - plan.falls_ill_at, delay) for at, delay in hub.delays if at >= plan.falls_ill_at]
    limit = LIMIT * (calm().p95 if plan.sick else float("inf"))
    over = [begin for begin in _windows(plan) if _share(_between(delays, begin, begin + WINDOW_S), 0.95) > limit]
    every = [delay for _, delay in delays]
    return Figures(
        p50=_share(every, 0.5),
        p95=_share(every, 0.95),
        worst=max(every),
        noticed_s=len(over) * WINDOW_S,
        later=_share(_between(delays, LATER_S, plan.lasts_s), 0.95),
        events=len(every),
        fast_at_once=max(share.peak for share in hub.shares.values()),
        closed=sum(gate.state is not GateState.OPEN for gate in hub.gates.gates.values()),
    )


def calm() -> Figures:
    """Nobody hangs."""
    return seen(Plan(sick=0))


def _windows(plan: Plan) -> list[float]:
    return [WINDOW_S * number for number in range(int(plan.lasts_s / WINDOW_S) - 1)]


def _between(delays: Sequence[tuple[float, float]], begin: float, end: float) -> list[float]:
    return [delay for at, delay in delays if begin <= at < end]


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)] if values else 0.0


def _row(name: str, plan: Plan) -> str:
    found = seen(plan)
    figures = (f"{found.p95:.2f}", f"{found.ratio:.2f}", f"{found.later_ratio:.2f}", f"{found.noticed_s:.0f}")
    return f"| {name} | {' | '.join(figures)} | {found.worst:.1f} | {found.closed} |"


def report() -> list[str]:
    """A Markdown table, as `docs/scale.md` holds it."""
    at_once = Plan(sick=600)
    one_by_one = replace(at_once, falls_ill_over_s=120.0)
    careless = replace(at_once, gates=False, bulkhead=False)
    rows = {
        "nobody": Plan(sick=0),
        "600 hang, one after another within two minutes": one_by_one,
        "600 are slow, one after another within two minutes": replace(one_by_one, illness="slow"),
        "600 hang, all from the same second": at_once,
        "600 are slow, all from the same second": replace(at_once, illness="slow"),
        "600 hang, without gates and bulkhead": careless,
        "600 are slow, without gates and bulkhead": replace(careless, illness="slow"),
        **{f"{sick} hang from the same second": Plan(sick=sick) for sick in (50, 100, 150, 200, 300, 1_000, 1_800)},
    }
    head = [
        "| | p95, s | ratio | ratio after a minute | over 1.25 for, s | longest, s | closed |",
        "|---|" + "--:|" * 6,
    ]
    return head + [_row(name, plan) for name, plan in rows.items()]


if __name__ == "__main__":
    print("\n".join(report()))  # noqa: T201
