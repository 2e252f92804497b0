"""Who is above a quota takes the bulk stream, and comes back when calm; nobody else is moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from penstock.domain import sources
from penstock.domain.quotas import LOOK_BACK_S, SILENT_S, WINDOW_S, Limits
from penstock.domain.sources import Source, WriteKey
from penstock.errors import StoreUnavailable
from penstock.steps import keep_quotas, measure
from penstock.steps.keep_quotas import LOOK_S, TICK_S, look_at, tick
from penstock.steps.measure import Measured
from tests.builders_pipeline import SOURCE, WORKSPACE, event, run_of
from tests.fakes_pipeline import Clock
from tests.fakes_quotas import MemoryUsage

OTHER = "src_bbbbbbbbbbbb"
CACHE_LIFE_S, SETTLES_S = 30.0, 30.0
LIMITS = Limits(workspace=100, source=50)


def source(id_: str = SOURCE) -> Source:
    keys = (WriteKey("a" * 36, True, "then"),)
    return Source(
        workspace_id=WORKSPACE, id=id_, name="Web", enabled=True, write_keys=keys, created_at="", updated_at=""
    )


@dataclass
class Hub:
    """What keeping quotas works with, in memory."""

    limits: Limits = LIMITS
    clock: Clock = field(default_factory=Clock)
    sources: dict[str, Source] = field(default_factory=lambda: {each: source(each) for each in (SOURCE, OTHER)})
    commits: list[Any] = field(default_factory=list)
    chores: list[Any] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    trouble: set[str] = field(default_factory=set)
    slow_s: float = 0.0

    def __post_init__(self) -> None:
        self.usage = MemoryUsage(self.clock)

    def read(self, _: str) -> Limits:
        return self.limits

    get = read

    def with_sources(self, count: int) -> Hub:
        self.sources = {name: source(name) for name in (f"src_{number:012d}" for number in range(count))}
        return self

    def in_bulk(self, moved: Mapping[str, int]) -> Hub:
        """So many sources of each workspace, for long."""
        self.sources = {}
        for workspace, count in moved.items():
            for number in range(count):
                name = f"src_{workspace[-1]}{number:011d}"
                bulk = {"workspace_id": workspace, "turn": 1, "turns_at": self.clock.now - 3_600}
                self.usage.mark(workspace, name)
                self.sources[name] = structs.replace(source(name), **bulk)
        return self

    def rated(self, rates: Sequence[int]) -> list[tuple[str, int]]:
        return list(zip(self.sources, rates, strict=True))

    def find(self, _: Any, __: str, source_id: str) -> Source | None:
        self.clock.now += self.slow_s
        self.looked_at.append(source_id)
        if source_id in self.trouble:
            raise StoreUnavailable("it hangs")
        return self.sources.get(source_id)

    def commit(self, steps: Any, entry: Any) -> tuple[()]:
        self.commits.append((steps, entry))
        self.sources[steps[0].after.id] = steps[0].after
        return ()

    @property
    def ports(self) -> keep_quotas.Ports:
        return keep_quotas.Ports(
            self.usage, self, self, lambda length: "x" * length, self.clock, CACHE_LIFE_S, SETTLES_S
        )

    def bring(self, events: int, source_id: str = SOURCE, lag_s: float | None = None) -> None:
        self.usage.add(WORKSPACE, source_id, events, lag_s)

    def hear_of(self, shard: str, lag_s: float) -> None:
        """A batch of a shard of bulk arrives, whoever's."""
        measure.note_lag(shard, self.clock.now - lag_s, self.measuring)

    def moved(self) -> Hub:
        self.bring(501)
        assert look_at(WORKSPACE, self.ports) == [SOURCE]
        self.clock.now = self.sources[SOURCE].turns_at + SETTLES_S
        return self

    def measure(self, *runs: Measured) -> None:
        measure.measure(runs, self.measuring)

    @property
    def measuring(self) -> measure.Ports:
        return measure.Ports(self.usage, self, self, self.clock)

    def send(self, chores: Any) -> None:
        self.chores += chores


def test_a_source_above_its_quota_is_told_the_bulk_stream_on_each_of_its_keys() -> None:
    hub = Hub()
    hub.bring(501)
    assert look_at(WORKSPACE, hub.ports) == [SOURCE]
    after = hub.sources[SOURCE]
    assert after.turn == 1
    assert 3 * CACHE_LIFE_S <= after.turns_at - hub.clock.now <= 3 * CACHE_LIFE_S + 1
    ((steps, entry),) = hub.commits
    assert [step.after for step in steps] == [after, sources.created(after)[1].item]
    assert (entry.action, entry.actor, entry.target) == ("source.to_bulk", "gatekeeper", SOURCE)
    assert hub.usage.marked() == [(WORKSPACE, SOURCE)]


def test_a_burst_of_ten_seconds_worth_is_within_a_quota() -> None:
    hub = Hub()
    hub.bring(500)
    assert look_at(WORKSPACE, hub.ports) == []


def test_of_a_workspace_above_its_quota_the_largest_source_goes() -> None:
    hub = Hub(Limits(workspace=60, source=50))
    hub.bring(200)
    hub.bring(450, OTHER)
    assert look_at(WORKSPACE, hub.ports) == [OTHER]


