"""A hub in which everything fails at any moment, many times over: order, nothing lost, books that balance.

Fan-out and deliver are the real steps. Each of their effects may be refused, be done without an answer, or be the last
thing that the Lambda does before it crashes. In the end all failures stop, and the hub has to come out even.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from penstock.domain.books import Books, DeliverReceipt, add_up
from penstock.domain.delivery import Answer, Trouble
from penstock.domain.routing import Route
from penstock.domain.run import Run
from penstock.domain.subscription import parse
from penstock.domain.webhook import Webhook
from penstock.errors import QueueUnavailable, StoreUnavailable, Unavailable
from penstock.steps import deliver as deliver_step
from penstock.steps import fan_out as fan_out_step
from penstock.steps.deliver import Batch, deliver
from penstock.steps.fan_out import Record, fan_out
from tests.builders_pipeline import SHARD, WORKSPACE, event, record_of, route, run_of, url_of, webhook
from tests.fakes_pipeline import (
    Clock,
    Inline,
    MemoryParked,
    MemoryPlans,
    MemoryProgress,
    MemoryQueues,
    MemoryReceipts,
    MemoryStream,
)

T = TypeVar("T")
USERS = ("ada", "grace", "edsger")
DESTINATIONS = ("dst_everything00", "dst_latter000000", "dst_most00000000")
STEPS = 400


class Crash(BaseException):
    """The Lambda is gone: nothing of ours catches this."""


@dataclass
class Weather:
    """What goes wrong, by chance; `calm` ends it all."""

    chance: random.Random
    is_calm: bool = False

    def strikes(self, probability: float) -> bool:
        return not self.is_calm and self.chance.random() < probability

    def effect(self, act: Callable[[], T], trouble: type[Unavailable]) -> T:
        """Do it, or not, or without an answer, or with a crash before or after."""
        if self.strikes(0.02):
            raise Crash
        if self.strikes(0.03):
            raise trouble("injected, not done")
        done = act()
        if self.strikes(0.02):
            raise Crash
        if self.strikes(0.03):
            raise trouble("injected, though done")
        return done


class StormyQueues(MemoryQueues):
    def __init__(self, clock: Clock, weather: Weather) -> None:
        super().__init__(clock)
        self._weather = weather

    def send(self, queue_url: str, messages: Sequence[fan_out_step.Message]) -> set[str]:
        taken = [message for message in messages if not self._weather.strikes(0.4)]
        self._weather.effect(lambda: MemoryQueues.send(self, queue_url, taken), QueueUnavailable)
        return {message.id for message in messages if message not in taken}

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        self._weather.effect(lambda: MemoryQueues.hide(self, queue_url, waits), QueueUnavailable)


class Stormy:
    """Any port whose every method is an effect on a store."""

    def __init__(self, port: Any, weather: Weather) -> None:
        self._port = port
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *given: self._weather.effect(lambda: method(*given), StoreUnavailable)


@dataclass
class Tool:
    """A tool that fails often, sometimes after it has taken the event, and refuses every seventh event for good."""

    weather: Weather
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if self.weather.strikes(0.02):
            raise Crash
        if self.weather.strikes(0.15):
            return Answer(self.weather.chance.choice([500, 503, 429, 401]), "2")
        if self.weather.strikes(0.05):
            return Answer(None, trouble=Trouble.CONNECTION)
        found = json.loads(body)
        self.keys[found["messageId"]].add(headers["Idempotency-Key"])
        if found["properties"]["n"] % 7 == 0:
            return Answer(422)
        self.taken[url].append(found)
        if self.weather.strikes(0.02):
            raise Crash
        return Answer(None, trouble=Trouble.TIMEOUT) if self.weather.strikes(0.05) else Answer(200)


@dataclass
class Hub:
    """The stream, the two functions and what lies between, in memory and in one thread."""

    seed: int
    weather: Weather = field(init=False)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self._runs: list[Run] = []
        self.chance = random.Random(self.seed)
        self.weather = Weather(random.Random(self.seed + 1))
        self.queues = StormyQueues(self.clock, self.weather)
        self.receipts, self.progress, self.tool = MemoryReceipts(), MemoryProgress(), Tool(self.weather)
        for destination in DESTINATIONS:
            self.queues.make(url_of(destination))
        self.shards = [list(self._records(shard)) for shard in range(2)]
        self.events = [json.loads(bytes(raw)) for run in self._runs for raw in run.events]
        self.reached = [0, 0]

    def _records(self, shard: int) -> Iterator[Record]:
        """Users belong to one shard each, as their keys do."""
        for number in range(6):
            user = self.chance.choice(USERS[shard::2])
            first = 1000 * shard + 10 * number
            run = run_of(*[event(first + n, userId=user) for n in range(self.chance.randint(1, 4))], key=user)
            self._runs.append(run)
            yield record_of(run, number, SHARD[:-1] + str(shard))

    def routes(self) -> tuple[Route, ...]:
        wishes = (None, parse("properties.n >= 1000"), parse('userId != "grace" and properties.n != 21'))
        return tuple(route(id_, subscription=wish) for id_, wish in zip(DESTINATIONS, wishes, strict=True))

    # what runs

    def step(self) -> None:
        turn = self.chance.random()
        if turn < 0.3:
            self.fan_out(self.chance.randrange(2))
        elif turn < 0.9:
            self.deliver(self.chance.choice(DESTINATIONS))
        else:
            self.clock.now += self.chance.choice([1, 5, 60, 400])

    def fan_out(self, shard: int) -> None:
        """One batch of a shard, as Lambda's poller does it: what fails is read again from the first failure on."""
        records = self.shards[shard][self.reached[shard] : self.reached[shard] + self.chance.randint(1, 4)]
        if not records:
            return
        with suppress(Crash, Unavailable):
            failed = self.fanned_out(records)
            first = next((place for place, each in enumerate(records) if each.id in failed), len(records))
            self.reached[shard] += first

    def fanned_out(self, records: Sequence[Record]) -> frozenset[str]:
        return fan_out(records, self.fan_out_ports()).failed

    def fan_out_ports(self) -> fan_out_step.Ports:
        return fan_out_step.Ports(
            routes=Stormy(Known(self.routes()), self.weather),
            queues=self.queues,
            receipts=Stormy(self.receipts, self.weather),
            parked=MemoryParked(),
            plans=MemoryPlans(),
            stream=MemoryStream(),
            threads=Inline(),
            now=self.iso,
            sleep=self.sleep,
        )

    def deliver(self, destination: str) -> None:
        queue = self.queues.queues[url_of(destination)]
        messages = queue.receive(self.chance.randint(1, 10))
        if not messages:
            return
        with suppress(Crash, Unavailable):
            failed = self.delivered(Batch(destination, url_of(destination), messages))
            for message in messages:
                if message.id not in failed:
                    queue.delete(message.receipt)

    def delivered(self, batch: Batch) -> Sequence[str]:
        return deliver(batch, self.deliver_ports(), lambda: not self.weather.strikes(0.05)).failed

    def deliver_ports(self) -> deliver_step.Ports:
        return deliver_step.Ports(
            destinations=Stormy(Known(None), self.weather),
            tool=self.tool,
            progress=Stormy(self.progress, self.weather),
            queue=self.queues,
            receipts=Stormy(self.receipts, self.weather),
            threads=Inline(),
            now=lambda: datetime.fromtimestamp(self.clock.now, UTC),
            chance=self.chance.random,
        )

    def iso(self) -> str:
        return datetime.fromtimestamp(self.clock.now, UTC).isoformat()

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds

    def live(self) -> None:
        for _ in range(STEPS):
            self.step()
        self.weather.is_calm = True
        for _ in range(100 * STEPS):
            if self.is_empty():
                return
            self.step()
        raise AssertionError("the hub never comes to rest")

    def is_empty(self) -> bool:
        drained = all(not queue.held for queue in self.queues.queues.values())
        return drained and self.reached == [len(shard) for shard in self.shards]

    # what has to hold

    def books(self, destination: str) -> Books:
        return add_up(self.receipts.read(WORKSPACE, destination))

    def check(self) -> None:
        for destination, wish in zip(DESTINATIONS, self.routes(), strict=True):
            meant = [each for each in self.events if wish.subscription is None or wish.subscription.matches(each)]
            good = [each["messageId"] for each in meant if each["properties"]["n"] % 7]
            self._check_nothing_lost(destination, good)
            self._check_order(destination)
            books = self.books(destination)
            assert books.accepted == len(self.events)
            assert books.filtered == len(self.events) - len(meant)
            assert books.delivered == len(good)
            assert books.discarded == ({"http_422": len(meant) - len(good)} if len(meant) > len(good) else {})
            assert books.accepted == books.outcomes
        assert all(len(keys) == 1 for keys in self.tool.keys.values())

    def _check_nothing_lost(self, destination: str, good: list[str]) -> None:
        assert {each["messageId"] for each in self._taken(destination)} == set(good)

    def _check_order(self, destination: str) -> None:
        """First deliveries of each user in the order in which the stream has them."""
        for user in USERS:
            firsts = dict.fromkeys(
                each["properties"]["n"] for each in self._taken(destination) if each["userId"] == user
            )
            assert list(firsts) == sorted(firsts)

    def _taken(self, destination: str) -> list[dict[str, Any]]:
        return self.tool.taken[url_for(destination)]


