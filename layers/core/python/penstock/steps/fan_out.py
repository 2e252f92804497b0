"""Fan out: put every run of the stream on the queues of the destinations that want its events, in order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import routing
from penstock.domain.books import FanoutReceipt
from penstock.domain.job import encode_job, group_of
from penstock.domain.routing import Route
from penstock.domain.run import Run, decode_run
from penstock.errors import QueueGone, QueueUnavailable

MOST_QUEUES_AT_ONCE = 16
ENTRIES_PER_CALL = 10
LARGEST_CALL = 1024 * 1024 - 16 * 1024
TRIES = 4
FIRST_PAUSE_S = 0.1


class Record(NamedTuple):
    """One record of the stream; `id` is `<shard>-<sequence number>`."""

    id: str
    data: bytes


class Message(NamedTuple):
    """One job on its way to a queue; `record_id` is where it came from."""

    id: str
    group: str
    body: str
    record_id: str


class Routes(Protocol):
    """The destinations of a workspace. Raises `StoreUnavailable`."""

    def get(self, workspace: str) -> Sequence[Route]: ...


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
    routes: Routes
    queues: Queues
    receipts: Receipts
    parked: Parked
    now: Callable[[], str]
    sleep: Callable[[float], None]


@dataclass
class _Load:
    """All that one batch of records brings to one destination."""

    workspace: str
    route: Route
    messages: list[Message] = field(default_factory=list)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Outcome:
    """`failed` are the ids of records to replay; a replay of what was sent is absorbed by the queues."""

    failed: frozenset[str]
    unreadable: tuple[str, ...]
    messages: int


def fan_out(records: Sequence[Record], ports: Ports) -> Outcome:
    """Raises `Unavailable` where the whole batch has to be replayed."""
    runs, unreadable = _read(records, ports.parked)
    loads = _loads(runs, ports.routes)
    _in_parallel(lambda load: _deliver_to_queue(load, ports), loads)
    failed = frozenset(record_id for load in loads for record_id in load.failed)
    return Outcome(failed, unreadable, sum(len(load.messages) for load in loads))


def _read(records: Iterable[Record], parked: Parked) -> tuple[list[tuple[str, Run]], tuple[str, ...]]:
    """The runs, in order; what is none is parked, so that it blocks nothing and is not lost."""
    runs, unreadable = [], []
    for record in records:
        try:
            runs.append((record.id, decode_run(record.data)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            parked.keep(record.id, record.data)
            unreadable.append(record.id)
    return runs, tuple(unreadable)


def _loads(runs: Iterable[tuple[str, Run]], routes: Routes) -> list[_Load]:
    loads: dict[str, _Load] = {}
    known: dict[str, Sequence[Route]] = {}
    for record_id, run in runs:
        if run.workspace not in known:
            known[run.workspace] = routes.get(run.workspace)
        group = group_of(run.source, run.key)
        for route, events in routing.wanted(run, known[run.workspace]):
            load = loads.setdefault(route.id, _Load(run.workspace, route))
            load.counts[record_id] = (len(run.events), len(run.events) - len(events))
            load.messages += [
                Message(job.id, group, encode_job(job), record_id)
                for job in routing.jobs(run, events, route.id, record_id)
            ]
    return list(loads.values())


def _in_parallel(act: Callable[[_Load], None], loads: Sequence[_Load]) -> None:
    """One thread a queue, so that a slow queue delays no other."""
    if len(loads) < 2:
        for load in loads:
            act(load)
        return
    with ThreadPoolExecutor(min(len(loads), MOST_QUEUES_AT_ONCE)) as pool:
        for future in [pool.submit(act, load) for load in loads]:
            future.result()


def _deliver_to_queue(load: _Load, ports: Ports) -> None:
    """Send, then note what was sent. What the note is lost for is sent again and noted then."""
    try:
        load.failed = _send_all(load.route.queue_url, load.messages, ports)
    except QueueGone:
        return  # deleted a moment ago: nothing is accepted for it any more
    counts = {record_id: count for record_id, count in load.counts.items() if record_id not in load.failed}
    if counts:
        ports.receipts.keep_fanout(load.workspace, load.route.id, FanoutReceipt(ports.now(), counts))


def _send_all(queue_url: str, messages: Sequence[Message], ports: Ports) -> set[str]:
    """Send each group's messages in order; the records of those that were never acknowledged."""
    waiting: OrderedDict[str, deque[Message]] = OrderedDict()
    for message in messages:
        waiting.setdefault(message.group, deque()).append(message)
    failed: set[str] = set()
    tries: dict[str, int] = {}
    while waiting:
        call = _next_call(waiting)
        refused = _try(queue_url, call, ports.queues)
        for message in call:
            if message.id not in refused:
                _advance(waiting, message)
            else:
                tries[message.id] = tries.get(message.id, 0) + 1
                if tries[message.id] == TRIES:
                    failed |= {each.record_id for each in waiting.pop(message.group)}
        if refused and waiting:
            ports.sleep(FIRST_PAUSE_S * 2 ** (max(tries[message_id] for message_id in refused) - 1))
    return failed


def _next_call(waiting: Mapping[str, deque[Message]]) -> list[Message]:
    """The first waiting message of up to ten groups, as far as one call can carry them.

    Never two of one group: if the first were refused and the second taken, they would be swapped.
    """
    call: list[Message] = []
    size = 0
    for queue in waiting.values():
        weight = len(queue[0].body.encode())
        if call and (len(call) == ENTRIES_PER_CALL or size + weight > LARGEST_CALL):
            break
        call.append(queue[0])
        size += weight
    return call


def _try(queue_url: str, call: Sequence[Message], queues: Queues) -> set[str]:
    try:
        return queues.send(queue_url, call)
    except QueueGone:
        raise
    except QueueUnavailable:
        return {message.id for message in call}


def _advance(waiting: OrderedDict[str, deque[Message]], message: Message) -> None:
    """Take an acknowledged message off its group, and let other groups go first."""
    queue = waiting[message.group]
    queue.popleft()
    if queue:
        waiting.move_to_end(message.group)
    else:
        del waiting[message.group]
