"""The gatekeeper at scale: its real steps, with mappings that take their time and probes that hang like all else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Protocol

from infra.stages import stage
from penstock.adapters.probe_queue import AT_ONCE
from penstock.domain.gate import Key, Mapped
from penstock.steps import keep_gates
from penstock.steps.probe_queue import Sent
from penstock.steps.watch_gate import Chore
from tests.fakes_gate import MemoryBus, MemoryGates
from tests.simulation.clock import Clock, Threads
from tests.simulation.fifo import Held, NotInFlight, ReceiptExpired

REQUEST_TIMEOUT_S = stage("prod", "us-east-1").request_timeout_s
BATCHES_AT_ONCE, CHORES_AT_ONCE = 20, 10  # as `infra/gatekeeper.py` has it, which takes seconds to import
HANDED_OVER_S = 0.02  # from the queue of chores to the function
SWITCHED_AFTER_S = 60.0  # a mapping that is turned off, on, or to another function


class NothingElsewhere:
    """No queue is closed for so long that it is parked, and no user has so many jobs that some wait elsewhere."""

    def park(self, shut: Any) -> bool:
        return True

    def __getattr__(self, name: str) -> Callable[..., bool]:
        return lambda *given: False


class Hub(Protocol):
    by_id: Mapping[str, Any]

    def look(self, site: Any) -> None:
        """Let the pollers of its queue look what its mapping says."""

    def probe_s(self, site: Any) -> float | None:
        """How long a probe takes that gets through; None for one that hangs."""


class NothingDeleted:
    def overdue(self, now: float, most: int) -> list[Key]:
        return []


class Gatekeeper:
    """All ports of the real steps but the book, and the functions that run them."""

    def __init__(self, clock: Clock, gates: MemoryGates, hub: Hub) -> None:
        self._clock = clock
        self._hub = hub
        self._busy = 0
        self._due: deque[Key] = deque()
        ports = {
            "book": gates,
            "store": self,
            "switch": self,
            "queue": self,
            "deliver": self._probe,
            "chores": self,
            "bus": MemoryBus(),
            "overflow": NothingElsewhere(),
            "burials": NothingDeleted(),
            "threads": Threads(clock),
            "clock": clock,
        }
        self._ports = keep_gates.Ports(**{each.name: ports[each.name] for each in fields(keep_gates.Ports)})
        clock.at(60.0, self._tick)

    def send(self, chores: Sequence[Chore]) -> None:
        for chore in chores:
            self._clock.at(self._clock.now + chore.delay_s + HANDED_OVER_S, self._come, chore)

    def find(self, kind: type, workspace: str, destination: str) -> Any:
        return self._hub.by_id[destination]

    def commit(self, steps: object, entry: object) -> None:
        """The audit log."""

    def put(self, mapping_id: str, wanted: Mapped) -> bool:
        site = self._hub.by_id[mapping_id]
        if site.is_switching or site.mapped == wanted:
            return not site.is_switching
        site.is_switching = True
        self._clock.at(self._clock.now + SWITCHED_AFTER_S, self._switched, site, wanted)
        return False

    def receive(self, queue_url: str, hidden_s: int) -> list[Held]:
        jobs = self._hub.by_id[queue_url].queue.receive(AT_ONCE)
        for job in jobs:
            job.visible_at = self._clock.now + hidden_s
        return jobs

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None:
        for receipt in receipts:
            with suppress(ReceiptExpired):
                self._hub.by_id[queue_url].queue.delete(receipt)

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        for receipt, seconds in waits:
            with suppress(ReceiptExpired, NotInFlight):
                self._hub.by_id[queue_url].queue.change_visibility(receipt, seconds)

    def waiting(self, queue_url: str) -> int:
        return len(self._hub.by_id[queue_url].queue.held)

    def _probe(self, destination: str, queue_url: str, jobs: Sequence[Any]) -> Sent:
        takes_s = self._hub.probe_s(self._hub.by_id[destination])
        if takes_s is None:
            self._clock.sleep(REQUEST_TIMEOUT_S)
            return Sent(frozenset(job.id for job in jobs), 0)
        self._clock.sleep(takes_s)
        return Sent(frozenset(), len(jobs))

    def _switched(self, site: Any, wanted: Mapped) -> None:
        site.mapped, site.is_switching = wanted, False
        self._hub.look(site)

    def _tick(self) -> None:
        self._clock.at(self._clock.now + 60.0, self._tick)
        keep_gates.tick(self._ports)

    def _come(self, chore: Chore) -> None:
        self._due.append((chore.workspace, chore.destination))
        self._take()

    def _take(self) -> None:
        if self._due and self._busy < BATCHES_AT_ONCE:
            self._busy += 1
            keys = [self._due.popleft() for _ in range(min(len(self._due), CHORES_AT_ONCE))]
            self._clock.start(lambda: self._tend(keys))

    def _tend(self, keys: Sequence[Key]) -> None:
        keep_gates.tend_all(keys, self._ports)
        self._busy -= 1
        self._take()
