"""Fan-out with all that it works with in memory."""

from __future__ import annotations

import json
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.dedup import KeyState
from penstock.domain.job import decode_job
from penstock.domain.overflow import STANDARD, Limits
from penstock.domain.routing import Route
from penstock.steps.fan_out import Outcome, Ports, Record, fan_out
from penstock.steps.spill import Spill
from tests import fakes_homes
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, route, url_of
from tests.builders_plans import compiled, properties_of, rule
from tests.fakes_dedup import MemoryDedup
from tests.fakes_homes import MemoryHomes
from tests.fakes_overflow import MemoryOverflow
from tests.fakes_pipeline import (
    Clock,
    Inline,
    MemoryImports,
    MemoryParked,
    MemoryPlans,
    MemoryQueues,
    MemoryReceipts,
    MemoryStream,
)

OTHER = "dst_bbbbbbbbbbbb"
AT = "2026-11-23T16:00:01.000Z"


@dataclass
class Works:
    """Fan-out's ports in memory."""

    routes: tuple[Route, ...] = (route(),)
    dedup: MemoryDedup = field(default_factory=MemoryDedup)
    queues: MemoryQueues = field(default_factory=lambda: MemoryQueues(Clock()))
    receipts: MemoryReceipts = field(default_factory=MemoryReceipts)
    parked: MemoryParked = field(default_factory=MemoryParked)
    plans: MemoryPlans = field(default_factory=MemoryPlans)
    stream: MemoryStream = field(default_factory=MemoryStream)
    threads: Executor = field(default_factory=Inline)
    bulk: MemoryStream = field(default_factory=MemoryStream)
    homes: MemoryHomes = field(default_factory=MemoryHomes)
    measured: list[Any] = field(default_factory=list)
    lags: list[tuple[str, float]] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    overflow: MemoryOverflow = field(default_factory=lambda: MemoryOverflow(Clock()))
    limits: Limits = STANDARD

    def __post_init__(self) -> None:
        self.spill = Spill(self.overflow, self.queues, Clock(), self.limits)
        for each in self.routes:
            self.queues.make(each.queue_url)

    def get(self, workspace: str) -> tuple[Route, ...]:
        return self.routes if workspace == WORKSPACE else ()

    def fan_out(self, *records: Record) -> Outcome:
        """A key's mark is in its own item."""
        self.dedup.states |= {owner: KeyState(frozenset(names)) for owner, names in self.overflow.marks.items()}
        ports = Ports(
            self.dedup,
            self,
            self.queues,
            MemoryImports(self.queues),
            self.spill,
            self.receipts,
            self.parked,
            self.plans,
            fakes_homes.order(live=self.stream, bulk=self.bulk, homes=self.homes, sleep=self.looks.append),
            self.measured.extend,
            lambda *given: self.lags.append(given),
            self.threads,
            lambda: AT,
            self.pauses.append,
        )
        return fan_out(records, ports)

    def sent(self, destination: str = DESTINATION, key: str | None = None) -> list[int]:
        """The numbers of the events on a queue, in order."""
        jobs = [decode_job(held.body) for held in self.queues.queues[url_of(destination)].held]
        found = [decoded(raw) for job in jobs if key in (None, job.run.key) for raw in job.run.events]
        return [each["properties"]["n"] for each in found]


def decoded(raw: Any) -> dict[str, Any]:

    found: dict[str, Any] = json.loads(bytes(raw))
    return found


def planned(works: Works, **actions: Any) -> None:
    schema = properties_of(n={"type": "number"})
    works.plans.plans[WORKSPACE, SOURCE] = compiled(rule(schema, "Counted"), **actions)
