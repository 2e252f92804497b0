"""Measure: count what each source brings, one write for each in a batch, and have it looked at where that is much.

It is a measure, no book: what a replayed batch brings again counts again, and what cannot be counted is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from penstock.domain import quotas
from penstock.domain.quotas import Limits
from penstock.domain.run import Run
from penstock.errors import Unavailable


class Measured(NamedTuple):
    """A run, when the stream took it (epoch seconds), and whether that was the bulk stream."""

    run: Run
    arrived_at: float
    is_bulk: bool


class Usage(Protocol):
    def add(self, workspace: str, source: str, events: int, lag_s: float | None) -> int:
        """How many it has brought in this window, these included. Raises `StoreUnavailable`."""


class Quotas(Protocol):
    def get(self, workspace: str) -> Limits:
        """Raises `StoreUnavailable`."""


class Chore(NamedTuple):
    """A source that the gatekeeper is to look at, where else a destination is named."""

    workspace: str
    destination: str
    delay_s: float = 0.0


class Chores(Protocol):
    def send(self, chores: Sequence[Chore]) -> None:
        """Raises `QueueUnavailable`."""


@dataclass(frozen=True)
class Ports:
    usage: Usage
    quotas: Quotas
    chores: Chores
    clock: Callable[[], float]


def measure(runs: Sequence[Measured], ports: Ports) -> None:
    """Imports use no quota. Of what is carried and forwarded only the first record counts."""
    totals: dict[tuple[str, str], tuple[int, float | None]] = {}
    for run, arrived_at, is_bulk in runs:
        if run.bulk or run.origin or run.fence:
            continue
        events, lag_s = totals.get((run.workspace, run.source), (0, None))
        if is_bulk:
            lag_s = max(lag_s or 0.0, ports.clock() - arrived_at)
        totals[run.workspace, run.source] = events + len(run.events), lag_s
    for (workspace, source), (events, lag_s) in totals.items():
        with suppress(Unavailable):
            _count(workspace, source, events, lag_s, ports)


def _count(workspace: str, source: str, events: int, lag_s: float | None, ports: Ports) -> None:
    total = ports.usage.add(workspace, source, events, lag_s)
    if quotas.is_worth_a_look(total - events, total, source, ports.quotas.get(workspace)):
        ports.chores.send([Chore(workspace, source)])
