"""Usage and marks in memory; they run the contract tests of the table that they stand for."""

from __future__ import annotations

from collections.abc import Callable

from penstock.domain.quotas import Lag, Mark, Used, window_of
from penstock.errors import StoreUnavailable


class MemoryUsage:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.used: dict[tuple[str, int, str], Used] = {}
        self.noted: dict[tuple[int, str], Lag] = {}
        self.writes = 0
        self.reads: list[str] = []
        self.trouble: dict[str, StoreUnavailable] = {}
        self.live: dict[tuple[str, int], int] = {}
        self.marks: set[Mark] = set()
        self.place: Mark | None = None

    def add(self, workspace: str, source: str, events: int, lag_s: float | None) -> int:
        self.writes += 1
        key = (workspace, window_of(self._clock()), source)
        known = self.used.get(key, Used(source, key[1], 0))
        lag_s = known.lag_s if lag_s is None else round(lag_s, 3)
        self.used[key] = Used(source, key[1], known.events + events, lag_s)
        return self.used[key].events

    def note_lag(self, shard: str, lag_s: float) -> None:
        key = (window_of(self._clock()), shard)
        known = self.noted.get(key, Lag(shard, key[0], 0.0))
        self.noted[key] = known._replace(lag_s=max(known.lag_s, round(lag_s, 3)))

    def lags(self, since: float) -> list[Lag]:
        return [lag for key, lag in sorted(self.noted.items()) if key[0] >= window_of(since)]

    def add_live(self, workspace: str, events: int) -> int:
        self.writes += 1
        key = (workspace, window_of(self._clock()))
        self.live[key] = self.live.get(key, 0) + events
        return self.live[key]

    def read(self, workspace: str, since: float) -> list[Used]:
        self.reads.append(workspace)
        if workspace in self.trouble:
            raise self.trouble[workspace]
        return [used for key, used in sorted(self.used.items()) if key[0] == workspace and key[1] >= window_of(since)]

    def mark(self, workspace: str, source: str) -> None:
        self.marks.add(Mark(workspace, source))

    def unmark(self, workspace: str, source: str) -> None:
        self.marks.discard(Mark(workspace, source))

    def marked(self, workspace: str | None = None) -> list[Mark]:
        return sorted(mark for mark in self.marks if workspace in (None, mark.workspace))

    def reached(self) -> Mark | None:
        return self.place

    def reach(self, mark: Mark | None) -> None:
        self.place = mark
