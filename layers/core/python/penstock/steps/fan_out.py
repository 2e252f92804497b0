"""Fan out: put every run of the stream on the queues of the destinations that want its events, in order.

Only what is claimed goes on (`claim`): an event whose messageId came before is left out, and counted as a duplicate. Of
the two streams' fan-outs only one sends a key's runs (`keep_order`). Where a queue is deep, a lane's jobs may go to the
overflow instead (`spill`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain.books import FanoutReceipt
from penstock.domain.dedup import KeyState, Owner
from penstock.domain.enforcement import records_of
from penstock.domain.job import encode_job
from penstock.domain.overflow import LaneKey
from penstock.domain.routing import Route
from penstock.domain.run import decode_run, encode_run
from penstock.domain.stream_record import BULK
from penstock.errors import QueueGone, QueueUnavailable
from penstock.steps import keep_order
from penstock.steps.assign import UNREADABLE, Assigned, Load, Plans, Routes, Waiting, assign
from penstock.steps.claim import Arrived, Dedup, arrived, claim, look
from penstock.steps.keep_order import Entry, arrange, finish, put_in_order
from penstock.steps.measure import Measured

MOST_QUEUES_AT_ONCE = 16
ENTRIES_PER_CALL = 10
LARGEST_CALL = 1024 * 1024 - 16 * 1024
PAUSES_S = (0.1, 0.2, 0.4)  # what is still refused after the last of them is left to a replay


class Record(NamedTuple):
    """One record of the stream; `id` is `<shard>-<sequence number>`, `arrived_at` by the stream's clock (epoch)."""

    id: str
    data: bytes
    arrived_at: float


class Message(NamedTuple):
    """One job as it goes to a queue."""

    id: str
    group: str
    body: str


class Queues(Protocol):
    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        """Send up to ten messages of different groups in one call; the ids of those that were not taken.

        Raises `QueueGone`, or `QueueUnavailable` when it is unknown what was taken.
        """


class Spill(Protocol):
    """Where the jobs go of lanes that overflow."""

    def is_due(self, lane: LaneKey, queue_url: str, key: KeyState) -> bool:
        """Whether the key's next jobs have to go there. Raises `QueueGone`."""

    def append(self, lane: LaneKey, owner: Owner, key: KeyState, jobs: Sequence[Message]) -> int:
        """How many of the jobs it has, from the first on; the others go to the queue. Raises `StoreUnavailable`."""

    def sent(self, destination: str, group: str) -> None:
        """A job went to the queue."""


class Imports(Protocol):
    """The destinations' queues for imports."""

    def get(self, workspace: str, route: Route) -> str:
        """Its URL, made if it has to be. Raises `QueueGone` where the destination is gone, or `Unavailable`."""


class Receipts(Protocol):
    """Keeps receipts. Raises `StoreUnavailable`."""

    def keep_fanout(self, workspace: str, destination: str, receipt: FanoutReceipt) -> None: ...


class Parked(Protocol):
    """Keeps records that cannot be read, for a person to look at. Raises `StoreUnavailable`."""

    def keep(self, record_id: str, data: bytes) -> None: ...


@dataclass(frozen=True)
class Ports:
    """`threads` run the work of claims and queues; `now` is ISO 8601 UTC; `measure` counts what went through.

    `note_lag` takes a shard of bulk and when the oldest record of its batch arrived.
    """

    dedup: Dedup
    routes: Routes
    queues: Queues
    imports: Imports
    spill: Spill
    receipts: Receipts
    parked: Parked
    plans: Plans
    order: keep_order.Ports
    measure: Callable[[Sequence[Measured]], None]
    note_lag: Callable[[str, float], None]
    threads: Executor
    now: Callable[[], str]
    sleep: Callable[[float], None]


@dataclass(frozen=True)
class Outcome:
    """`failed` are the ids of records to replay: what was sent of them already, their queues know again."""

    failed: frozenset[str]
    unreadable: tuple[str, ...]
    messages: int


def fan_out(records: Sequence[Record], ports: Ports) -> Outcome:
    """A batch of one shard. Raises `Unavailable` where the whole of it has to be replayed."""
    _note_lag(records, ports)
    found, unreadable = _arrived(records, ports.parked)
    arranged = arrange([Entry(each.record_id, each.run) for each in found], ports.order)
    sending = {found[place].run.origin or found[place].record_id: place for place in arranged.to_send}
    runs = [found[place]._replace(record_id=record_id) for record_id, place in sending.items()]
    assigned = _assigned(runs, ports)
    for record_id in assigned.unreadable:
        ports.parked.keep(record_id, encode_run(found[sending[record_id]].run))
    forward_to = ports.order.bulk if arranged.is_bulk else ports.order.live
    put_in_order([record for run in assigned.forwarded for record in records_of(run)], forward_to)
    settled = [ports.threads.submit(_settle, load, ports) for load in assigned.loads]
    wait(settled)  # for all of them, before any trouble is raised: nothing may be sent once the replay has begun
    for each in settled:
        each.result()
    failed = {sending[record_id] for load in assigned.loads for record_id in load.failed}
    end = finish(arranged, min(failed, default=len(found)), ports.order)
    at = {record.id: record.arrived_at for record in records}
    ports.measure([Measured(each.run, at[each.record_id], arranged.is_bulk) for each in found[:end]])
    again = frozenset(found[place].record_id for place in {*failed, end} if place < len(found))
    return Outcome(again, (*unreadable, *assigned.unreadable), sum(load.sent for load in assigned.loads))