def test_a_move_is_announced_once() -> None:
    hub = Hub()
    hub.bring(501)
    look_at(WORKSPACE, hub.ports)
    assert look_at(WORKSPACE, hub.ports) == []
    assert len(hub.commits) == 1


def test_a_source_comes_back_when_it_was_calm_for_a_while() -> None:
    hub = Hub().moved()
    hub.bring(401)
    assert tick(hub.ports).moved == []
    hub.clock.now += LOOK_BACK_S
    assert tick(hub.ports).moved == []
    hub.clock.now += WINDOW_S
    hub.bring(400, lag_s=4.9)
    assert tick(hub.ports).moved == [SOURCE]
    assert hub.sources[SOURCE].turn == 2


def test_a_source_does_not_come_back_while_bulk_lags() -> None:
    hub = Hub().moved()
    hub.bring(1, lag_s=5.0)
    assert tick(hub.ports).moved == []


def test_a_source_of_which_nothing_is_measured_does_not_come_back_while_others_imports_keep_bulk_busy() -> None:
    hub = Hub().moved()
    hub.clock.now += LOOK_BACK_S
    hub.hear_of("b-1", 5.0)
    hub.hear_of("b-2", 0.1)
    assert tick(hub.ports).moved == []


def test_a_source_of_which_nothing_is_measured_comes_back_when_bulk_has_come_to_its_end() -> None:
    hub = Hub().moved()
    hub.hear_of("b-1", 300.0)
    hub.clock.now += LOOK_BACK_S + WINDOW_S
    hub.hear_of("b-1", 4.9)
    assert tick(hub.ports).moved == [SOURCE]


def test_a_lane_that_is_stuck_is_remembered_while_its_shards_others_go_on() -> None:
    hub = Hub().moved()
    hub.hear_of("b-1", 300.0)
    hub.clock.now += LOOK_BACK_S
    hub.hear_of("b-1", 0.1)
    assert tick(hub.ports).moved == []


def test_a_shard_that_was_late_and_falls_silent_is_empty_only_after_a_long_while() -> None:
    hub = Hub().moved()
    hub.hear_of("b-1", 300.0)
    hub.clock.now += SILENT_S - WINDOW_S
    hub.hear_of("b-2", 0.1)
    assert tick(hub.ports).moved == []
    hub.clock.now += 2 * WINDOW_S
    assert tick(hub.ports).moved == [SOURCE]


def test_a_source_is_forgotten_when_it_is_back_or_deleted() -> None:
    hub = Hub().moved()
    hub.sources[SOURCE] = structs.replace(hub.sources[SOURCE], turn=2, turns_at=hub.clock.now + 1)
    tick(hub.ports)
    assert hub.usage.marked()
    hub.clock.now += 1 + SETTLES_S
    tick(hub.ports)
    assert not hub.usage.marked()
    hub.usage.mark(WORKSPACE, "src_gone00000000")
    tick(hub.ports)
    assert not hub.usage.marked()


def test_a_tick_reads_a_workspaces_usage_once_however_many_of_its_sources_are_moved() -> None:
    hub = Hub().in_bulk({WORKSPACE: 30})
    assert len(tick(hub.ports).moved) == 30
    assert hub.usage.reads == [WORKSPACE]


def test_one_workspace_that_cannot_be_looked_at_keeps_up_no_other() -> None:
    hub = Hub().in_bulk({"ws_a": 2, "ws_b": 2, "ws_c": 2})
    hub.usage.trouble["ws_b"] = StoreUnavailable("it hangs")
    looked = tick(hub.ports)
    assert [hub.sources[name].workspace_id for name in looked.moved] == ["ws_a"] * 2 + ["ws_c"] * 2
    assert (looked.troubles, looked.is_whole) == ([("ws_b", "it hangs")], True)


def test_one_source_that_cannot_be_looked_at_keeps_up_no_other() -> None:
    hub = Hub().in_bulk({WORKSPACE: 3})
    first, hangs, last = hub.sources
    hub.trouble = {hangs}
    looked = tick(hub.ports)
    assert looked.moved == [first, last]
    assert looked.troubles == [(WORKSPACE, "it hangs")]


@given(st.dictionaries(st.sampled_from(["ws_a", "ws_b", "ws_c"]), st.integers(1, 9), min_size=1), st.floats(0.1, 8.0))
def test_ticks_that_do_not_come_to_all_end_in_time_and_have_everybodys_turn_come_as_often(
    moved: dict[str, int], slow_s: float
) -> None:
    """None is calm: bulk lags all the time."""
    hub = Hub(slow_s=slow_s).in_bulk(moved)
    for _ in range(20):
        hub.hear_of("b-1", 60.0)
        began_at = hub.clock.now
        tick(hub.ports)
        assert hub.clock.now <= began_at + TICK_S + slow_s
    turns = Counter(hub.looked_at)
    assert turns.keys() == hub.sources.keys()
    assert max(turns.values()) - min(turns.values()) <= 1


