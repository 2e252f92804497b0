"""Overflow: whatever spills, is parked and comes back, each lane's jobs reach their tool in order and none is lost."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.dedup import KeyState, Owner
from penstock.domain.destinations import import_name
from penstock.domain.gate import GateState
from penstock.domain.job import encode_job, group_of
from penstock.domain.overflow import PARKED_AFTER_S, LaneKey, Limits, QueueKey
from penstock.errors import QueueUnavailable, StoreUnavailable, Unavailable
from penstock.steps import park_queue
from penstock.steps.fan_out import Message
from penstock.steps.keep_gates import Ports, tend, tend_all, tick
from penstock.steps.keep_overflow import KeepOverflow
from penstock.steps.park_queue import Shut
from penstock.steps.park_queue import park_queue as park
from penstock.steps.probe_queue import Received, Sent
from penstock.steps.spill import Spill
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, event, job_of, run_of
from tests.fakes_overflow import ANY_SIZE, MemoryOverflow
from tests.fakes_pipeline import Clock
from tests.gate_world import IMPORT_MAPPING, IMPORT_URL, KEY, URL, World

KEYS = ("ada", "grace")
SHALLOW = Limits(deep=4, asked_every=0, most_waiting=3, refilled_below=8, refilled_at_once=2)


class Crash(BaseException):
    """The Lambda is gone: nothing of ours catches this."""


@dataclass
class Weather:
    chance: random.Random
    is_calm: bool = False

    def effect(self, act: Callable[[], Any], trouble: type[Exception]) -> Any:
        """Do it, or not, or without an answer, or with a crash before or after."""
        turn = 1.0 if self.is_calm else self.chance.random()
        if turn < 0.04:
            raise Crash
        if turn < 0.08:
            raise trouble("injected, not done")
        done = act()
        if turn < 0.12:
            raise Crash
        if turn < 0.16:
            raise trouble("injected, though done")
        return done


class Half(MemoryOverflow):
    """Now and then it stores some of the jobs that it is given, and not those before them."""

    weather: Weather

    def _put_all(self, lane: LaneKey, placed: Sequence[tuple[str, Any]]) -> None:
        kept = [each for each in placed if self.weather.is_calm or self.weather.chance.random() > 0.15]
        super()._put_all(lane, kept)
        if len(kept) < len(placed):
            raise StoreUnavailable("injected, half done")


class Leaves(Half):
    """Leaves what was not all stored where it is."""

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None:
        sent = {each.place for each in self.stored(lane, 10_000, ANY_SIZE)}
        super().remove(lane, [place for place in places if place in sent])


class Stormy:
    def __init__(self, port: Any, weather: Weather, trouble: type[Exception]) -> None:
        self._port, self._weather, self._trouble = port, weather, trouble

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *given: self._weather.effect(lambda: method(*given), self._trouble)


class Hasty(KeepOverflow):
    """Says that all of a queue is parked once some of it is."""

    def park(self, queues: Sequence[QueueKey], parking: int) -> bool:
        super().park(queues, parking)
        return True


@dataclass
class Pipe:
    """One destination: a stream of jobs for each key, fan-out, queue, overflow, gate, the gatekeeper and the tool.

    The jobs of keys that are `imported` have a queue of their own, behind the same gate.
    """

    seed: int
    imported: tuple[str, ...] = ()
    forgets_marks: bool = False
    keeps: type[KeepOverflow] = KeepOverflow
    outside: type[Half] = Half

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.weather = Weather(random.Random(self.seed + 1))
        self.world = World()
        self.clock = self.world.clock
        self.memory = self.world.waiting = self.outside(self.clock)
        self.memory.weather, self.world.gates.turns = self.weather, self.memory.due
        self.fifos = {URL: self.world.queue} | ({IMPORT_URL: self.world.equip_for_imports()} if self.imported else {})
        self.world.queues.at_once = 2
        self.overflow = Stormy(self.memory, self.weather, StoreUnavailable)
        self.filled = Stormy(self.world.filled, self.weather, QueueUnavailable)
        self.streams = {key: deque(range(40)) for key in KEYS}
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.is_down = False
        self.spill = self._new_spill()

    def _new_spill(self) -> Spill:
        """A function that starts cold knows nothing of depths."""
        return Spill(self.overflow, self.filled, self.clock, SHALLOW)

    @property
    def ports(self) -> Ports:
        emptied = Stormy(self.world.queues, self.weather, QueueUnavailable)
        overflow = self.keeps(self.overflow, emptied, self.filled, self.world.progress, self._hurried, SHALLOW)
        book = Stormy(self.world.gates, self.weather, StoreUnavailable)
        return self.world.ports(book=book, queue=emptied, deliver=self.probe, overflow=overflow)

    def _hurried(self) -> float:
        """Sometimes there is no time for more."""
        return self.clock.now + (0.0 if self.weather.is_calm or self.chance.random() < 0.7 else 30.0)

    def fan_out(self) -> None:
        """The next jobs of one key: to the overflow or to the queue; what fails comes again from the first of them."""
        key = self.chance.choice(KEYS)
        numbers = list(self.streams[key])[: self.chance.randint(1, 4)]
        if not numbers:
            return
        if self.chance.random() < 0.2:
            self.spill = self._new_spill()
        owner = Owner(WORKSPACE, SOURCE, group_of(SOURCE, key))
        name, url = (import_name(DESTINATION), IMPORT_URL) if key in self.imported else (DESTINATION, URL)
        lane = LaneKey(WORKSPACE, name, owner.group)
        state = KeyState(frozenset(() if self.forgets_marks else self.memory.marks[owner]))
        with suppress(Crash, StoreUnavailable, QueueUnavailable):
            messages = [self._message(key, number) for number in numbers]
            done = 0
            if self.spill.is_due(lane, url, state):
                done = self.spill.append(lane, owner, state, messages)
            for message in messages[done:]:
                self.filled.send(url, [message])
                self.spill.sent(name, lane.group)
            for _ in numbers:
                self.streams[key].popleft()

    def _message(self, key: str, number: int) -> Message:
        job = job_of(run_of(event(number, userId=key), key=key), 100 * KEYS.index(key) + number)
        return Message(job.id, group_of(SOURCE, key), encode_job(job))

    def deliver(self) -> None:
        """What a mapping hands to deliver, while the gate is open; now and then a deletion is lost."""
        gate, url = self.world.gate, self.chance.choice(list(self.fifos))
        if not self._is_on(url) or gate.state is not GateState.OPEN:
            return
        if self.is_down:
            self.world.gates.save(*KEY, gate, moves.closed(gate, gates.FAILING, self.clock.now))
            return
        for each in self.fifos[url].receive(self.chance.randint(1, 10)):
            self._take(each.body)
            if self.weather.is_calm or self.chance.random() < 0.95:
                self.fifos[url].delete(each.receipt)

    def _is_on(self, url: str) -> bool:
        return self.world.mapped.on if url == URL else self.world.switch.mappings[IMPORT_MAPPING].on

    def probe(self, destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
        if self.is_down:
            return Sent(frozenset(job.id for job in jobs), 0)
        for each in jobs:
            self._take(each.body)
        return Sent(frozenset(), len(jobs))

    def _take(self, body: str) -> None:
        key = next(key for key in KEYS if f'"key":"{key}"' in body)
        self.taken[key].append(int(body.partition('"m-')[2].partition('"')[0]))

    def tend(self) -> None:
        with suppress(Crash, Unavailable):
            tend(*KEY, self.ports)

    def move_by_hand(self) -> None:
        gate, now = self.world.gate, self.clock.now
        is_paused = gate.state is GateState.PAUSED
        after = moves.resumed(gate, "ada", now) if is_paused else moves.paused(gate, "holiday", "ada", now)
        self.world.gates.save(*KEY, gate, after)

    def step(self) -> None:
        turn = self.chance.random()
        if turn < 0.2:
            self.fan_out()
        elif turn < 0.4:
            self.deliver()
        elif turn < 0.75:
            self.tend()
        elif turn < 0.9:
            self.clock.now += self.chance.choice([1, 5, 20, 61])
        elif turn < 0.94:
            self.clock.now += self.chance.choice([400, PARKED_AFTER_S])
        elif turn < 0.97:
            self.is_down = not self.is_down
        else:
            self.move_by_hand()

    def live(self) -> None:
        """Through the storm; then whatever is left is done by chores and ticks alone."""
        for _ in range(600):
            self.step()
        self.weather.is_calm, self.is_down = True, False
        if self.world.gate.state is GateState.PAUSED:
            self.move_by_hand()
        for turn in range(3_000):
            if self.is_at_rest:
                return
            self.fan_out()
            self.deliver()
            tend_all(self.world.chores.take(), self.ports)
            self.clock.now += 5
            if turn % 12 == 0:
                tick(self.ports)
        raise AssertionError("the pipe never comes to rest")

    @property
    def is_at_rest(self) -> bool:
        are_held = any(fifo.held for fifo in self.fifos.values())
        is_empty = not (any(self.streams.values()) or are_held or self.memory.states or self.memory.turns)
        return is_empty and self.world.gate.is_flowing and all(map(self._is_on, self.fifos))

    def check(self) -> None:
        for key in KEYS:
            assert list(dict.fromkeys(self.taken[key])) == list(range(40))
        assert not any(self.memory.jobs.values())


def out_of_order(**planted: Any) -> int:
    """How many of some pipes lose the order with a planted fault."""
    seen = 0
    for seed in range(30):
        pipe = Pipe(seed * 2, **planted)
        try:
            pipe.live()
            pipe.check()
        except AssertionError:
            seen += 1
    return seen


@pytest.mark.parametrize("seed", range(150))
def test_lanes_keep_their_order_and_lose_nothing_wherever_their_jobs_wait(seed: int) -> None:
    pipe = Pipe(seed * 2, imported=KEYS[1:] if seed % 2 else ())
    pipe.live()
    pipe.check()


def test_a_key_that_forgets_its_mark_is_out_of_order_and_that_is_seen() -> None:
    assert out_of_order(forgets_marks=True) >= 5


def test_a_gate_that_opens_before_all_is_parked_lets_jobs_out_of_order_and_that_is_seen() -> None:
    assert out_of_order(keeps=Hasty) >= 3


def test_what_was_half_stored_is_out_of_order_if_it_is_left_and_that_is_seen() -> None:
    assert out_of_order(outside=Leaves) >= 3


def test_a_queue_that_is_not_deep_is_asked_for_its_depth_once_in_a_thousand_jobs() -> None:
    asked = []

    class Depths:
        def waiting(self, queue_url: str) -> int:
            asked.append(queue_url)
            return 19_999

    spill = Spill(MemoryOverflow(Clock()), Depths(), Clock())
    lane = LaneKey(WORKSPACE, DESTINATION, "g")
    for _ in range(2_500):
        assert spill.is_due(lane, URL, KeyState()) is False
        spill.sent(DESTINATION, "g")
    assert len(asked) == 3


def test_in_a_deep_queue_a_lane_gets_a_thousand_jobs_and_others_go_on() -> None:
    class Depths:
        def waiting(self, queue_url: str) -> int:
            return 20_000

    spill = Spill(MemoryOverflow(Clock()), Depths(), Clock())
    hot, cool = (LaneKey(WORKSPACE, DESTINATION, group) for group in ("hot", "cool"))
    for _ in range(1_000):
        assert spill.is_due(hot, URL, KeyState()) is False
        spill.sent(DESTINATION, "hot")
    assert spill.is_due(hot, URL, KeyState()) is True
    assert spill.is_due(cool, URL, KeyState()) is False


def test_a_queue_that_gives_no_answer_is_asked_again_only_after_as_many_jobs() -> None:
    asked = []

    class Mute:
        def waiting(self, queue_url: str) -> int:
            asked.append(queue_url)
            raise QueueUnavailable("no answer")

    spill = Spill(MemoryOverflow(Clock()), Mute(), Clock())
    for number in range(200):
        assert spill.is_due(LaneKey(WORKSPACE, DESTINATION, f"g-{number}"), URL, KeyState()) is False
    assert len(asked) == 1


def test_an_unreadable_job_stays_in_the_queue_when_it_is_parked() -> None:
    world = World()
    world.queue.take("odd", "1", "no job")
    turns = iter([True, False])
    ports = park_queue.Ports(world.waiting, world.queues, world.progress, lambda: next(turns))
    assert park(Shut(QueueKey(WORKSPACE, DESTINATION, URL), 1), ports) == 0
    assert len(world.queue.held) == 1