def _note_lag(records: Sequence[Record], ports: Ports) -> None:
    shards = {record.id.rpartition("-")[0] for record in records if record.id.startswith(BULK)}
    for shard in shards:
        ports.note_lag(shard, min(record.arrived_at for record in records))


def _assigned(runs: Sequence[Arrived], ports: Ports) -> Assigned:
    firsts = claim(runs, look(runs, ports.now()[:10], ports.dedup), ports.dedup, ports.threads)
    return assign(firsts, ports.routes, ports.plans)


def _arrived(records: Sequence[Record], parked: Parked) -> tuple[list[Arrived], list[str]]:
    """The runs in the records, and the ids of those that hold none: parked, so that they block nothing and stay."""
    runs, unreadable = [], []
    for record in records:
        try:
            runs.append(arrived(record.id, record.arrived_at, decode_run(record.data)))
        except UNREADABLE:
            parked.keep(record.id, record.data)
            unreadable.append(record.id)
    return runs, unreadable


def _settle(load: Load, ports: Ports) -> None:
    """Send, then note what was sent. Where the note fails the records come again; the queue absorbs what it has."""
    try:
        if load.is_import and load.lines:
            load.route = msgspec.structs.replace(load.route, queue_url=ports.imports.get(load.workspace, load.route))
        _spill(load, ports.spill)
        load.failed = _send(load, ports)
    except QueueGone:
        return  # deleted a moment ago: nothing is accepted for it any more
    records = {record_id: share.receipt for record_id, share in load.shares.items() if record_id not in load.failed}
    if records:
        ports.receipts.keep_fanout(load.workspace, load.route.id, FanoutReceipt(ports.now(), records))


def _spill(load: Load, spill: Spill) -> None:
    """Take from each line what belongs to the overflow. Raises `StoreUnavailable`: the whole batch comes again."""
    for group, (owner, state) in load.keys.items():
        lane, line = LaneKey(load.workspace, load.queue, group), load.lines[group]
        if not spill.is_due(lane, load.route.queue_url, state):
            continue
        taken = spill.append(lane, owner, state, [_message(each, group) for each in line])
        load.sent += taken
        for _ in range(taken):
            _advance(load.lines, group)


def _send(load: Load, ports: Ports) -> frozenset[str]:
    """Send each line in order; the records of what was never acknowledged, by which all behind it was held back."""
    left = load.lines
    for pause_s in (*PAUSES_S, None):
        left = _round(load, left, ports)
        if not left or pause_s is None:
            break
        ports.sleep(pause_s)
    return frozenset(waiting.record_id for line in left.values() for waiting in line)


def _round(load: Load, lines: OrderedDict[str, deque[Waiting]], ports: Ports) -> OrderedDict[str, deque[Waiting]]:
    """Send what the queue takes; the lines whose head it refused. A call that gives no answer ends the round."""
    refused: OrderedDict[str, deque[Waiting]] = OrderedDict()
    heads: dict[str, Message] = {}
    while lines:
        call = _next_call(lines, heads)
        try:
            not_taken = ports.queues.send(load.route.queue_url, call)
        except QueueUnavailable:
            return OrderedDict([*lines.items(), *refused.items()])
        for message in call:
            if message.id in not_taken:
                refused[message.group] = lines.pop(message.group)
            else:
                load.sent += 1
                ports.spill.sent(load.queue, message.group)
                _advance(lines, message.group)
            del heads[message.group]
    return refused


def _next_call(lines: OrderedDict[str, deque[Waiting]], heads: dict[str, Message]) -> list[Message]:
    """The heads of up to ten lines, as far as one call can carry them.

    Never two of one line: if the first were refused and the second taken, they would be swapped.
    """
    call: list[Message] = []
    size = 0
    for group, line in lines.items():
        if group not in heads:
            heads[group] = _message(line[0], group)
        weight = len(heads[group].body.encode())
        if call and (len(call) == ENTRIES_PER_CALL or size + weight > LARGEST_CALL):
            break
        call.append(heads[group])
        size += weight
    return call


def _message(waiting: Waiting, group: str) -> Message:
    return Message(waiting.job.id, group, encode_job(waiting.job))


def _advance(lines: OrderedDict[str, deque[Waiting]], group: str) -> None:
    """Take an acknowledged head off its line, and let other lines go first."""
    lines[group].popleft()
    if lines[group]:
        lines.move_to_end(group)
    else:
        del lines[group]
