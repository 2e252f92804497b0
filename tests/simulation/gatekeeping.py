"""The gatekeeper and what wakes it: chores on a queue, a tick every minute, mappings that change slowly, people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent

from penstock.domain import gate_moves as moves
from penstock.domain.config import Item, Remove, Steps
from penstock.domain.destinations import Destination, Unfinished
from penstock.domain.gate import GateState, Key, Mapped, Pool
from penstock.domain.paging import Window
from penstock.domain.webhook_settings import Plain
from penstock.errors import QueueGone, QueueUnavailable, StoreChanged, Unavailable
from penstock.steps import deliver as deliver_step
from penstock.steps import keep_gates
from penstock.steps.lane import Message
from penstock.steps.probe_queue import Received, Sent
from penstock.steps.settle import Batch
from penstock.steps.watch_gate import Chore
from tests.fakes_gate import MemoryGates
from tests.simulation.clock import Clock
from tests.simulation.fifo import Fifo, Queues, ReceiptExpired, received
from tests.simulation.lambdas import Failed, Function
from tests.simulation.poller import LOST_DELETION, OUTLIVED, QueueMapping
from tests.simulation.stores import Config
from tests.simulation.weather import Weather

TICK_S = 60.0
AGAIN_S = 120.0  # a chore whose invocation died comes again
SWITCHING_S = (0.5, 40.0)
PROBING_S = 15.0
TRIES = 5


@dataclass
class Chores:
    """The queue of chores, a standard one: each comes once, or twice, or again after a crash."""

    clock: Clock
    weather: Weather
    function: Function[Any]
    tell: Callable[..., None]
    waiting: int = 0

    def send(self, chores: Sequence[Chore]) -> None:
        for chore in chores:
            for _ in range(2 if self.weather.strikes(self.weather.odds.twice) else 1):
                self.waiting += 1
                at = self.clock.now + chore.delay_s + self.weather.between((0.01, 1.0))
                self.clock.at(at, self._begin, [(chore.workspace, chore.destination)])

    def tick(self) -> None:
        """What the scheduler does for ever, every minute."""
        self.clock.at(self.clock.now + TICK_S, self.tick)
        self.clock.start(lambda: self._invoke(lambda ports, _: keep_gates.tick(ports)))

    def _begin(self, keys: Sequence[Key]) -> None:
        self.clock.start(lambda: self._work_off(keys))

    def _work_off(self, keys: Sequence[Key]) -> None:
        for _ in range(TRIES):
            if self._invoke(lambda ports, _: keep_gates.tend_all(keys, ports)):
                break
            self.clock.sleep(AGAIN_S)
        self.waiting -= 1

    def _invoke(self, work: Callable[[Any, Any], Any]) -> bool:
        try:
            _, done = self.function.invoke(work, [])
        except Failed as failed:
            self.tell("gatekeeper", str(failed))
            return False
        self.tell("gatekeeper", done)
        return True


@dataclass
class Switch:
    """Changes mappings as AWS does: slowly, one change at a time."""

    clock: Clock
    weather: Weather
    mappings: dict[str, QueueMapping]
    doing: dict[str, Mapped] = field(default_factory=dict)
    changing: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def put(self, mapping_id: str, wanted: Mapped) -> bool:
        if mapping_id not in self.mappings or mapping_id in self.deleted:
            return True
        if mapping_id in self.changing:
            return False
        if self.doing.get(mapping_id, Mapped()) == wanted:
            return True
        self.changing.add(mapping_id)
        self.clock.at(self.clock.now + self.weather.between(SWITCHING_S), self._changed, mapping_id, wanted)
        return False

    def _changed(self, mapping_id: str, wanted: Mapped) -> None:
        self.changing.discard(mapping_id)
        self.doing[mapping_id] = wanted
        if mapping_id in self.mappings:
            self.mappings[mapping_id].switch(wanted.on and mapping_id not in self.deleted)

    def delete(self, destination: str, known_id: str | None) -> None:
        """For a while it still hands out jobs."""
        if destination not in self.mappings or destination in self.deleted:
            return
        if destination in self.changing:
            raise QueueUnavailable("Lambda: ResourceInUseException")
        self.deleted.add(destination)
        self.clock.at(self.clock.now + self.weather.between(SWITCHING_S), self.mappings[destination].switch, False)

    def is_slow(self, mapping_id: str) -> bool:
        return self.doing.get(mapping_id, Mapped()).pool is Pool.SLOW


@dataclass
class Store:
    """Destinations as the gatekeeper looks them up, and those that are being buried."""

    config: Config
    unfinished: dict[str, Unfinished]

    def find(self, kind: type[Item], workspace: str, name: str) -> Any:
        return self.unfinished.get(name) if kind is Unfinished else self._destination(workspace, name)

    def _destination(self, workspace: str, name: str) -> Destination | None:
        route = self.config.now(name).route
        if route is None:
            return None
        return Destination(
            workspace_id=workspace,
            id=name,
            name=route.name,
            type="webhook",
            source_ids=(),
            enabled=route.enabled,
            settings=Plain("https://example.com", {}),
            secret_names=(),
            queue_url=route.queue_url,
            mapping_id=name,
            created_at="",
            updated_at="",
        )

    def page(self, kind: type[Item], workspace: str, window: Window) -> list[Item]:
        """There are no alerts."""
        return []

    def commit(self, steps: Steps, entry: object) -> tuple[()]:
        for step in steps:
            if isinstance(step, Remove):
                self.unfinished.pop(step.item.id, None)
        return ()


class Bus:
    def tell_gate(self, event_id: str, detail: bytes) -> None:
        pass


@dataclass
class ProbeQueue:
    """Queues emptied by hand. What is not deleted after it was sent comes again, for a cause that is noted here."""

    queues: Queues
    effect: Callable[[Callable[[], Any]], Any]

    def receive(self, queue_url: str, hidden_s: int) -> list[Message]:
        return self.effect(lambda: self._receive(self._fifo(queue_url), hidden_s))  # type: ignore[no-any-return]

    def _receive(self, fifo: Fifo, hidden_s: int) -> list[Message]:
        found = fifo.receive(10)
        for each in found:
            fifo.change_visibility(each.receipt, hidden_s)
            each.was_hidden, each.holder = False, getcurrent().of
        getcurrent().of.about += found
        return [received(each) for each in found]

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None:
        fifo = self._fifo(queue_url)
        try:
            self.effect(lambda: [self._delete(fifo, each) for each in receipts])
        except Unavailable:
            for each in receipts:
                getcurrent().of.excuse(LOST_DELETION, fifo.by_receipt[each].job)
            raise

    def _delete(self, fifo: Fifo, receipt: str) -> None:
        try:
            fifo.delete(receipt)
        except ReceiptExpired:
            getcurrent().of.excuse(OUTLIVED, fifo.by_receipt[receipt].job)

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        self.effect(lambda: self.queues.hide(queue_url, waits))

    def waiting(self, queue_url: str) -> int:
        return len(self._fifo(queue_url).held)

    def _fifo(self, queue_url: str) -> Fifo:
        found = self.queues.by_url.get(queue_url)
        if found is None:
            raise QueueGone("SQS: no such queue")
        return found


class Probe:
    """A probe is deliver's own step with the gate left out."""

    def __init__(self, clock: Clock, ports: Any) -> None:
        self._clock = clock
        self._ports = ports

    def __call__(self, destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
        until = self._clock.now + PROBING_S
        messages = [Message(job.id, job.receipt, job.group, job.body, job.receives, job.sent_at) for job in jobs]
        try:
            outcome = deliver_step.deliver(
                Batch(destination, queue_url, messages), self._ports, lambda: self._clock.now < until, is_probe=True
            )
        except Unavailable as error:
            getcurrent().of.excuse(f"failed as a whole: {error}")
            raise
        return Sent(frozenset(outcome.failed), outcome.delivered)


def moved_by_hand(book: MemoryGates, key: Key, is_paused: bool, now: float) -> None:
    """What a person does by the control API, until it is done."""
    while True:
        before = book.find(key)
        after = moves.paused(before, "by hand", "person", now) if is_paused else moves.resumed(before, "person", now)
        if after == before:
            return
        try:
            book.save(*key, before, after)
            return
        except StoreChanged:
            continue


def is_shut(book: MemoryGates, key: Key) -> bool:
    return book.find(key).state is not GateState.OPEN
