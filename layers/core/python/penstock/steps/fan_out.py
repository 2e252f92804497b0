"""Fan out: put every run of the stream on the queues of the destinations that want its events, in order."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import routing
from penstock.domain.books import FanoutReceipt, RecordReceipt
from penstock.domain.enforcement import Enforced, enforced, records_of
from penstock.domain.job import Job, encode_job, group_of
from penstock.domain.routing import Route
from penstock.domain.run import Run, decode_run
from penstock.domain.stream_record import StreamRecord
from penstock.domain.tracking_plan import Compiled
from penstock.errors import QueueGone, QueueUnavailable

MOST_QUEUES_AT_ONCE = 16
ENTRIES_PER_CALL = 10
LARGEST_CALL = 1024 * 1024 - 16 * 1024
PAUSES_S = (0.1, 0.2, 0.4)  # what is still refused after the last of them is left to a replay


class Record(NamedTuple):
    """One record of the stream; `id` is `<shard>-<sequence number>`."""

    id: str
    data: bytes


class Message(NamedTuple):
    """One job as it goes to a queue."""

    id: str
    group: str
    body: str


class Routes(Protocol):
    """The destinations of a workspace. Raises `StoreUnavailable`."""

    def get(self, workspace: str) -> Sequence[Route]: ...


class Plans(Protocol):
    """The tracking plan of a (workspace, source), if it has one. Raises `StoreUnavailable`: an outage is no absence."""

    def get(self, of: tuple[str, str]) -> Compiled | None: ...


class Stream(Protocol):
    """Where forwarded events begin anew. Raises `StreamUnavailable`."""

    def put(self, records: Sequence[StreamRecord]) -> None: ...


class Queues(Protocol):
    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        """Send up to ten messages of different groups in one call; the ids of those that were not taken.

        Raises `QueueGone`, or `QueueUnavailable` when it is unknown what was taken.
        """


class Receipts(Protocol):
    """Keeps receipts. Raises `StoreUnavailable`."""

    def keep_fanout(self, workspace: str, destination: str, receipt: FanoutReceipt) -> None: ...


class Parked(Protocol):
    """Keeps records that cannot be read, for a person to look at. Raises `StoreUnavailable`."""

    def keep(self, record_id: str, data: bytes) -> None: ...


@dataclass(frozen=True)
class Ports:
    """`threads` run the queues' work; `now` is ISO 8601 UTC."""

    routes: Routes
    queues: Queues
    receipts: Receipts
    parked: Parked
    plans: Plans
    stream: Stream
    threads: Executor
    now: Callable[[], str]
    sleep: Callable[[float], None]


class _Waiting(NamedTuple):
    """A job that waits to be sent; its message is made when its turn comes, so that few are in memory at once."""

    job: Job
    record_id: str