def url_for(destination: str) -> str:
    return f"https://example.com/{destination}"


@dataclass
class Known:
    """Answers what it knows: routes by workspace, or webhooks by destination."""

    routes: tuple[Route, ...] | None

    def get(self, key: Any) -> tuple[Route, ...] | Webhook:
        return self.routes if self.routes is not None else webhook(url=url_for(key[1]), secret="s")


@pytest.mark.parametrize("seed", range(200))
def test_every_event_ends_once_in_the_books_and_each_users_in_order(seed: int) -> None:
    hub = Hub(seed * 2)
    hub.live()
    hub.check()


# Faults planted on purpose: each is of a kind that the simulation is there to see.


class ForgetsThoseBehind(Hub):
    """Deliver reports the failing job alone, so the jobs behind it are deleted unsent."""

    def delivered(self, batch: Batch) -> Sequence[str]:
        groups = {message.id: message.group for message in batch.messages}
        return list({groups[each]: each for each in reversed(super().delivered(batch))}.values())


class GoesOnWithoutAcknowledgement(Hub):
    """Fan-out takes what the queue refused for sent."""

    def fanned_out(self, records: Sequence[Record]) -> frozenset[str]:
        super().fanned_out(records)
        return frozenset()


class SendsFailuresLater(Hub):
    """A record that failed is tried again after those behind it."""

    def fan_out(self, shard: int) -> None:
        records = self.shards[shard][self.reached[shard] : self.reached[shard] + 3]
        with suppress(Crash, Unavailable):
            failed = self.fanned_out(records)
            self.shards[shard] += [each for each in records if each.id in failed]
            self.reached[shard] += len(records)


