"""Stands for the table of rates, runs the contract tests of what it stands for, and a destination that limits."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy
from penstock.domain.rate import Lease, RateState
from penstock.errors import StoreUnavailable
from penstock.steps.keep_rate import KeepRate
from tests.builders_pipeline import DESTINATION, WORKSPACE

BATCH = 10


class MemoryRates:
    def __init__(self) -> None:
        self.states: dict[tuple[str, str], RateState] = {}
        self.reads = self.writes = self.lost = 0
        self.is_down = False

    def read(self, workspace: str, destination: str) -> RateState:
        self.reads += 1
        if self.is_down:
            raise StoreUnavailable("injected")
        return self.states.get((workspace, destination), RateState())

    def swap(self, workspace: str, destination: str, before: RateState, after: RateState) -> tuple[bool, RateState]:
        self.writes += 1
        if self.is_down:
            raise StoreUnavailable("injected")
        there = self.states.get((workspace, destination), RateState())
        if there.version != before.version:
            self.lost += 1
            return False, there
        saved = msgspec.structs.replace(after, version=before.version + 1)
        self.states[workspace, destination] = saved
        return True, saved


@dataclass
class LimitedTool:
    """Takes `per_s` requests a second, a second's worth at once, and answers 429 to the rest.

    While it `is_moody` it takes every other request, however many there are. Of what it refuses every so many fail by a
    503, where that is given.
    """

    per_s: float
    is_moody: bool = False
    fails_every: int = 0
    tokens: float = 0.0
    at: float = 0.0
    begun: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def take(self, now: float) -> int:
        """The status that it answers."""
        self.tokens = min(self.tokens + (now - self.at) * self.per_s, max(self.per_s, 1.0))
        self.at = now
        self.begun.append(now)
        is_refused = len(self.begun) % 2 == 1 if self.is_moody else self.tokens < 1
        if is_refused:
            self.refused.append(now)
            return 503 if self.fails_every and len(self.refused) % self.fails_every == 0 else 429
        self.tokens -= 1
        return 200


@dataclass
class Crowd:
    """Lambdas that empty one queue of one-event jobs, each of a user of its own, under a simulated clock.

    Each Lambda takes ten jobs and sends them at once, about `takes_s` seconds each, as far as its lease goes; what
    it may not send is hidden for as long as it is told. `dies` of its batches end without a word.
    """

    tool: LimitedTool
    policy: DeliveryPolicy = STANDARD
    lambdas: int = 5
    takes_s: float = 0.05
    skew_s: float = 0.0
    dies: float = 0.0
    retry_after_s: float = 0.0
    seed: int = 1
    jobs: int = 1_000_000
    now: float = 1_000_000.0
    delivered: Counter[int] = field(default_factory=Counter)
    batches: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.states = MemoryRates()
        self.ids = iter(range(10**9))
        self.rates = [self._rate(number) for number in range(self.lambdas)]
        self._hidden: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = iter(range(10**9))
        self.tool.at = self.now

    def _rate(self, number: int) -> KeepRate:
        skew_s = self.chance.uniform(-self.skew_s, self.skew_s)
        return KeepRate(self.states, lambda: self.now + skew_s, self.chance.random, lambda: str(next(self.ids)))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        if not self._events:
            for number in range(self.lambdas):
                self._at(self.now + self.chance.random() / 10, lambda number=number: self._poll(number))  # type: ignore[misc]
        while self._events and self._events[0][0] <= until:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = until

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), act))

    def _poll(self, number: int) -> None:
        while self._hidden and self._hidden[0] <= self.now:
            heapq.heappop(self._hidden)
            self.jobs += 1
        taken = min(BATCH, self.jobs)
        if taken == 0:
            self._at(self.now + 0.05, lambda: self._poll(number))
            return
        self.jobs -= taken
        self.batches += 1
        lease = self.rates[number].lease(WORKSPACE, DESTINATION, self.policy, taken, taken)
        ends_at = self.now + lease.good_s
        self._send(_Batch(number, lease, deque(range(taken)), ends_at, dies=self.chance.random() < self.dies))

    def _send(self, batch: _Batch) -> None:
        """As many at once as there are slots for, each after the other within a slot."""
        if batch.lease.granted == 0:
            self._hide(len(batch.left), batch.lease.wait_s)
            self._at(self.now + 0.01, lambda: self._poll(batch.number))
            return
        for _ in range(min(batch.lease.slots or BATCH, len(batch.left))):
            self._next(batch)

    def _next(self, batch: _Batch) -> None:
        is_spent = batch.lease.granted is not None and batch.sent >= batch.lease.granted
        if batch.left and not is_spent and self.now <= batch.ends_at:
            batch.left.popleft()
            batch.sent += 1
            batch.under_way += 1
            self.tool.under_way += 1
            self.tool.most_under_way = max(self.tool.most_under_way, self.tool.under_way)
            status = self.tool.take(self.now)
            self._at(self.now + self.takes_s * self.chance.uniform(0.5, 1.5), lambda: self._answered(batch, status))
        elif batch.under_way == 0:
            self._end(batch)

    def _answered(self, batch: _Batch, status: int) -> None:
        batch.under_way -= 1
        self.tool.under_way -= 1
        if status == 200:
            self.delivered[batch.number] += 1
        else:
            batch.throttled += status == 429
            batch.failed += status == 503
            self._hide(1, max(1.0, self.retry_after_s))
        self._next(batch)

    def _end(self, batch: _Batch) -> None:
        if batch.is_over:
            return
        batch.is_over = True
        self._hide(len(batch.left), batch.lease.wait_s)
        if not batch.dies:
            pause_s = self.retry_after_s if batch.throttled else 0.0
            self.rates[batch.number].settle(
                WORKSPACE, DESTINATION, batch.lease, batch.sent, batch.throttled, pause_s, batch.failed
            )
        self._at(self.now + 0.01, lambda: self._poll(batch.number))

    def _hide(self, count: int, seconds: float) -> None:
        """Whole seconds, as SQS has it."""
        for _ in range(count):
            heapq.heappush(self._hidden, self.now + float(-(-max(seconds, 1.0) // 1)))


@dataclass
class _Batch:
    number: int
    lease: Lease
    left: deque[int]
    ends_at: float
    dies: bool
    sent: int = 0
    throttled: int = 0
    failed: int = 0
    under_way: int = 0
    is_over: bool = False
