"""A hub and its surroundings, made from a seed: clients, streams, functions, queues, tools, people, the weather.

Everything that a seed decides is drawn here or in what is made here. What the functions do are the real steps.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from penstock.domain.books import Books, DeliverReceipt, JobReceipt, Receipt, add_up
from penstock.domain.destinations import Unfinished
from penstock.domain.event import iso
from penstock.domain.job import decode_job
from penstock.domain.overflow import STANDARD, Limits
from penstock.domain.stream_record import BULK
from penstock.domain.turns import Announced
from penstock.errors import QueueUnavailable
from penstock.steps import collect as collect_step
from penstock.steps import deliver as deliver_step
from penstock.steps import fan_out as fan_out_step
from penstock.steps.collect import Call
from penstock.steps.fan_out import Message as Outgoing
from penstock.steps.lane import Message
from penstock.steps.settle import Batch
from penstock.steps.watch_gate import Chore
from tests.fakes_dedup import MemoryDedup
from tests.fakes_gate import MemoryBurials, MemoryGates
from tests.fakes_homes import MemoryHomes
from tests.fakes_letters import MemoryReplays
from tests.fakes_overflow import ANY_SIZE
from tests.fakes_pipeline import MemoryProgress, MemoryReceipts
from tests.fakes_rate import MemoryRates
from tests.simulation import clients, replaying, wiring
from tests.simulation.changes import Changes
from tests.simulation.clients import Client, Event, Unseen
from tests.simulation.clock import Clock, NeverAtRest
from tests.simulation.fifo import ABSORBED, LATE, Fifo, Held, Queues, job_in
from tests.simulation.gatekeeping import Chores, Switch
from tests.simulation.lambdas import Failed, Function, Instance, Invocation
from tests.simulation.poller import QueueMapping
from tests.simulation.replaying import Letterbox, Tickets
from tests.simulation.stores import Config, Outside
from tests.simulation.stream import Feed, Kept, Stream, StreamMapping
from tests.simulation.tool import Sites
from tests.simulation.weather import Weather, drawn
from tests.simulation.wiring import SOURCES, WORKSPACE, moment

MIDNIGHT = 1_795_478_400.0  # 2026-11-24T00:00:00Z
TIMEOUT_S = 60.0
NEEDED_S = 13.0  # for one more request, and to note what was reached
MOST_THINGS = 300_000  # that happen; a run has some thousands
LONGEST_CALM_S = 2 * 86_400.0
TOO_LATE = "invoked after its visibility"
TOLD = 60
MOST_OUTSIDE = 100_000
SHALLOW = Limits(deep=6, deep_for_s=20.0, asked_every=4, most_waiting=2, refilled_below=4, refilled_at_once=3)


class World:
    breaks = ""  # which promise a planted fault breaks
    outlives_s = 300.0  # for which the queue of a deleted destination stays

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(f"world {seed}")
        self.clock = Clock()
        self.weather = Weather(self.clock, random.Random(f"weather {seed}"), drawn(self.chance))
        self.until = self.chance.choice((30.0, 120.0, 600.0, 600.0, 3_600.0))
        self.began = MIDNIGHT - self.chance.choice((self.until / 2, 43_200.0))
        self.story: deque[str] = deque(maxlen=TOLD)
        self.events: dict[str, Event] = {}
        self.jobs: dict[str, dict[str, list[str]]] = {}  # by destination and id, each body that its queue took
        self.late: set[tuple[str, str]] = set()
        self.attempts: Counter[str] = Counter()  # of fan-out, by record
        self.announced: dict[str, Announced] = {}
        self._make_stores()
        self._make_functions()
        self._make_streams()
        self.changes = Changes(self)
        for _ in range(self.chance.randint(2, 4)):
            self.changes.add_destination()
        self.changes.plan()
        self.clients = self._clients()

    # what is there

    def _make_stores(self) -> None:
        self.config, self.dedup, self.homes = Config(self.clock), MemoryDedup(), MemoryHomes()
        self.queues = Queues(self.clock, began=self.began, on_taken=self._queued)
        self.receipts, self.progress = MemoryReceipts(), MemoryProgress()
        self.gates, self.letters, self.replays = MemoryGates(self.epoch_s), Letterbox(self.epoch_s), MemoryReplays()
        self.overflow, self.rates = Outside(self.epoch_s, self.weather), MemoryRates()
        self.gates.turns = self.overflow.due
        self.burials = MemoryBurials(self.gates, self.epoch_s)
        self.unfinished: dict[str, Unfinished] = {}
        self.dropped: dict[str, int] = {}  # how many jobs a queue had when it was taken down
        self.overflows_at = self.chance.choice((STANDARD, STANDARD, SHALLOW))
        self.sites, self.mappings = Sites(), dict[str, QueueMapping]()

    def _make_functions(self) -> None:
        self.collect = self._function("collect", wiring.SETTLES_S, self.collect_ports)
        self.fan_out = self._function("fanout", TIMEOUT_S, self.fan_out_ports)
        self.deliver = self._function("deliver", TIMEOUT_S, self.deliver_ports)
        self.deliver_slow = self._function("deliver_slow", TIMEOUT_S, self.deliver_ports)
        self.gatekeeper = self._function("gatekeeper", 120.0, self.gatekeeper_ports)
        self.replay = self._function("replay", TIMEOUT_S, self.replay_ports)
        self.chores = Chores(self.clock, self.weather, self.gatekeeper, self.tell)
        self.switch = Switch(self.clock, self.weather, self.mappings)
        self.tickets = Tickets(self.clock, self.weather, self.replay, self.tell)

    def _make_streams(self) -> None:
        log: list[Kept] = []
        self.live = Stream(self.clock, log, self.chance.choice((1, 2, 3)))
        self.bulk = Stream(self.clock, log, self.chance.choice((1, 2)), BULK)
        feed = Feed(self.chance.choice((5, 20, 100)), self.chance.choice((1, 2, 4)))
        self.records = [
            StreamMapping(stream, feed, self.carry_records, self.weather) for stream in (self.live, self.bulk)
        ]

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

    def map_queue(self, name: str, queue: Fifo) -> None:
        def carry(messages: Sequence[Held], given: Sequence[Message]) -> tuple[Invocation, Sequence[str]]:
            return self.carry_messages(name, messages, given)

        self.mappings[name] = QueueMapping(queue, self.chance.randint(2, 4), carry, self.clock, self.weather)

    def delete(self, name: str) -> None:
        """What the control API does when a destination is deleted."""
        self.burials.begin(WORKSPACE, name)
        self.unfinished[name] = Unfinished(
            workspace_id=WORKSPACE, id=name, started_at=int(self.epoch_s()), is_deleted=True
        )
        self.config.put(name, None, None)
        if self.chance.random() < 0.8:  # else the tick finds it
            self.wake(name)
        with suppress(QueueUnavailable):
            self.switch.delete(name, None)

    def take_down(self, name: str) -> None:
        mapping = self.mappings.pop(name, None)
        if mapping is not None:
            mapping.switch(False)
            self.dropped[name] = len(mapping.queue.held)
            self.queues.delete(url_of(name))

    def wake(self, destination: str) -> None:
        """A chore for a gate that a person has moved."""
        self.chores.send([Chore(WORKSPACE, destination)])

    def collect_ports(self, instance: Instance) -> Any:
        return wiring.collect_ports(self, instance)

    def fan_out_ports(self, instance: Instance) -> Any:
        return wiring.fan_out_ports(self, instance)

    def deliver_ports(self, instance: Instance) -> Any:
        return wiring.deliver_ports(self, instance)

    def replay_ports(self, instance: Instance) -> Any:
        return wiring.replay_ports(self, instance)

    def gatekeeper_ports(self, instance: Instance) -> Any:
        return wiring.gatekeeper_ports(self, instance)

    def epoch_s(self) -> float:
        return self.began + self.clock.now

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
        records = [fan_out_step.Record(kept.id, kept.record.data, self.began + kept.at) for kept in batch]
        self.attempts.update(kept.id for kept in batch)
        told = ("fanout", f"{batch[0].prefix}{batch[0].number}", f"{batch[-1].prefix}{batch[-1].number}")
        try:
            _, outcome = self.fan_out.invoke(lambda ports, _: fan_out_step.fan_out(records, ports))
        except Failed as failed:
            self.tell(*told, str(failed))
            raise
        first = next((place for place, each in enumerate(records) if each.id in outcome.failed), None)
        self.tell(*told, first)
        return first

    def carry_messages(
        self, destination: str, messages: Sequence[Held], given: Sequence[Message]
    ) -> tuple[Invocation, Sequence[str]]:
        batch = Batch(destination, url_of(destination), given)

        def work(ports: Any, invocation: Invocation) -> Any:
            for message, each in zip(messages, given, strict=True):
                if message.receipt != each.receipt or message.visible_at <= self.clock.now:
                    invocation.echo(TOO_LATE, message.job)
                    invocation.excuse(TOO_LATE, message.job)
                else:
                    message.holder = invocation
            return deliver_step.deliver(batch, ports, lambda: invocation.has(NEEDED_S))

        names = [_short(each.job) for each in messages]
        function = self.deliver_slow if self.switch.is_slow(destination) else self.deliver
        try:
            invocation, outcome = function.invoke(work, messages)
        except Failed as failed:
            self.tell(function.name, destination, names, str(failed))
            raise
        self.tell(function.name, destination, names, outcome.delivered, [each.reason for each in outcome.troubles])
        return invocation, outcome.failed

    def _queued(self, url: str, message: Outgoing, as_what: str) -> None:
        name = url.removeprefix("https://sqs/").removesuffix(".fifo")
        job = job_in(message.id, message.body)
        if as_what != ABSORBED:
            self.jobs.setdefault(name, {}).setdefault(job, []).append(message.body)
        if as_what == LATE:
            self.late.add((name, job))

    def tell(self, *told: Any) -> None:
        self.story.append(f"{self.clock.now:10.3f} {' '.join(map(str, told))}")

    def books(self, destination: str) -> Books:
        return add_up(self.rows(destination))

    def rows(self, destination: str) -> list[Receipt]:
        """The receipts, and one more: what is still queued counts as if deliver had just had it in hand."""
        jobs = [decode_job(body) for body in self.held(destination)]
        in_hand = {job.id: JobReceipt(0, "", left=len(job.run.events)) for job in jobs}
        return [*self.receipts.read(WORKSPACE, destination), DeliverReceipt(iso(moment(self, 0.0)), in_hand)]

    def held(self, destination: str) -> list[str]:
        """The jobs that are queued, by their bodies; what is on its way to the overflow or back stands there twice."""
        mapping = self.mappings.get(destination)
        in_queue = [each.body for each in mapping.queue.held.values()] if mapping else []
        return in_queue + self.overflowing(destination)

    # a run

    def run(self) -> None:
        """Through the storm, and then until nothing is left to be done, or too much was."""
        with suppress(NeverAtRest):
            self._run()

    def _run(self) -> None:
        for client in self.clients:
            self.clock.start(client.live)
        self.chores.tick()
        self.clock.run(self.until, MOST_THINGS)
        self.weather.calm()
        self.changes.end()
        while not self.is_at_rest() and self.clock.now < self.until + LONGEST_CALM_S:
            self.clock.run(self.clock.now + 60.0, MOST_THINGS)

    def is_at_rest(self) -> bool:
        """What is paused by hand may stay full."""
        if not all(client.is_done for client in self.clients) or any(each.waiting for each in self.records):
            return False
        if self.unfinished:
            return False
        if self.tickets.waiting or replaying.are_live(self.replays):
            return False
        return not any(
            mapping.busy or ((mapping.queue.held or self.overflowing(name)) and name not in self.changes.left_paused)
            for name, mapping in self.mappings.items()
        )

    def overflowing(self, destination: str) -> list[str]:
        """The jobs that wait outside the destination's queue, by their bodies; what was half stored and came again by
        another way is none of them."""
        lanes = self.overflow.lanes(WORKSPACE, destination, MOST_OUTSIDE)
        return [each.body for lane in lanes for each in self.overflow.stored(lane, MOST_OUTSIDE, ANY_SIZE)]


def url_of(destination: str) -> str:
    return f"https://sqs/{destination}.fifo"


def _short(job_id: str) -> str:
    """A job's number and chunk, for the story."""
    return "-".join(part.lstrip("0") or "0" for part in job_id.split("-")[-2:])
