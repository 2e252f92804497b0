"""Measure: count what each source brings, and what all of a workspace bring live, one write for each in a batch.

A workspace is looked at when either comes above its quota: many small sources may be too much together.

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

    def note_lag(self, shard: str, lag_s: float) -> None:
        """Of a shard of bulk; of one window's notes the longest stays. Raises `StoreUnavailable`."""

    def add_live(self, workspace: str, events: int) -> int:
        """How many all its sources have brought live in this window, these included. Raises `StoreUnavailable`."""


class Quotas(Protocol):
    def get(self, workspace: str) -> Limits:
        """Raises `StoreUnavailable`."""


class Chore(NamedTuple):
    """Has the gatekeeper look at a workspace's sources, where else a destination is named."""

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


class _Brought(NamedTuple):
    """By one source in one batch; `lag_s` of what came through bulk."""

    events: int = 0
    live: int = 0
    lag_s: float | None = None


def measure(runs: Sequence[Measured], ports: Ports) -> None:
    """Imports use no quota. Of what is carried and forwarded only the first record counts."""
    for workspace, theirs in _by_workspace(runs, ports.clock()).items():
        above = [source for source, brought in theirs.items() if _count_source(workspace, source, brought, ports)]
        live = sum(brought.live for brought in theirs.values())
        if live and _count_workspace(workspace, live, ports):
            above += theirs
        if above:
            with suppress(Unavailable):
                ports.chores.send([Chore(workspace, above[0])])


def note_lag(shard: str, arrived_at: float, ports: Ports) -> None:
    """How far behind a shard of bulk is, by the oldest record of a batch of whomever's, before any of it can fail."""
    with suppress(Unavailable):
        ports.usage.note_lag(shard, max(ports.clock() - arrived_at, 0.0))


def _by_workspace(runs: Sequence[Measured], now: float) -> dict[str, dict[str, _Brought]]:
    found: dict[str, dict[str, _Brought]] = {}
    for run, arrived_at, is_bulk in runs:
        if run.bulk or run.origin or run.fence:
            continue
        theirs = found.setdefault(run.workspace, {})
        events, live, lag_s = theirs.get(run.source, _Brought())
        if is_bulk:
            theirs[run.source] = _Brought(events + len(run.events), live, max(lag_s or 0.0, now - arrived_at))
        else:
            theirs[run.source] = _Brought(events + len(run.events), live + len(run.events), lag_s)
    return found


def _count_source(workspace: str, source: str, brought: _Brought, ports: Ports) -> bool:
    """Whether that brought it above its quota."""
    with suppress(Unavailable):
        total = ports.usage.add(workspace, source, brought.events, brought.lag_s)
        return quotas.comes_above(ports.quotas.get(workspace).of(source), total - brought.events, total)
    return False


def _count_workspace(workspace: str, live: int, ports: Ports) -> bool:
    """Counted after its sources: whoever looks at them finds them there."""
    with suppress(Unavailable):
        total = ports.usage.add_live(workspace, live)
        return quotas.comes_above(ports.quotas.get(workspace).workspace, total - live, total)
    return False
