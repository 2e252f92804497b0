"""The round of all destinations: what nobody asks for is counted before it expires, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, FanoutReceipt, Receipt, RecordReceipt, deliver_receipt
from penstock.domain.config import Create
from penstock.domain.minutes import Figures
from penstock.domain.rounds import EVERY_S, Round
from penstock.domain.workspaces import REGISTER, Registration
from penstock.errors import StoreChanged, StoreUnavailable
from penstock.steps import count_books
from penstock.steps.count_books import Counted, Ports, tick
from penstock.steps.read_health import Books, roll_forward
from tests.fakes_control import Crash, MemoryStore
from tests.fakes_health import MemoryMinutes, MemoryRounds
from tests.steps.test_trace_event import destination

DAY_S = 86_400.0
KEPT_S = 15 * DAY_S
BEGIN = 1_790_000_000.0
WORKSPACES = ("ws_aaaaaaaaaaaa", "ws_bbbbbbbbbbbb", "ws_cccccccccccc")
FIRST = (WORKSPACES[0], "dst_000000000000")


@dataclass
class World:
    """Three workspaces, the second of which has no destinations; each look at the clock takes `slow_s`."""

    now: float = BEGIN
    slow_s: float = 0.0
    rows: dict[tuple[str, str], list[Receipt]] = field(default_factory=dict)
    store: MemoryStore = field(default_factory=MemoryStore)
    minutes: MemoryMinutes = field(default_factory=MemoryMinutes)
    rounds: MemoryRounds = field(default_factory=MemoryRounds)
    looked_at: list[tuple[str, str]] = field(default_factory=list)
    trouble: dict[tuple[str, str], BaseException] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for id_ in WORKSPACES:
            listed = Registration(workspace_id=REGISTER, id=id_, name="A", created_at="")
            self.store.commit([Create(listed)], None)
        for key in self.destinations:
            self.store.commit([Create(destination(workspace_id=key[0], id=key[1]))], None)

    @property
    def destinations(self) -> list[tuple[str, str]]:
        return [(owner, f"dst_{number:012d}") for owner in (WORKSPACES[0], WORKSPACES[2]) for number in range(3)]

    @property
    def ports(self) -> Ports:
        return Ports(self.rounds, self.store, Books(self, self.minutes, self.clock))

    def clock(self) -> float:
        self.now += self.slow_s
        return self.now

    def read(self, workspace: str, destination: str, begin: str, end: str) -> Iterator[Receipt]:
        key = (workspace, destination)
        self.looked_at.append(key)
        if key in self.trouble:
            raise self.trouble[key]
        first = iso(self.now - KEPT_S)
        found = [row for row in self.rows.get(key, []) if max(begin, first) <= row.at < end]
        yield from sorted(found, key=lambda row: row.at)

    def fan_out(self, key: tuple[str, str], second: float) -> None:
        receipt = FanoutReceipt(iso(BEGIN + second), {f"r-{second:.0f}": RecordReceipt(1, 0)})
        self.rows.setdefault(key, []).append(receipt)

    def total(self, key: tuple[str, str] = FIRST) -> Figures:
        return self.minutes.total(*key).figures


@pytest.fixture
def world() -> World:
    return World()


def test_what_nobody_asks_for_is_counted_before_it_expires(world: World) -> None:
    for hour in range(40 * 24):
        if hour < 20 * 24:
            for key in world.destinations:
                world.fan_out(key, 3_600.0 * hour)
        tick(world.ports)
        world.now += 3_600.0
    assert {world.total(key).accepted for key in world.destinations} == {20 * 24}
    assert list(world.minutes.minutes(*FIRST, "0", ":")) == []


def test_what_may_still_be_asked_for_by_minutes_is_left_to_whoever_asks(world: World) -> None:
    world.fan_out(FIRST, 0.0)
    world.now += 13 * DAY_S
    assert tick(world.ports) == Counted(6, 0)
    assert world.total() == Figures()
    assert roll_forward(*FIRST, world.ports.books).total.figures == Figures(accepted=1)
    assert [each.figures.accepted for each in world.minutes.minutes(*FIRST, "0", ":")] == [1]


def test_what_is_said_again_counts_once_though_the_round_has_counted_up_to_between_the_two(world: World) -> None:
    for seconds in (0.0, 1_800.0):
        told = deliver_receipt(iso(BEGIN + seconds), {"r-1-0": (0, [DELIVERED])})
        world.rows.setdefault(FIRST, []).append(told)
    world.now += 14 * DAY_S + 600.0
    tick(world.ports)
    assert world.total().delivered == 1
    world.now += 600.0
    assert roll_forward(*FIRST, world.ports.books).total.figures == Figures(delivered=1)


def test_a_round_goes_on_where_the_last_tick_had_no_more_time(world: World) -> None:
    world.slow_s = count_books.MOST_S / 10
    world.now += 15 * DAY_S
    done = [tick(world.ports).destinations for _ in range(6)]
    assert sum(done) == 6
    assert max(done) < 6
    assert world.looked_at == world.destinations
    assert world.rounds.reached.is_over


def test_the_next_round_begins_six_hours_after_the_last_one_did(world: World) -> None:
    assert tick(world.ports) == Counted(6, 0)
    world.now += EVERY_S - 60.0
    assert tick(world.ports) == Counted(0, 0)
    world.now += 60.0
    assert tick(world.ports) == Counted(6, 0)


def test_a_destination_that_kills_its_function_keeps_up_nobody_behind_it(world: World) -> None:
    world.trouble[FIRST] = Crash()
    with pytest.raises(Crash):
        tick(world.ports)
    assert tick(world.ports) == Counted(5, 0)
    assert world.looked_at == world.destinations


def test_a_round_that_left_something_uncounted_is_followed_by_another_at_once(world: World) -> None:
    world.trouble[FIRST] = StoreUnavailable("injected")
    world.fan_out(FIRST, 0.0)
    world.now += 14 * DAY_S + 600.0
    assert tick(world.ports) == Counted(6, 1)
    world.trouble.clear()
    assert tick(world.ports) == Counted(6, 0)
    assert world.total().accepted == 1
    assert tick(world.ports) == Counted(0, 0)


def test_of_two_ticks_at_once_one_leaves(world: World) -> None:
    save = world.rounds.save

    def slow(before: Round, after: Round) -> None:
        if after.destination == "dst_000000000001":
            raise StoreChanged("another was faster")
        save(before, after)

    world.rounds.save = slow  # type: ignore[method-assign]
    assert tick(world.ports) == Counted(1, 0)
    assert world.rounds.reached.destination == "dst_000000000000"


def test_a_round_comes_past_workspaces_without_destinations_however_many(world: World) -> None:
    for number in range(150):
        listed = Registration(workspace_id=REGISTER, id=f"ws_empty{number:07d}", name="A", created_at="")
        world.store.commit([Create(listed)], None)
    world.slow_s = count_books.MOST_S / 10
    ticks = 0
    while not (world.rounds.reached.is_over and ticks):
        tick(world.ports)
        ticks += 1
    assert world.looked_at == world.destinations
