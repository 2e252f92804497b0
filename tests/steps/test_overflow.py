"""Overflow: whatever spills, is parked and comes back, each lane's jobs reach their tool in order and none is lost."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from penstock.domain import overflow as limits
from penstock.domain.dedup import KeyState, Owner
from penstock.domain.job import encode_job, group_of
from penstock.domain.overflow import Depth, LaneKey
from penstock.errors import QueueUnavailable, StoreUnavailable
from penstock.steps import park_queue, refill
from penstock.steps.park_queue import Shut, is_parked_whole
from penstock.steps.park_queue import park_queue as park
from penstock.steps.refill import Message
from penstock.steps.refill import refill as refill_lanes
from penstock.steps.spill import Spill
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, event, job_of, run_of, url_of
from tests.fakes_overflow import MemoryOverflow
from tests.fakes_pipeline import Clock, Fifo, MemoryQueues

URL = url_of(DESTINATION)
KEYS = ("ada", "grace")


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


class Stormy:
    def __init__(self, port: Any, weather: Weather, trouble: type[Exception]) -> None:
        self._port, self._weather, self._trouble = port, weather, trouble

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *given: self._weather.effect(lambda: method(*given), self._trouble)


@dataclass
class Queues:
    """The destination's queue, as fan-out, the gatekeeper and deliver see it."""

    fifo: Fifo

    def jobs_in(self, queue_url: str) -> int:
        return len(self.fifo.held)

    def send(self, queue_url: str, messages: Any) -> set[str]:
        assert len({message.group for message in messages}) == len(messages)
        for message in messages:
            self.fifo.take(message.group, message.id, message.body)
        return set()

    def receive(self, queue_url: str, hidden_s: int) -> Any:
        return self.fifo.receive()

    def waiting(self, queue_url: str) -> int:
        return len(self.fifo.held)

    def delete(self, queue_url: str, receipts: Any) -> None:
        for receipt in receipts:
            self.fifo.delete(receipt)


