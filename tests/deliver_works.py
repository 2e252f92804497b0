"""Deliver with stand-ins of all around it, as its tests have it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from penstock.domain.books import Books, add_up
from penstock.domain.delivery import Patience
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.evidence import Evidence
from penstock.domain.gate import Gate
from penstock.domain.job import Job
from penstock.domain.letters import Letter
from penstock.domain.progress import Progress
from penstock.domain.rate import Lease
from penstock.domain.webhook import Webhook
from penstock.steps.deliver import Ports, deliver
from penstock.steps.lane import Message
from penstock.steps.settle import Outcome
from tests.builders_pipeline import DESTINATION, WORKSPACE, batch, event, job_of, run_of, url_of, webhook
from tests.fakes_pipeline import Inline, MemoryProgress, MemoryReceipts, RecordingTool

NOW = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
PATIENCE = Patience(4.0, 10.0)


class Hidden:
    """Remembers what was hidden for how long, call by call."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.calls: list[list[tuple[str, int]]] = []
        self._trouble = trouble

    def hide(self, queue_url: str, waits: Any) -> None:
        assert queue_url == url_of(DESTINATION)
        self.calls.append(list(waits))
        if self._trouble is not None:
            raise self._trouble


@dataclass
class Doors:
    """The gate, and what it is told."""

    gate: Gate = field(default_factory=Gate)
    reports: list[Evidence] = field(default_factory=list)
    trouble: Exception | None = None

    def get(self, key: tuple[str, str]) -> Gate:
        assert key == (WORKSPACE, DESTINATION)
        return self.gate

    def report(self, workspace: str, destination: str, evidence: Evidence) -> None:
        assert (workspace, destination) == (WORKSPACE, DESTINATION)
        self.reports.append(evidence)
        if self.trouble is not None:
            raise self.trouble


@dataclass
class Rates:
    """Leases what it is told to, and remembers what was asked and settled."""

    granted: Lease = Lease(None, None)  # noqa: RUF009 - a tuple
    asked: list[tuple[int, int]] = field(default_factory=list)
    settled: list[tuple[int, int]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    pause_s: float = 0.0

    def lease(self, workspace: str, destination: str, policy: DeliveryPolicy, wanted: int, groups: int) -> Lease:
        self.asked.append((wanted, groups))
        return self.granted

    def settle(
        self, workspace: str, destination: str, lease: Lease, sent: int, throttled: int, pause_s: float, failed: int
    ) -> None:
        assert lease is self.granted
        self.failed.append(failed)
        self.settled.append((sent, throttled))
        self.pause_s = pause_s


class KeptLetters:
    def __init__(self) -> None:
        self.letters: list[Letter] = []

    def keep(self, workspace: str, destination: str, letters: Sequence[Letter]) -> None:
        self.letters += letters


@dataclass
class Works:
    """Deliver's ports in memory."""

    tool: Any = field(default_factory=RecordingTool)
    settings: Webhook | Exception | None = field(default_factory=webhook)
    progress: MemoryProgress = field(default_factory=MemoryProgress)
    queue: Hidden = field(default_factory=Hidden)
    receipts: MemoryReceipts = field(default_factory=MemoryReceipts)
    doors: Doors = field(default_factory=Doors)
    rates: Rates = field(default_factory=Rates)
    letters: KeptLetters = field(default_factory=KeptLetters)
    threads: Executor = field(default_factory=Inline)
    chance: float = 0.5
    now: datetime = NOW

    def get(self, key: tuple[str, str]) -> Webhook | None:
        if isinstance(self.settings, Exception):
            raise self.settings
        return self.settings if key == (WORKSPACE, DESTINATION) else None

    def deliver(
        self, *messages: Message, has_time: Callable[[], bool] = lambda: True, is_probe: bool = False
    ) -> Outcome:
        ports = Ports(
            destinations=self,
            gates=self.doors,
            watch=self.doors,
            rate=self.rates,
            tool=self.tool,
            progress=self.progress,
            queue=self.queue,
            letters=self.letters,
            receipts=self.receipts,
            threads=self.threads,
            now=lambda: self.now,
            seconds=lambda: 0.0,
            chance=lambda: self.chance,
            patience=PATIENCE,
        )
        return deliver(batch(*messages), ports, has_time, is_probe)

    @property
    def books(self) -> Books:
        return add_up(self.receipts.read(WORKSPACE, DESTINATION))

    @property
    def numbers(self) -> list[int]:
        return [json.loads(each.body)["properties"]["n"] for each in self.tool.posted]

    def note(self, job: Job) -> Progress | None:
        return self.progress.notes.get((WORKSPACE, DESTINATION, job.id))


def reached(note: Progress | None) -> tuple[int, int, str] | None:
    """What a note says of the job, without times and the hub's own counts."""
    return None if note is None else (note.done, note.attempts, note.last)


def job(*numbers: int, key: str = "ada", id_: int = 1) -> Job:
    return job_of(run_of(*[event(n) for n in numbers], key=key), id_)
