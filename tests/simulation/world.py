"""A hub and its surroundings, made from a seed: clients, the stream, the functions, the queues, the tools, the weather.

Everything that a seed decides is drawn here. What the functions do are the real steps.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from greenlet import getcurrent

from penstock.domain.books import Books, add_up
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.event import iso
from penstock.domain.gate import Gate
from penstock.domain.known_key import KnownKey
from penstock.domain.progress import Progress
from penstock.domain.rate import Lease
from penstock.domain.routing import Route
from penstock.domain.subscription import parse
from penstock.domain.webhook import Webhook
from penstock.errors import QueueUnavailable, StoreUnavailable
from penstock.steps import collect as collect_step
from penstock.steps import deliver as deliver_step
from penstock.steps import fan_out as fan_out_step
from penstock.steps.collect import Call
from penstock.steps.deliver import Message
from penstock.steps.fan_out import Message as Outgoing
from tests.fakes_dedup import MemoryDedup
from tests.fakes_homes import order
from tests.fakes_pipeline import MemoryPlans, MemoryProgress, MemoryReceipts
from tests.simulation import clients, tool
from tests.simulation.clients import Client, Event, Unseen
from tests.simulation.clock import Clock, Threads
from tests.simulation.fifo import ABSORBED, LATE, Fifo, Held, Queues
from tests.simulation.lambdas import Failed, Function, Instance, Invocation, Memory
from tests.simulation.poller import QueueMapping
from tests.simulation.stores import Config, Inflow, Letters, Parked
from tests.simulation.stream import Feed, Kept, Stream, StreamMapping
from tests.simulation.tool import Site, Sites
from tests.simulation.weather import Effects, Weather, drawn

WORKSPACE = "ws_" + "a" * 12
SOURCES = ("src_" + "a" * 12, "src_" + "b" * 12)
MIDNIGHT = 1_795_478_400.0  # 2026-11-24T00:00:00Z
FRESH_S = 10.0
OUTAGE_S = 60.0
TIMEOUT_S = 60.0
NEEDED_S = 13.0  # for one more request, and to note what was reached
SUBSCRIPTIONS = (None, None, "properties.n > 3", 'userId = "u1"', 'type = "track" and properties.n != 5')
TOO_LATE = "invoked after its visibility"
TOLD = 60


class World:
    breaks = ""  # which promise a planted fault breaks

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(f"world {seed}")
        self.clock = Clock()
        self.weather = Weather(self.clock, random.Random(f"weather {seed}"), drawn(self.chance))
        self.until = self.chance.choice((30.0, 120.0, 600.0, 600.0, 3_600.0))
        self.began = MIDNIGHT - self.chance.choice((self.until / 2, 43_200.0))
        self.story: deque[str] = deque(maxlen=TOLD)
        self.config = Config(self.clock)
        self.queues = Queues(self.clock, on_taken=self._queued)
        self.jobs: dict[str, dict[str, list[str]]] = {}  # by destination and id, each body that its queue took
        self.attempts: Counter[str] = Counter()  # of fan-out, by record
        self.late: set[tuple[str, str]] = set()
        self.stream = Stream(self.clock, self.chance.choice((1, 2, 3)))
        self.receipts, self.progress, self.letters = MemoryReceipts(), MemoryProgress(), Letters()
        self.dedup = MemoryDedup()
        self.sites, self.mappings = Sites(), dict[str, QueueMapping]()
        self.collect = self._function("collect", 30.0, self.collect_ports)
        self.fan_out = self._function("fanout", TIMEOUT_S, self.fan_out_ports)
        self.deliver = self._function("deliver", TIMEOUT_S, self.deliver_ports)
        feed = Feed(self.chance.choice((5, 20, 100)), self.chance.choice((1, 2, 4)))
        self.records = StreamMapping(self.stream, feed, self.carry_records, self.weather)
        self.events: dict[str, Event] = {}
        self.clients = self._clients()
        for number in range(self.chance.randint(2, 4)):
            self.add_destination(number)
        self._plan_changes()

    # what is there

    def _function(self, name: str, timeout_s: float, make: Any) -> Function[Any]:
        return Function(name, self.clock, self.weather, timeout_s, make)

    def _clients(self) -> list[Client]:
        found = []
        for number in range(self.chance.randint(2, 4)):
            source = SOURCES[number % 2]
            users = [f"{'u' if number % 3 else 'a'}{number}{n}" for n in range(self.chance.randint(1, 3))]
            count = self.chance.randint(3, 12)
            requests = clients.requests(self.chance, source, users, f"c{number}", count, self.until)
            self.events |= {event.message_id: event for request in requests for event in request.events}
            key = f"{'a' * 12}{number % 2:024d}"
            found.append(Client(f"c{number}", key, requests, self.clock, self.post))
        return found

    def add_destination(self, number: int) -> None:
        name = f"dst_{number:012d}"
        url = f"https://sqs/{name}.fifo"
        route = Route(
            id=name,
            name=f"Webhook {number}",
            enabled=True,
            source_ids=frozenset(SOURCES if self.chance.random() < 0.7 else SOURCES[:1]),
            subscription=self._subscription(),
            queue_url=url,
        )
        policy = DeliveryPolicy(max_age_s=self.chance.choice((14_400, 14_400, 60, 300)))
        webhook = Webhook(enabled=True, url=f"https://{name}.example", headers={}, secret=None, policy=policy)
        chance = random.Random(f"site {self.seed} {number}")
        moods = tool.moods(chance, self.until)
        self.sites.by_url[webhook.url] = Site(name, self.weather, chance, moods, chance.random() < 0.3)
        self.config.put(name, route, webhook)
        queue = self.queues.make(url, visibility_s=self.chance.choice((360.0, 360.0, 90.0)))
        self.map_queue(name, queue)

    def map_queue(self, name: str, queue: Fifo) -> None:
        def carry(messages: Sequence[Held], given: Sequence[Message]) -> tuple[Invocation, Sequence[str]]:
            return self.carry_messages(name, messages, given)

        self.mappings[name] = QueueMapping(queue, self.chance.randint(2, 4), carry, self.clock, self.weather)

    def _subscription(self) -> Any:
        text = self.chance.choice(SUBSCRIPTIONS)
        return None if text is None else parse(text)

    def _plan_changes(self) -> None:
        for _ in range(self.chance.choice((0, 0, 1, 3))):
            act = self.chance.choice((self._resubscribe, self._disable, self._add, self._delete))
            self.clock.at(self.chance.uniform(0.1, 0.9) * self.until, act)

    def _resubscribe(self) -> None:
        name = self._any_destination()
        route, webhook = self._settings(name)
        if route is not None:
            self.config.put(name, _with(route, subscription=self._subscription()), webhook)

    def _disable(self) -> None:
        name = self._any_destination()
        self._enable(name, False)
        self.clock.at(self.clock.now + self.until * self.chance.uniform(0.1, 0.4), self._enable, name, True)

    def _enable(self, name: str, enabled: bool) -> None:
        route, webhook = self._settings(name)
        if route is not None:
            self.config.put(name, _with(route, enabled=enabled), _with(webhook, enabled=enabled))

    def _add(self) -> None:
        self.add_destination(len(self.config.versions))

    def _delete(self) -> None:
        name = self._any_destination()
        route, _ = self._settings(name)
        if route is not None and len(self.config.versions) > 1:
            self.config.put(name, None, None)
            self.clock.at(self.clock.now + self.chance.uniform(0.5, 30.0), self._delete_queue, name, route.queue_url)

    def _delete_queue(self, name: str, url: str) -> None:
        self.mappings.pop(name).switch(False)
        self.queues.delete(url)

    def _settings(self, name: str) -> tuple[Any, Any]:
        now = self.config.now(name)
        return now.route, now.webhook

    def _any_destination(self) -> str:
        return self.chance.choice(list(self.config.versions))

    # what each instance of a function works with

    def collect_ports(self, instance: Instance) -> Any:
        given = {
            "write_keys": _Keys(),
            "stream": Inflow(self.stream, self.weather),
            "bulk": Inflow(self.stream, self.weather),
            "now": lambda: self.now(instance),
            "new_id": lambda: f"made-{self.chance.random()}",
        }
        return collect_step.Ports(**_known(collect_step.Ports, given))

    def fan_out_ports(self, instance: Instance) -> Any:
        given = {
            "dedup": self._store(self.dedup),
            "routes": self._memory(Effects(_Routes(self.config), self.weather, StoreUnavailable).read),
            "queues": _Refusing(self.queues, self.weather),
            "receipts": self._store(self.receipts),
            "parked": self._store(Parked()),
            "plans": MemoryPlans(),
            "order": order(live=Inflow(self.stream, self.weather), threads=Threads(self.clock)),
            "threads": Threads(self.clock),
            "now": lambda: iso(self.now(instance)),
            "sleep": self.clock.sleep,
        }
        return fan_out_step.Ports(**_known(fan_out_step.Ports, given))

    def deliver_ports(self, instance: Instance) -> Any:
        given = {
            "destinations": self._memory(Effects(_Webhooks(self.config), self.weather, StoreUnavailable).read),
            "gates": _OpenGates(),
            "watch": _NoWatch(),
            "rate": _NoRate(),
            "tool": self.sites,
            "progress": _Notes(self._store(self.progress)),
            "queue": Effects(self.queues, self.weather, QueueUnavailable),
            "letters": self._store(self.letters),
            "receipts": self._store(self.receipts),
            "threads": Threads(self.clock),
            "now": lambda: self.now(instance),
            "seconds": self.clock,
            "chance": self.chance.random,
        }
        return deliver_step.Ports(**_known(deliver_step.Ports, given))

    def _store(self, port: Any) -> Effects:
        return Effects(port, self.weather, StoreUnavailable)

    def _memory(self, load: Any) -> Memory:
        return Memory(load, FRESH_S, OUTAGE_S, self.clock)

    def now(self, instance: Instance) -> datetime:
        return datetime.fromtimestamp(self.began + self.clock.now + instance.skew_s, UTC)

    # what carries things on

    def post(self, call: Call) -> int:
        """A client's request. Raises `Unseen`."""
        try:
            _, outcome = self.collect.invoke(lambda ports, _: collect_step.collect(call, ports))
        except Failed as failed:
            self.tell("collect", str(failed))
            raise Unseen from failed
        if self.weather.strikes(self.weather.odds.lost_answer):
            raise Unseen
        return int(outcome.status)

    def carry_records(self, batch: Sequence[Kept]) -> int | None:
        records = [_record(kept, self.began) for kept in batch]
        for kept in batch:
            self.attempts[kept.id] += 1
        try:
            _, outcome = self.fan_out.invoke(lambda ports, _: fan_out_step.fan_out(records, ports))
        except Failed as failed:
            self.tell("fanout", batch[0].number, batch[-1].number, str(failed))
            raise
        first = next((place for place, each in enumerate(records) if each.id in outcome.failed), None)
        self.tell("fanout", batch[0].number, batch[-1].number, first)
        return first

    def carry_messages(
        self, destination: str, messages: Sequence[Held], given: Sequence[Message]
    ) -> tuple[Invocation, Sequence[str]]:
        batch = deliver_step.Batch(destination, f"https://sqs/{destination}.fifo", given)

        def work(ports: Any, invocation: Invocation) -> Any:
            for message, each in zip(messages, given, strict=True):
                if message.receipt != each.receipt or message.visible_at <= self.clock.now:
                    invocation.echo(TOO_LATE, message.dedup_id)
                    invocation.excuse(TOO_LATE, message.dedup_id)
                else:
                    message.holder = invocation
            return deliver_step.deliver(batch, ports, lambda: invocation.has(NEEDED_S))

        names = [_short(each.dedup_id) for each in messages]
        try:
            invocation, outcome = self.deliver.invoke(work, messages)
        except Failed as failed:
            self.tell("deliver", destination, names, str(failed))
            raise
        self.tell("deliver", destination, names, outcome.delivered, [each.reason for each in outcome.troubles])
        return invocation, outcome.failed

    def _queued(self, url: str, message: Outgoing, as_what: str) -> None:
        name = url.removeprefix("https://sqs/").removesuffix(".fifo")
        if as_what != ABSORBED:
            self.jobs.setdefault(name, {}).setdefault(message.id, []).append(message.body)
        if as_what == LATE:
            self.late.add((name, message.id))

    def tell(self, *told: Any) -> None:
        self.story.append(f"{self.clock.now:10.3f} {' '.join(map(str, told))}")

    def books(self, destination: str) -> Books:
        return add_up(self.receipts.read(WORKSPACE, destination))

    # a run

    def run(self) -> None:
        """Through the storm, and then until nothing is left to be done."""
        for client in self.clients:
            self.clock.start(client.live)
        self.clock.run(self.until)
        self.weather.calm()
        last = self.until + 2 * 86_400.0
        while not self.is_at_rest() and self.clock.now < last:
            self.clock.run(self.clock.now + 60.0)

    def is_at_rest(self) -> bool:
        if not all(client.is_done for client in self.clients) or self.records.waiting:
            return False
        return not any(mapping.busy or mapping.queue.held for mapping in self.mappings.values())