class LosesReceipts(Hub):
    def deliver_ports(self) -> deliver_step.Ports:
        return replace(super().deliver_ports(), receipts=Forgetful(self.receipts, self.chance))


class Forgetful(MemoryReceipts):
    def __init__(self, receipts: MemoryReceipts, chance: random.Random) -> None:
        self.rows = receipts.rows
        self._chance = chance

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None:
        if self._chance.random() < 0.9:
            super().keep_deliver(workspace, destination, receipt)


class CountsWhatItReads(Hub):
    """Books that add up rows and forget that a row may say again what another has said."""

    def books(self, destination: str) -> Books:
        total = Books()
        for each in (add_up([row]) for row in self.receipts.read(WORKSPACE, destination)):
            total.accepted += each.accepted
            total.filtered += each.filtered
            total.delivered += each.delivered
            total.discarded += each.discarded
        return total


class NewKeyForEveryTry(Hub):
    def deliver_ports(self) -> deliver_step.Ports:
        return replace(super().deliver_ports(), tool=self)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        key = f"{headers['Idempotency-Key']}-{self.chance.random()}"
        return self.tool.post(url, {**headers, "Idempotency-Key": key}, body)


@pytest.mark.parametrize(
    "faulty",
    [
        ForgetsThoseBehind,
        GoesOnWithoutAcknowledgement,
        SendsFailuresLater,
        LosesReceipts,
        CountsWhatItReads,
        NewKeyForEveryTry,
    ],
)
def test_a_planted_fault_is_seen(faulty: type[Hub]) -> None:
    seen = 0
    for seed in range(20):
        hub = faulty(seed * 2)
        hub.live()
        try:
            hub.check()
        except AssertionError:
            seen += 1
    assert seen >= 3
