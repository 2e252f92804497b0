"""What the hub keeps in tables and buckets, in memory; each call is an effect of its own where the world says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.overflow import LaneKey
from penstock.domain.routing import Route
from penstock.domain.stream_record import StreamRecord
from penstock.domain.webhook import Webhook
from penstock.errors import StoreUnavailable, StreamUnavailable
from tests.fakes_overflow import MemoryOverflow
from tests.simulation.stream import Stream
from tests.simulation.weather import Weather

PUT_TRIES = 4


@dataclass(frozen=True)
class Settings:
    """One destination as it is configured from `since` on; `route` is None once it is deleted."""

    since: float
    route: Route | None
    webhook: Webhook | None


@dataclass
class Config:
    """All destinations' settings with their past, so that it can be asked what was right when."""

    clock: Callable[[], float]
    versions: dict[str, list[Settings]] = field(default_factory=dict)

    def put(self, destination: str, route: Route | None, webhook: Webhook | None) -> None:
        self.versions.setdefault(destination, []).append(Settings(self.clock(), route, webhook))

    def now(self, destination: str) -> Settings:
        return self.versions[destination][-1]

    def routes(self, workspace: str) -> tuple[Route, ...]:
        return tuple(theirs[-1].route for theirs in self.versions.values() if theirs[-1].route is not None)

    def webhook(self, key: tuple[str, str]) -> Webhook | None:
        return self.versions[key[1]][-1].webhook

    def between(self, destination: str, first: float, last: float) -> list[Settings]:
        """What was in force at any time of those."""
        theirs = self.versions[destination]
        ends = [each.since for each in theirs[1:]] + [float("inf")]
        return [each for each, end in zip(theirs, ends, strict=True) if each.since <= last and end >= first]


class Outside(MemoryOverflow):
    """Remembers every job that ever waited there, by destination: it need not have been in a queue.

    Jobs may be stored in any order and some of them later, or never, while others look at the lane.
    """

    def __init__(self, clock: Callable[[], float], weather: Weather) -> None:
        super().__init__(clock)
        self._weather = weather
        self.ever: dict[str, list[str]] = defaultdict(list)

    def _put_all(self, lane: LaneKey, placed: Sequence[tuple[str, Any]]) -> None:
        throttle = self._weather.odds.throttle
        late = [each for each in placed if self._weather.strikes(throttle)]
        super()._put_all(lane, [each for each in placed if each not in late])
        if late:
            self._weather.clock.sleep(self._weather.between((0.05, 5.0)))
            if self._weather.strikes(throttle):
                raise StoreUnavailable("injected, half done")
            super()._put_all(lane, late)

    def append(self, lane: LaneKey, jobs: Sequence[Any]) -> bool:
        is_taken = super().append(lane, jobs)
        self.ever[lane.destination] += [job.body for job in jobs] if is_taken else []
        return is_taken


@dataclass
class Inflow:
    """The stream as it is written to: what is refused is sent again, and so is what got no answer."""

    stream: Stream
    weather: Weather

    def put(self, records: Sequence[StreamRecord]) -> None:
        left = list(records)
        for _ in range(PUT_TRIES):
            throttle = self.weather.odds.throttle
            taken = [each for each in left if not self.weather.strikes(throttle)]
            try:
                self.weather.effect(lambda taken=taken: self._append(taken), StreamUnavailable)  # type: ignore[misc]
            except StreamUnavailable:
                continue
            left = [each for each in left if each not in taken]
            if not left:
                return
            self.weather.clock.sleep(0.05 + 0.5 * self.weather.chance.random())
        raise StreamUnavailable(f"{len(left)} records were not acknowledged")

    def _append(self, records: Sequence[StreamRecord]) -> None:
        for record in records:
            self.stream.append(record)


class Parked:
    """Records that nobody can read."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}

    def keep(self, record_id: str, data: bytes) -> None:
        self.records[record_id] = data
