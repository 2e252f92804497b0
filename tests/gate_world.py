"""A destination that is up or down, with everything that watches and keeps its gate, in memory and on one clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from msgspec.structs import replace

from penstock.domain import gate as gates
from penstock.domain.config import Change, Create
from penstock.domain.destinations import Destination, import_name
from penstock.domain.evidence import Evidence
from penstock.domain.gate import Gate, Mapped
from penstock.domain.webhook_settings import Plain
from penstock.steps import bury, keep_burials
from penstock.steps.keep_burials import KeepBurials
from penstock.steps.keep_gates import Ports, tend_all, tick
from penstock.steps.keep_letters import KeepLetters
from penstock.steps.keep_overflow import KeepOverflow
from penstock.steps.probe_queue import Received, Sent
from penstock.steps.record import Ledger
from penstock.steps.watch_gate import WatchGate
from tests.builders_pipeline import DESTINATION, WORKSPACE, url_of
from tests.fakes_control import Faults, MemoryMappings, MemoryStore
from tests.fakes_gate import (
    MemoryBurials,
    MemoryBus,
    MemoryChores,
    MemoryDeliveries,
    MemoryGates,
    MemoryProbeQueues,
    MemorySwitch,
    NamedQueues,
)
from tests.fakes_letters import MemoryBodies, MemoryLetters
from tests.fakes_overflow import MemoryOverflow
from tests.fakes_pipeline import Clock, Fifo, Inline, MemoryProgress, MemoryQueues, MemoryReceipts

KEY = (WORKSPACE, DESTINATION)
OUTLIVES_S = 300.0
URL, IMPORT_URL = url_of(DESTINATION), url_of(import_name(DESTINATION))
IMPORT_MAPPING = "mapping-of-its-imports"


def destination(id_: str = DESTINATION) -> Destination:
    return Destination(
        workspace_id=WORKSPACE,
        id=id_,
        name="Hook",
        type="webhook",
        source_ids=(),
        enabled=True,
        settings=Plain("https://example.com", {}),
        secret_names=(),
        queue_url=url_of(id_),
        mapping_id=f"mapping-of-{id_}",
        created_at="",
        updated_at="",
    )


class Retention:
    def get(self, workspace: str) -> int:
        return 30


class World:
    """`down` says for which groups the destination fails."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.gates, self.chores = MemoryGates(self.clock), MemoryChores(self.clock)
        self.switch, self.bus, self.store = MemorySwitch(), MemoryBus(), MemoryStore()
        self.queues = MemoryProbeQueues(self.clock)
        self.queue = self.queues.make(URL)
        self.waiting = MemoryOverflow(self.clock)
        self.gates.turns = self.waiting.due
        self.filled = MemoryQueues(self.clock)
        self.filled.queues = self.queues.queues
        self.receipts, self.progress = MemoryReceipts(), MemoryProgress()
        self.overflow = KeepOverflow(self.waiting, self.queues, self.filled, self.progress, self.clock)
        self.burials, self.mappings = MemoryBurials(self.gates, self.clock), MemoryMappings()
        self.named = NamedQueues(self.queues, url_of)
        self.ids = count()
        self.bodies, self.letters = MemoryBodies(), MemoryLetters(self.clock)
        self.ledger = Ledger(self.store, lambda length: "x" * length, self.clock)
        self.store.commit([Create(destination())], None)
        self.mappings.create(*KEY)
        self.switch.mappings[f"mapping-of-{DESTINATION}"] = Mapped()
        self.down: Callable[[str], bool] = lambda _: True
        self.probes: list[tuple[float, list[str]]] = []
        self.watch = WatchGate(self.gates, self.gates, MemoryDeliveries(MemoryReceipts().read), self.chores, self.clock)

    def ports(self, **fields: Any) -> Ports:
        given = {
            "book": self.gates,
            "store": self.store,
            "switch": self.switch,
            "queue": self.queues,
            "deliver": self.deliver,
            "overflow": self.overflow,
            "burials": self.keep_burials(),
            "chores": self.chores,
            "bus": self.bus,
            "threads": Inline(),
            "clock": self.clock,
        }
        return Ports(**(given | fields))

    def ports_with(self, faults: Faults) -> Ports:
        return self.ports(
            book=faults.around(self.gates, "save"),
            store=faults.around(self.store, "commit"),
            switch=faults.around(self.switch, "put"),
            queue=faults.around(self.queues, "receive", "delete", "hide"),
            chores=faults.around(self.chores, "send"),
            bus=faults.around(self.bus, "tell_gate"),
        )

    def new_id(self) -> str:
        return str(next(self.ids))

    def keep_burials(self, **fields: Any) -> KeepBurials:
        """`fields` of the step's ports, and of those of its graves."""
        graves = {
            "queue": self.queues,
            "overflow": self.waiting,
            "progress": self.progress,
            "letters": KeepLetters(self.bodies, self.letters, Retention(), self.clock, self.new_id),
            "receipts": self.receipts,
            "now": lambda: datetime.fromtimestamp(self.clock.now, UTC),
        }
        given = {
            "ledger": self.ledger,
            "notes": self.burials,
            "queues": self.named,
            "mappings": self.mappings,
            "gates": self.gates,
            "queue": self.queues,
            "overflow": self.waiting,
            "graves": bury.Ports(**{name: fields.get(name, port) for name, port in graves.items()}),
            "chores": self.chores,
            "outlives_s": OUTLIVES_S,
        }
        return KeepBurials(keep_burials.Ports(**{name: fields.get(name, port) for name, port in given.items()}))

    def deliver(self, destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
        self.probes.append((self.clock.now, [job.group for job in jobs]))
        failed = frozenset(job.id for job in jobs if self.down(job.group))
        return Sent(failed, len(jobs) - len(failed))

    def send(self, *groups: str) -> None:
        for number, group in enumerate(groups):
            self.queue.take(group, f"job-{self.queue.numbers}-{number}", "{}")

    def equip_for_imports(self) -> Fifo:
        """Its queue for imports, with a mapping."""
        before = self.store.find(Destination, *KEY)
        assert before is not None
        after = replace(before, import_queue_url=IMPORT_URL, import_mapping_id=IMPORT_MAPPING)
        self.store.commit([Change(before, after)], None)
        self.switch.mappings[IMPORT_MAPPING] = Mapped()
        return self.queues.make(IMPORT_URL)

    def close(self, reason: str = gates.FAILING) -> None:
        self.watch.report(*KEY, Evidence(frozenset(), 0, reason, 0.1, 1))

    def pass_(self, seconds: float, ticking: bool = True) -> None:
        """Time goes by: chores are done when they are due, and the scheduler wakes the gatekeeper every minute."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            tend_all(self.chores.take(), self.ports())
            self.clock.now += 1
            if ticking and self.clock.now % 60 == 0:
                tick(self.ports())

    @property
    def gate(self) -> Gate:
        return self.gates.find(KEY)

    @property
    def mapped(self) -> Mapped:
        return self.switch.mappings[f"mapping-of-{DESTINATION}"]

    def told(self) -> list[dict[str, str]]:
        return [json.loads(detail) for _, detail in self.bus.told]