@dataclass
class Pipe:
    """One destination: a stream of jobs for each key, its fan-out, its queue, its overflow."""

    seed: int
    clock: Clock = field(default_factory=Clock)
    forgets_marks: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.weather = Weather(random.Random(self.seed + 1))
        self.memory = MemoryOverflow(self.clock)
        self.queues = Queues(Fifo(self.clock))
        self.overflow = Stormy(self.memory, self.weather, StoreUnavailable)
        self.stormy = Stormy(self.queues, self.weather, QueueUnavailable)
        self.streams = {key: deque(range(40)) for key in KEYS}
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.is_shut = False
        self.shut = Shut(WORKSPACE, DESTINATION, URL, 0)
        self.spill = self._new_spill()

    def _new_spill(self) -> Spill:
        """A function that starts cold knows nothing of depths."""
        return Spill(self.overflow, self.stormy, self.clock)

    def fan_out(self) -> None:
        """The next jobs of one key: to the overflow or to the queue; what fails comes again from the first of them."""
        key = self.chance.choice(KEYS)
        numbers = list(self.streams[key])[: self.chance.randint(1, 4)]
        if not numbers:
            return
        if self.chance.random() < 0.2:
            self.spill = self._new_spill()
        owner = Owner(WORKSPACE, SOURCE, group_of(SOURCE, key))
        lane = LaneKey(WORKSPACE, DESTINATION, owner.group)
        state = KeyState(frozenset(() if self.forgets_marks else self.memory.marks[owner]))
        with suppress(Crash, StoreUnavailable, QueueUnavailable):
            messages = [self._message(key, number) for number in numbers]
            done = 0
            if self.spill.is_due(lane, URL, state):
                done = self.spill.append(lane, owner, state, messages)
            for message in messages[done:]:
                self.stormy.send(URL, [message])
                self.spill.sent(DESTINATION, lane.group)
            for _ in numbers:
                self.streams[key].popleft()

    def _message(self, key: str, number: int) -> Message:
        job = job_of(run_of(event(number, userId=key), key=key), 100 * KEYS.index(key) + number)
        return Message(job.id, group_of(SOURCE, key), encode_job(job))

    def deliver(self) -> None:
        """Jobs that the tool takes; some of them come again."""
        if self.is_shut:
            return
        for each in self.queues.fifo.receive(self.chance.randint(1, 10)):
            key = next(key for key in KEYS if f'"key":"{key}"' in each.body)
            self.taken[key].append(int(each.body.partition('"m-')[2].partition('"')[0]))
            self.queues.fifo.delete(each.receipt)

    def refill(self) -> None:
        if not self.is_shut:
            ports = refill.Ports(self.overflow, self.stormy, self.clock)
            with suppress(Crash, StoreUnavailable, QueueUnavailable):
                refill_lanes(WORKSPACE, DESTINATION, URL, ports)

    def park(self) -> None:
        if self.is_shut:
            left = iter(range(self.chance.randint(1, 3)))
            with suppress(Crash, StoreUnavailable, QueueUnavailable):
                park(self.shut, self.parking(lambda: next(left, None) is not None))

    def open(self) -> None:
        with suppress(Crash, StoreUnavailable, QueueUnavailable):
            self.is_shut = not is_parked_whole(self.shut, self.parking(lambda: True))

    def parking(self, has_time: Callable[[], bool]) -> park_queue.Ports:
        return park_queue.Ports(self.overflow, self.stormy, has_time)

    def step(self) -> None:
        turn = self.chance.random()
        if turn < 0.35:
            self.fan_out()
        elif turn < 0.6:
            self.deliver()
        elif turn < 0.75:
            self.refill()
        elif turn < 0.85:
            self.park()
        elif turn < 0.95:
            self.clock.now += self.chance.choice([1, 5, 20, 61])
        elif self.is_shut:
            self.open()
        else:
            self.is_shut = True
            self.clock.now += 0.001
            self.shut = Shut(WORKSPACE, DESTINATION, URL, int(self.clock.now * 1000))

    def live(self) -> None:
        for _ in range(600):
            self.step()
        self.weather.is_calm = True
        for _ in range(2_000):
            if not any(self.streams.values()) and not self.queues.fifo.held and not self.memory.states:
                return
            if self.is_shut:
                self.open()
            self.step()
            self.clock.now += 5
        raise AssertionError("the pipe never comes to rest")

    def check(self) -> None:
        for key in KEYS:
            assert list(dict.fromkeys(self.taken[key])) == list(range(40))
        assert not any(self.memory.jobs.values())


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues that are deep soon, and lanes that are long soon, so that little is needed to see all of it."""
    monkeypatch.setattr(limits, "DEEP", 4)
    monkeypatch.setattr(limits, "MOST_WAITING", 3)
    monkeypatch.setattr(limits, "REFILLED_BELOW", 8)
    monkeypatch.setattr(limits, "REFILLED_AT_ONCE", 5)
    monkeypatch.setattr(Depth, "has_to_ask", lambda self: True)


@pytest.mark.parametrize("seed", range(150))
def test_lanes_keep_their_order_and_lose_nothing_wherever_their_jobs_wait(shallow: None, seed: int) -> None:
    pipe = Pipe(seed * 2)
    pipe.live()
    pipe.check()


def test_a_key_that_forgets_its_mark_is_out_of_order_and_that_is_seen(shallow: None) -> None:
    seen = 0
    for seed in range(20):
        pipe = Pipe(seed * 2, forgets_marks=True)
        pipe.live()
        try:
            pipe.check()
        except AssertionError:
            seen += 1
    assert seen >= 5


def test_a_queue_that_is_not_deep_is_asked_for_its_depth_once_in_a_thousand_jobs() -> None:
    asked = []

    class Depths:
        def jobs_in(self, queue_url: str) -> int:
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
        def jobs_in(self, queue_url: str) -> int:
            return 20_000

    spill = Spill(MemoryOverflow(Clock()), Depths(), Clock())
    hot, cool = (LaneKey(WORKSPACE, DESTINATION, group) for group in ("hot", "cool"))
    for _ in range(1_000):
        assert spill.is_due(hot, URL, KeyState()) is False
        spill.sent(DESTINATION, "hot")
    assert spill.is_due(hot, URL, KeyState()) is True
    assert spill.is_due(cool, URL, KeyState()) is False


def test_an_unreadable_job_stays_in_the_queue_when_it_is_parked() -> None:
    clock = Clock()
    queues = Queues(MemoryQueues(clock).make(URL))
    queues.fifo.take("odd", "1", "no job")
    memory = MemoryOverflow(clock)
    turns = iter([True, False])
    assert park(Shut(WORKSPACE, DESTINATION, URL, 1), park_queue.Ports(memory, queues, lambda: next(turns))) == 0
    assert len(queues.fifo.held) == 1
