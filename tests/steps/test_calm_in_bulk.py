"""A source that floods stays in bulk, whatever keeps bulk from coming to its events; one that is calm comes back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.domain.quotas import SILENT_S
from penstock.steps import measure
from penstock.steps.keep_quotas import tick
from penstock.steps.measure import Measured
from tests.builders_pipeline import SOURCE, event, run_of
from tests.steps.test_keep_quotas import Hub

TICK_S = 60
RECORDS_A_SECOND = 20  # that a lane gets through
FLOOD = Measured(run_of(*[event(n) for n in range(80)]), 0.0, True)  # a second's, of a source that may send 50
IMPORT = Measured(run_of(bulk=True), 0.0, True)


@dataclass
class Lane:
    """One of those in which a shard is read, in order. In `stuck` its batch fails, and comes again."""

    shard: str
    again_s: float = 1.0
    stuck: tuple[float, float] = (0.0, 0.0)
    next_at: float = 0.0
    waiting: deque[Measured] = field(default_factory=deque)

    def put(self, kind: Measured, now: float) -> None:
        self.waiting.append(kind._replace(arrived_at=now))

    def read(self, hub: Hub) -> None:
        now = hub.clock.now
        if not self.waiting or now < self.next_at:
            return
        measure.note_lag(self.shard, self.waiting[0].arrived_at, hub.measuring)
        if self.stuck[0] <= now < self.stuck[1]:
            self.next_at = now + self.again_s
        else:
            hub.measure(*[self.waiting.popleft() for _ in range(min(RECORDS_A_SECOND, len(self.waiting)))])


@dataclass(frozen=True)
class Weather:
    """Seconds: of an import in the first lane, of the flood in one of them, and of a failure there."""

    imported_s: int
    stuck_at: int
    stuck_s: int
    again_s: int
    flood_s: int
    lanes: tuple[str, ...]
    flooded: int


WEATHER = st.builds(
    Weather,
    imported_s=st.integers(0, 900),
    stuck_at=st.integers(0, 200),
    stuck_s=st.integers(0, 400),
    again_s=st.integers(1, 70),
    flood_s=st.integers(1, 900),
    lanes=st.sampled_from([("b-1",), ("b-1", "b-1"), ("b-1", "b-1", "b-2"), ("b-1", "b-2")]),
    flooded=st.integers(0, 2),
)


@settings(max_examples=40, deadline=None)
@given(WEATHER)
@example(Weather(300, 0, 0, 1, 900, ("b-1",), 0))
@example(Weather(0, 55, 300, 70, 900, ("b-1", "b-1"), 1))
def test_a_source_comes_back_when_its_flood_is_over_and_seen_to_be_over(weather: Weather) -> None:
    hub = Hub().moved()
    began_at = hub.clock.now
    hub.measure(FLOOD._replace(is_bulk=False), *[FLOOD._replace(is_bulk=False)] * 9)
    lanes = [Lane(shard, weather.again_s) for shard in weather.lanes]
    flooded = lanes[weather.flooded % len(lanes)]
    flooded.stuck = began_at + weather.stuck_at, began_at + weather.stuck_at + weather.stuck_s
    for _ in range(weather.imported_s * RECORDS_A_SECOND):
        lanes[0].put(IMPORT, began_at)
    over_at = began_at + weather.flood_s
    longest_s = weather.imported_s + weather.stuck_at + weather.stuck_s + weather.again_s + 2 * weather.flood_s
    while hub.sources[SOURCE].turn % 2:
        if hub.clock.now < over_at:
            flooded.put(FLOOD, hub.clock.now)
        for lane in lanes:
            lane.read(hub)
        hub.clock.now += 1
        if int(hub.clock.now - began_at) % TICK_S == 0 and tick(hub.ports).moved:
            assert hub.clock.now > over_at
            assert not flooded.waiting
        assert hub.clock.now < began_at + longest_s + SILENT_S + 3 * TICK_S