class _Keys:
    def get(self, key: str) -> KnownKey | None:
        return KnownKey(WORKSPACE, SOURCES[int(key[-1])], True)


class _Routes:
    def __init__(self, config: Config) -> None:
        self.read = config.routes


class _Webhooks:
    def __init__(self, config: Config) -> None:
        self.read = config.webhook


class _Notes:
    """Where a note is refused, what it would have told may be done again."""

    def __init__(self, notes: Any) -> None:
        self.read, self.give_back, self._write = notes.read, notes.give_back, notes.write

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None:
        try:
            self._write(workspace, destination, job_id, progress)
        except StoreUnavailable:
            getcurrent().of.excuse("a note was refused", job_id)
            raise


class _Refusing:
    """Queues that take some entries of a call and refuse others."""

    def __init__(self, queues: Queues, weather: Weather) -> None:
        self._queues = queues
        self._weather = weather

    def send(self, queue_url: str, messages: Sequence[Outgoing]) -> set[str]:
        throttle = self._weather.odds.throttle
        taken = [each for each in messages if not self._weather.strikes(throttle)]
        self._weather.effect(lambda: self._queues.send(queue_url, taken), QueueUnavailable)
        return {each.id for each in messages} - {each.id for each in taken}


class _OpenGates:
    def get(self, key: tuple[str, str]) -> Gate:
        return Gate()


class _NoWatch:
    def report(self, *given: Any) -> None:
        pass


class _NoRate:
    def lease(self, *given: Any) -> Lease:
        return Lease(None, None)

    def settle(self, *given: Any) -> None:
        pass


def _short(job_id: str) -> str:
    """A job's number and chunk, for the story."""
    return "-".join(part.lstrip("0") or "0" for part in job_id.split("-")[-2:])


def _record(kept: Kept, began: float) -> Any:
    given = {"id": kept.id, "data": kept.record.data, "arrived_at": began + kept.at}
    return fan_out_step.Record(**{name: given[name] for name in fan_out_step.Record._fields})


def _known(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {each.name: given[each.name] for each in fields(kind) if each.name in given}


def _with(struct: Any, **changes: Any) -> Any:
    return type(struct)(**({name: getattr(struct, name) for name in struct.__struct_fields__} | changes))