def test_a_batch_costs_one_write_for_each_source_and_workspace_and_a_chore_only_where_a_quota_is_passed() -> None:
    hub = Hub()
    runs = [Measured(run_of(*[event(n) for n in range(100)]), 0.0, False) for _ in range(5)]
    hub.measure(*runs)
    assert hub.chores == []
    hub.measure(Measured(run_of(), 0.0, False))
    hub.measure(Measured(run_of(), 0.0, False))
    assert [each.events for each in hub.usage.used.values()] == [502]
    assert hub.usage.writes == 6
    assert [(chore.workspace, chore.destination) for chore in hub.chores] == [(WORKSPACE, SOURCE)]


def test_many_small_sources_together_above_their_workspaces_quota_are_looked_at() -> None:
    """A hundred at 240 a second, of 5,000: each is far within its own quota, and in no batch is much of any."""
    hub = Hub(Limits(workspace=5_000, source=1_000)).with_sources(100)
    for _ in range(24):
        for name in hub.sources:
            hub.measure(Measured(run_of(*[event(n) for n in range(100)], source=name), 0.0, False))
    assert hub.chores
    moved = look_at(WORKSPACE, hub.ports)
    assert sum(each.events for each in hub.usage.read(WORKSPACE, 0) if each.source not in moved) <= 50_000
    assert len(moved) == 80


@settings(max_examples=50)
@given(
    rates=st.lists(st.integers(0, 300), min_size=1, max_size=12),
    workspace=st.integers(1, 200),
    batches=st.integers(1, 4),
)
def test_what_stays_live_is_within_both_quotas_once_two_windows_are_measured(
    rates: list[int], workspace: int, batches: int
) -> None:
    """Each window begins with whatever batches come first; a chore is done as soon as it is sent."""
    hub = Hub(Limits(workspace=workspace, source=20)).with_sources(len(rates))
    for _ in range(2):
        for turn in range(batches):
            hub.measure(*_shares(hub.rated(rates), turn, batches))
            while hub.chores:
                hub.chores.clear()
                look_at(WORKSPACE, hub.ports)
        hub.clock.now += WINDOW_S
    live = [rate for name, rate in hub.rated(rates) if not hub.sources[name].turn]
    assert all(rate <= 20 * WINDOW_S for rate in live)
    assert sum(live) <= workspace * WINDOW_S
    is_too_much = sum(rates) > workspace * WINDOW_S or max(rates) > 20 * WINDOW_S
    assert is_too_much == (len(live) < len(rates))


def _shares(rated: Iterable[tuple[str, int]], turn: int, batches: int) -> Iterator[Measured]:
    """What the sources bring of a window's events in one of so many batches."""
    for name, rate in rated:
        if share := [event(n) for n in range(turn, rate, batches)]:
            yield Measured(run_of(*share, source=name), 0.0, False)


def test_a_look_ends_in_time_and_the_next_goes_on() -> None:
    hub = Hub(Limits(workspace=1, source=1), slow_s=3.0).with_sources(20)
    moved: list[str] = []
    while len(moved) < 20:
        for name in hub.sources:
            hub.bring(100, name)
        began_at = hub.clock.now
        found = look_at(WORKSPACE, hub.ports)
        assert found
        assert hub.clock.now <= began_at + 3.0 * len(moved) + LOOK_S + 3.0
        moved += found
    assert len(set(moved)) == 20


def test_imports_fences_and_what_was_carried_use_no_quota() -> None:
    hub = Hub()
    hub.measure(
        *[Measured(run_of(**given), 0.0, True) for given in ({"bulk": True}, {"fence": True}, {"origin": "b-1"})]
    )
    assert hub.usage.used == {}


def test_the_lag_of_bulk_is_measured_by_its_own_records() -> None:
    hub = Hub()
    hub.measure(Measured(run_of(), hub.clock.now - 3.0, True), Measured(run_of(), hub.clock.now - 2.0, True))
    assert [each.lag_s for each in hub.usage.used.values()] == [3.0]


class Amid:
    """Does something before a call, the one of that number."""

    def __init__(self, of: Any, number: int, act: Callable[[], Any]) -> None:
        self._of, self._left, self._act = of, number, act

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._of, name)

        def call(*given: Any) -> Any:
            self._left -= 1
            if self._left == -1:
                self._act()
            return method(*given)

        return call


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("port", ["usage", "store"])
@pytest.mark.parametrize("is_tick_cut", [True, False])
def test_a_source_that_is_moved_while_a_tick_forgets_it_is_looked_after(
    is_tick_cut: bool, port: str, number: int
) -> None:
    hub = Hub()
    hub.usage.mark(WORKSPACE, SOURCE)  # it has come back
    hub.bring(501)
    cut = tick if is_tick_cut else partial(look_at, WORKSPACE)
    whole = partial(look_at, WORKSPACE, hub.ports) if is_tick_cut else partial(tick, hub.ports)
    cut(replace(hub.ports, **{port: Amid(getattr(hub.ports, port), number, whole)}))
    whole()
    assert hub.sources[SOURCE].turn == 1
    assert hub.usage.marks == {(WORKSPACE, SOURCE)}
