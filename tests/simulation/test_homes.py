"""A source that is moved to the bulk stream and back again while events flow: each key's stay in order, none is lost.

Both fan-outs keep order by the real step. Each of its effects may fail, be done without an answer, be the last thing
that a Lambda does, or have the other stream's fan-out do a whole batch in between. Either stream may lag by several
turns.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from penstock.domain import home
from penstock.domain.event import iso
from penstock.domain.home import Act, Line
from penstock.domain.run import Run, decode_run
from penstock.domain.stream_record import BULK, StreamRecord
from penstock.domain.turns import LATE_S, Announced, is_bulk, may_announce, next_turn, turn_of
from penstock.errors import StoreUnavailable, Unavailable
from penstock.steps import keep_order
from penstock.steps.keep_order import Arranged, Entry
from tests.builders_pipeline import SHARD, event, plain, run_of
from tests.fakes_homes import MemoryHomes
from tests.fakes_pipeline import Inline

KEYS = ("ada", "grace", "edsger")
SETTLES_S, CACHE_LIFE_S = 30.0, 10.0
TABS = 2
STEPS = 500


class Crash(BaseException):
    """The Lambda is gone: nothing of ours catches this."""


@dataclass
class Put:
    """A request on its way into a stream."""

    lands_at: float
    run: Run
    stream: list[Run]


@dataclass
class Hub:
    """A source's clients, both streams and both fan-outs, in one thread and simulated time."""

    seed: int
    now: float = 1_790_000_000.0
    is_calm: bool = False
    live: list[Run] = field(default_factory=list)
    bulk: list[Run] = field(default_factory=list)
    sent: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    asked: dict[str, list[int]] = field(default_factory=lambda: {key: [] for key in KEYS})
    answered: dict[tuple[str, int], int] = field(default_factory=dict)
    flying: dict[tuple[str, int], Put] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.homes = MemoryHomes()
        self.told = [(0.0, Announced())]
        self.reached = {False: 0, True: 0}
        self.busy: set[bool] = set()
        self.ticks = 0

    # clients

    def send(self) -> None:
        """Each tab of a user waits for the answer before it sends its next; the user's two tabs do not."""
        idle = [(key, tab) for key in KEYS for tab in range(TABS) if (key, tab) not in self.flying]
        if not idle:
            return
        key, tab = self.chance.choice(idle)
        self.ticks += 1
        self.asked[key].append(self.ticks)
        fresh, stale = (
            max(n for n, (at, _) in enumerate(self.told) if at <= self.now - age) for age in (0, CACHE_LIFE_S)
        )
        turn = turn_of(self.told[self.chance.randint(stale, fresh)][1], self.now, SETTLES_S)
        received_at = iso(datetime.fromtimestamp(self.now, UTC))
        given = {"turn": turn.number, "early": turn.early, "late": turn.late, "received_at": received_at}
        run = run_of(event(len(self.asked[key])), key=key, **given)
        takes_s = self.chance.choice([0.0, 0.1, 1.0, SETTLES_S - 1])
        self.flying[key, tab] = Put(self.now + takes_s, run, self.bulk if turn.is_bulk else self.live)

    def land(self) -> None:
        for tab in [tab for tab, put in self.flying.items() if put.lands_at <= self.now]:
            put = self.flying.pop(tab)
            put.stream.append(put.run)
            self.ticks += 1
            self.answered[put.run.key, plain(put.run.events[0])["properties"]["n"]] = self.ticks

    def announce(self) -> None:
        last = self.told[-1][1]
        if may_announce(last, self.now, SETTLES_S):
            self.told.append((self.now, next_turn(last, self.now, CACHE_LIFE_S)))

    def pass_by(self) -> None:
        """Days without an event, until the last turn is late any moment; by then nothing is in a stream any more."""
        for _ in range(STEPS):
            self.now += 5.0
            self.land()
            self.fan_out(self.chance.random() < 0.5)
        if self.is_at_rest():
            self.now = max(self.now, self.told[-1][1].at + LATE_S - self.chance.choice([0.0, 2.0, 10.0]))

    # the fan-outs

    def effect(self, act: Callable[[], Any]) -> Any:
        if self.strikes(0.15):
            self.fan_out(not next(iter(self.busy)))
        if self.strikes(0.01):
            raise Crash
        if self.strikes(0.02):
            raise StoreUnavailable("injected, not done")
        done = act()
        if self.strikes(0.01):
            raise Crash
        if self.strikes(0.02):
            raise StoreUnavailable("injected, though done")
        return done

    def strikes(self, probability: float) -> bool:
        return not self.is_calm and self.chance.random() < probability

    def fan_out(self, is_bulk: bool) -> None:
        """One batch of a stream, as its poller does it; never two of one stream at once."""
        if is_bulk in self.busy:
            return
        self.busy.add(is_bulk)
        stream, first = self.bulk if is_bulk else self.live, self.reached[is_bulk]
        runs = stream[first : first + self.chance.randint(1, 5)]
        prefix = (BULK if is_bulk else "") + SHARD
        entries = [Entry(f"{prefix}-{number:056d}", run) for number, run in enumerate(runs, first + 1)]
        try:
            with suppress(Crash, Unavailable):
                self.reached[is_bulk] = first + self.fanned_out(entries)
        finally:
            self.busy.discard(is_bulk)

    def fanned_out(self, entries: Sequence[Entry]) -> int:
        ports = self.ports()
        arranged = keep_order.arrange(entries, ports)
        return keep_order.finish(arranged, self.sent_upto(arranged), ports)

    def sent_upto(self, arranged: Arranged) -> int:
        """Sends what may be sent; a key whose run was refused sends nothing more."""
        refused: dict[str, int] = {}
        for place in arranged.to_send:
            run = arranged.entries[place].run
            if run.key in refused or self.strikes(0.05):
                refused.setdefault(run.key, place)
                continue
            numbers = [plain(each)["properties"]["n"] for each in run.events]
            with suppress(StoreUnavailable):
                self.effect(lambda key=run.key, numbers=numbers: self.sent[key].extend(numbers))
                continue
            refused.setdefault(run.key, place)
        return min(refused.values(), default=arranged.end)

    def ports(self) -> keep_order.Ports:
        return keep_order.Ports(
            homes=_Stormy(self.homes, self),
            live=_Stormy(_Stream(self.live), self),
            bulk=_Stormy(_Stream(self.bulk), self),
            threads=Inline(),
            clock=lambda: self.now,
            sleep=self.sleep,
            settles_s=SETTLES_S,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.strikes(0.3):
            self.fan_out(False)

    # what happens

    def step(self, lag: float) -> None:
        """`lag` is how seldom the live stream's fan-out gets to work, against that of the bulk stream."""
        self.now += self.chance.choice([0.0, 0.1, 0.5, 2.0])
        self.land()
        turn = self.chance.random()
        if turn < 0.4:
            self.send()
        elif turn < 0.44:
            self.announce()
            self.now += self.chance.choice([0, 10, 40, 90])
        elif turn < 0.445:
            self.pass_by()
        else:
            self.fan_out(self.chance.random() < lag)

    def run(self) -> None:
        for number in range(STEPS):
            if number % 100 == 0:
                lag = self.chance.choice([0.03, 0.3, 0.5, 0.7, 0.97])
            self.step(lag)
        self.is_calm = True
        for _ in range(3 * STEPS):
            self.now += 5.0
            self.land()
            self.fan_out(self.chance.random() < 0.5)
            if self.is_at_rest():
                return
        raise AssertionError("it never comes to rest")

    def is_at_rest(self) -> bool:
        return not self.flying and self.reached == {False: len(self.live), True: len(self.bulk)}

    def check(self) -> None:
        """What was answered before another was sent goes before it."""
        for key in KEYS:
            firsts = list(dict.fromkeys(self.sent[key]))
            assert sorted(firsts) == list(range(1, len(self.asked[key]) + 1)), (self.seed, key)
            latest = 0
            for number in firsts:
                assert self.answered[key, number] > latest, (self.seed, key, number)
                latest = max(latest, self.asked[key][number - 1])
        assert not any(found.behind for found in self.homes.items.values())


@dataclass
class _Stream:
    runs: list[Run]

    def put(self, records: Sequence[StreamRecord]) -> None:
        assert len({record.partition_key for record in records}) == len(records)
        self.runs += [decode_run(record.data) for record in records]


class _Stormy:
    """A port whose every call is an effect."""

    def __init__(self, port: Any, hub: Hub) -> None:
        self._port, self._hub = port, hub

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *given: self._hub.effect(lambda: method(*given))


@pytest.mark.parametrize("seed", range(150))
def test_every_keys_events_are_sent_in_order_wherever_its_source_is(seed: int) -> None:
    hub = Hub(seed)
    hub.run()
    hub.check()


def test_the_simulation_goes_everywhere() -> None:
    """Turns are taken, keys move and come home, runs are carried from either stream, and late ones carried or not."""
    origins, turns, are_late = set(), set(), set()
    for seed in range(20):
        hub = Hub(seed)
        hub.run()
        origins |= {run.origin.startswith(BULK) for run in hub.bulk if run.origin}
        turns |= {found.turn % 2 for found in hub.homes.items.values()}
        are_late |= {bool(run.origin) for run in (*hub.live, *hub.bulk) if run.late and not is_bulk(run.turn)}
        assert any(run.fence for run in hub.live)
    assert (origins, turns, are_late) == ({False, True}, {0, 1}, {False, True})


# Faults planted on purpose.


class AsksNobody(Hub):
    """Bulk fan-out takes every key for its own."""

    def fanned_out(self, entries: Sequence[Entry]) -> int:
        for entry in entries:
            if home.key_of(entry.run).group and entry.id.startswith(BULK):
                self.homes.move(home.key_of(entry.run), entry.run.turn)
        return super().fanned_out(entries)


class MovesTooSoon(Hub):
    """The live stream's fan-out lets a key move before what came ahead of the fence is sent."""

    def fanned_out(self, entries: Sequence[Entry]) -> int:
        for run in (entry.run for entry in entries if entry.run.fence):
            self.homes.move(home.key_of(run), run.turn)
        return super().fanned_out(entries)


class ComesHomeAtOnce(Hub):
    """A key comes home with its first carried run, whatever else is behind."""

    def ports(self) -> keep_order.Ports:
        return replace(super().ports(), homes=_Stormy(_Hasty(self.homes), self))


class _Hasty:
    def __init__(self, homes: MemoryHomes) -> None:
        self.read, self.carry, self.move = homes.read, homes.carry, homes.move
        self._homes = homes

    def sent(self, key: Any, names: Any, homecoming: int | None) -> None:
        self._homes.sent(key, names, None)
        if homecoming:
            self._homes.move(key, homecoming)


class WaitsForNoStragglers(Hub):
    """What was received just after a switch is treated like any other."""

    def send(self) -> None:
        super().send()
        for put in self.flying.values():
            put.run = structs.replace(put.run, early=False)


class ForgetsTurns(Hub):
    """What is late is sent at once, whatever was carried before it."""

    def send(self) -> None:
        super().send()
        for put in self.flying.values():
            if put.run.late and put.stream is self.live:
                put.run = structs.replace(put.run, turn=0)


@pytest.mark.parametrize("faulty", [AsksNobody, MovesTooSoon, ComesHomeAtOnce, WaitsForNoStragglers, ForgetsTurns])
def test_a_planted_fault_is_seen(faulty: type[Hub]) -> None:
    for seed in range(200):
        hub = faulty(seed)
        try:
            hub.run()
            hub.check()
        except AssertionError:
            return
    raise AssertionError("nobody saw it")


def test_live_fan_out_carries_no_more_runs_of_a_key_than_fit_into_memory() -> None:
    line = Line(home.Home(1, frozenset(home.Name(0, number) for number in range(home.MOST_BEHIND))))
    assert line.live(run_of(turn=2), home.Name(2, 5)) is Act.HOLD
    assert line.live(run_of(turn=2), home.Name(0, 5)) is Act.CARRY


def test_the_bulk_stream_never_waits_for_what_is_behind_itself() -> None:
    line = Line(home.Home(1, frozenset(home.Name(0, number) for number in range(home.MOST_BEHIND))))
    assert line.bulk(run_of(turn=1), home.Name(1, 5)) is Act.CARRY
