"""Stand-ins for what fan-out and deliver ask for; each runs the contract tests of what it stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.books import CreatedReceipt, DeliverReceipt, FanoutReceipt, Receipt
from penstock.domain.delivery import Answer
from penstock.domain.progress import Progress
from penstock.domain.routing import Route
from penstock.domain.run import Run, decode_run
from penstock.domain.stream_record import StreamRecord
from penstock.domain.tracking_plan import Compiled
from penstock.errors import QueueGone, StreamUnavailable
from penstock.steps.fan_out import Message as Outgoing
from penstock.steps.lane import Message as Incoming

DEDUPLICATED_S = 300.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Inline(Executor):
    """Runs what is submitted at once, in the caller's thread. What is no `Exception` ends everything on the spot."""

    def submit(self, fn: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*given, **named))
        except Exception as error:  # noqa: BLE001 - as every executor does
            future.set_exception(error)
        return future


@dataclass
class Held:
    """One message that a queue holds."""

    id: str
    group: str
    body: str
    visible_at: float
    sent_at: float
    receives: int = 0
    receipt: str = ""


@dataclass
class Fifo:
    """An SQS FIFO queue in high-throughput mode: deduplication per group, a group locked while one is in flight."""

    clock: Callable[[], float]
    visibility_s: float = 360.0
    held: list[Held] = field(default_factory=list)
    seen: dict[tuple[str, str], float] = field(default_factory=dict)
    numbers: int = 0

    def take(self, group: str, deduplication_id: str, body: str) -> None:
        now = self.clock()
        if now - self.seen.get((group, deduplication_id), float("-inf")) < DEDUPLICATED_S:
            return
        self.seen[group, deduplication_id] = now
        self.numbers += 1
        self.held.append(Held(f"message-{self.numbers}", group, body, now, now))

    def receive(self, most: int = 10) -> list[Incoming]:
        now = self.clock()
        locked = {each.group for each in self.held if each.visible_at > now}
        found = [each for each in self.held if each.group not in locked][:most]
        for each in found:
            self.numbers += 1
            each.receives += 1
            each.receipt = f"receipt-{self.numbers}"
            each.visible_at = now + self.visibility_s
        return [Incoming(each.id, each.receipt, each.group, each.body, each.receives, each.sent_at) for each in found]

    def delete(self, receipt: str) -> None:
        self.held = [each for each in self.held if each.receipt != receipt]

    def hide(self, receipt: str, seconds: int) -> None:
        for each in self.held:
            if each.receipt == receipt:
                each.visible_at = self.clock() + seconds

    def wakes_at(self) -> float | None:
        """When the next message can be seen; None for an empty queue."""
        return min((each.visible_at for each in self.held), default=None)


class MemoryQueues:
    """The queues by their URLs; one that is not there is gone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.queues: dict[str, Fifo] = {}
        self.calls: list[tuple[str, list[Outgoing]]] = []

    def make(self, queue_url: str) -> Fifo:
        return self.queues.setdefault(queue_url, Fifo(self._clock))

    def send(self, queue_url: str, messages: Sequence[Outgoing]) -> set[str]:
        self.calls.append((queue_url, list(messages)))
        queue = self._queue(queue_url)
        for message in messages:
            queue.take(message.group, message.id, message.body)
        return set()

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        for receipt, seconds in waits:
            self._queue(queue_url).hide(receipt, seconds)

    def waiting(self, queue_url: str) -> int:
        return len(self._queue(queue_url).held)

    def _queue(self, queue_url: str) -> Fifo:
        if queue_url not in self.queues:
            raise QueueGone("SQS: no such queue")
        return self.queues[queue_url]


class MemoryImports:
    """Queues for imports, made when they are asked for."""

    def __init__(self, queues: Any) -> None:
        self._queues = queues

    def get(self, workspace: str, route: Route) -> str:
        url = route.queue_url.replace(".fifo", "-import.fifo")
        self._queues.make(url)
        return url


class MemoryReceipts:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Receipt]] = defaultdict(list)
        self.unreadable: dict[str, dict[str, bytes]] = defaultdict(dict)

    def keep_fanout(self, workspace: str, destination: str, receipt: FanoutReceipt) -> None:
        self.rows[workspace, destination].append(receipt)

    def keep_created(self, workspace: str, destination: str, receipt: CreatedReceipt) -> None:
        self.rows[workspace, destination].append(receipt)

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None:
        self.rows[workspace, destination].append(receipt)

    def keep_unreadable(self, destination: str, at: str, message_id: str, body: bytes) -> None:
        self.unreadable[destination][message_id] = body

    def read(
        self, workspace: str, destination: str, begin: str = "0", end: str = ":", page: int | None = None
    ) -> list[Receipt]:
        found = [row for row in self.rows[workspace, destination] if begin <= row.at < end]
        return sorted(found, key=lambda row: row.at)


class MemoryProgress:
    def __init__(self) -> None:
        self.notes: dict[tuple[str, str, str], Progress] = {}
        self.reads = 0

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None:
        self.reads += 1
        return self.notes.get((workspace, destination, job_id))

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None:
        known = self.notes.get((workspace, destination, job_id))
        if known is None or known.done <= progress.done:
            self.notes[workspace, destination, job_id] = progress

    def give_back(self, workspace: str, destination: str, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            known = self.notes.get((workspace, destination, job_id), Progress())
            self.notes[workspace, destination, job_id] = known._replace(returns=known.returns + 1)


@dataclass
class MemoryPlans:
    """Tracking plans by workspace and source."""

    plans: dict[tuple[str, str], Compiled] = field(default_factory=dict)

    def get(self, of: tuple[str, str]) -> Compiled | None:
        return self.plans.get(of)


@dataclass
class MemoryStream:
    """The stream as it is written to; a call never carries two records of one key."""

    runs: list[Run] = field(default_factory=list)
    down: bool = False

    def put(self, records: Sequence[StreamRecord]) -> None:
        if self.down:
            raise StreamUnavailable("down")
        assert len({record.partition_key for record in records}) == len(records)
        self.runs += [decode_run(record.data) for record in records]


class MemoryParked:
    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def keep(self, record_id: str, data: bytes) -> None:
        self.records[record_id] = data


@dataclass
class Posted:
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float


class RecordingTool:
    """Answers by `answers`, one after the other and then 200; remembers what it was asked."""

    def __init__(self, *answers: Answer | int) -> None:
        self.answers = [Answer(each) if isinstance(each, int) else each for each in answers]
        self.posted: list[Posted] = []

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        self.posted.append(Posted(url, headers, body, timeout_s))
        return self.answers.pop(0) if self.answers else Answer(200)