@dataclass
class _Load:
    """All that one batch of records brings to one destination; `lines` are its groups, each in order."""

    workspace: str
    route: Route
    lines: OrderedDict[str, deque[_Waiting]] = field(default_factory=OrderedDict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    sent: int = 0
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """`failed` are the ids of records to replay: what was sent of them already, their queues know again."""

    failed: frozenset[str]
    unreadable: tuple[str, ...]
    messages: int


def fan_out(records: Sequence[Record], ports: Ports) -> Outcome:
    """Raises `Unavailable` where the whole batch has to be replayed."""
    loads, forwarded, unreadable = _loads(records, ports)
    _forward(forwarded, ports.stream)
    settled = [ports.threads.submit(_settle, load, ports) for load in loads]
    wait(settled)  # for all of them, before any trouble is raised: nothing may be sent once the replay has begun
    for each in settled:
        each.result()
    failed = frozenset(record_id for load in loads for record_id in load.failed)
    return Outcome(failed, unreadable, sum(load.sent for load in loads))


def _loads(records: Iterable[Record], ports: Ports) -> tuple[list[_Load], list[Run], tuple[str, ...]]:
    """What the records bring to each destination, and what plans forward.

    What is no run is parked: it blocks nothing and is not lost. What a plan blocks is filtered for every destination.
    """
    loads: dict[str, _Load] = {}
    forwarded, unreadable = [], []
    for record in records:
        try:
            whole = decode_run(record.data)
            parts, other = _enforced(whole, ports.plans)
            routes = ports.routes.get(whole.workspace)
            found = [(part, *each) for part in parts for each in routing.wanted(part, routes)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            ports.parked.keep(record.id, record.data)
            unreadable.append(record.id)
            continue
        forwarded += [] if other is None else [other]
        made: Counter[str] = Counter()
        for part, route, events in found:
            load = loads.setdefault(route.id, _Load(whole.workspace, route))
            accepted, filtered = load.counts.get(record.id, (len(whole.events), len(whole.events)))
            load.counts[record.id] = (accepted, filtered - len(events))
            jobs = routing.jobs(part, events, route.id, record.id, made[route.id])
            if jobs:
                made[route.id] += len(jobs)
                line = load.lines.setdefault(group_of(whole.source, whole.key), deque())
                line.extend(_Waiting(job, record.id) for job in jobs)
    return list(loads.values()), forwarded, tuple(unreadable)


def _enforced(run: Run, plans: Plans) -> Enforced:
    plan = plans.get((run.workspace, run.source))
    return Enforced((run,), None) if plan is None else enforced(run, plan)


def _forward(runs: Sequence[Run], stream: Stream) -> None:
    """In order for each key: no call carries two records of one."""
    left = [record for run in runs for record in records_of(run)]
    while left:
        call: dict[str, StreamRecord] = {}
        behind = []
        for record in left:
            if record.partition_key in call:
                behind.append(record)
            else:
                call[record.partition_key] = record
        stream.put(list(call.values()))
        left = behind


def _settle(load: _Load, ports: Ports) -> None:
    """Send, then note what was sent. Where the note fails the records come again; the queue absorbs what it has."""
    try:
        load.failed = _send(load, ports)
    except QueueGone:
        return  # deleted a moment ago: nothing is accepted for it any more
    counts = {
        record_id: RecordReceipt(*count) for record_id, count in load.counts.items() if record_id not in load.failed
    }
    if counts:
        ports.receipts.keep_fanout(load.workspace, load.route.id, FanoutReceipt(ports.now(), counts))


def _send(load: _Load, ports: Ports) -> frozenset[str]:
    """Send each line in order; the records of what was never acknowledged, by which all behind it was held back."""
    left = load.lines
    for pause_s in (*PAUSES_S, None):
        left = _round(load, left, ports.queues)
        if not left or pause_s is None:
            break
        ports.sleep(pause_s)
    return frozenset(waiting.record_id for line in left.values() for waiting in line)


def _round(load: _Load, lines: OrderedDict[str, deque[_Waiting]], queues: Queues) -> OrderedDict[str, deque[_Waiting]]:
    """Send what the queue takes; the lines whose head it refused. A call that gives no answer ends the round."""
    refused: OrderedDict[str, deque[_Waiting]] = OrderedDict()
    heads: dict[str, Message] = {}
    while lines:
        call = _next_call(lines, heads)
        try:
            not_taken = queues.send(load.route.queue_url, call)
        except QueueUnavailable:
            return OrderedDict([*lines.items(), *refused.items()])
        for message in call:
            if message.id in not_taken:
                refused[message.group] = lines.pop(message.group)
            else:
                load.sent += 1
                _advance(lines, message.group)
            del heads[message.group]
    return refused


def _next_call(lines: OrderedDict[str, deque[_Waiting]], heads: dict[str, Message]) -> list[Message]:
    """The heads of up to ten lines, as far as one call can carry them.

    Never two of one line: if the first were refused and the second taken, they would be swapped.
    """
    call: list[Message] = []
    size = 0
    for group, line in lines.items():
        if group not in heads:
            heads[group] = Message(line[0].job.id, group, encode_job(line[0].job))
        weight = len(heads[group].body.encode())
        if call and (len(call) == ENTRIES_PER_CALL or size + weight > LARGEST_CALL):
            break
        call.append(heads[group])
        size += weight
    return call


def _advance(lines: OrderedDict[str, deque[_Waiting]], group: str) -> None:
    """Take an acknowledged head off its line, and let other lines go first."""
    lines[group].popleft()
    if lines[group]:
        lines.move_to_end(group)
    else:
        del lines[group]
