"""Announce schema changes: as events on the bus, and to every destination that asks for them, in the feed's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Raw, Struct

from penstock.domain.books import CreatedReceipt
from penstock.domain.job import Job, encode_job, group_of
from penstock.domain.routing import Route
from penstock.domain.run import Run
from penstock.domain.schema_changes import Change
from penstock.errors import QueueGone, QueueUnavailable

CHANGES_AT_ONCE = 10
GROUP = "schema changes"  # a client's ordering key of this name would share the line, to no harm


class Announced(NamedTuple):
    """A change of the feed of one source."""

    workspace: str
    source: str
    change: Change

    @property
    def id(self) -> str:
        return f"{self.source}#{self.change.version}"


class Message(NamedTuple):
    id: str
    group: str
    body: str


class Bus(Protocol):
    def put(self, events: Sequence[tuple[str, bytes]]) -> None:
        """Put up to ten events, as (id, JSON), on the bus. Raises `BusUnavailable` where not all were taken."""


class Routes(Protocol):
    """The destinations of a workspace. Raises `StoreUnavailable`."""

    def get(self, workspace: str) -> Sequence[Route]: ...


class Queues(Protocol):
    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        """The ids of those that were not taken. Raises `QueueGone` or `QueueUnavailable`."""


class Receipts(Protocol):
    """Keeps receipts. Raises `StoreUnavailable`."""

    def keep_created(self, workspace: str, destination: str, receipt: CreatedReceipt) -> None: ...


class Ports(Struct):
    bus: Bus
    routes: Routes
    queues: Queues
    receipts: Receipts
    now: Callable[[], str]


def announce_changes(changes: Sequence[Announced], ports: Ports) -> None:
    """Changes of any sources, each source's in order. Raises `Unavailable` where they have to come again.

    What was announced by then is announced once more: the bus may see an id twice, a queue knows its jobs again.
    """
    for first in range(0, len(changes), CHANGES_AT_ONCE):
        part = changes[first : first + CHANGES_AT_ONCE]
        ports.bus.put([(each.id, _event(each, ports.now())) for each in part])
    for each in changes:
        for route in ports.routes.get(each.workspace):
            if route.enabled and route.schema_changes and each.source in route.source_ids:
                _send(each, route, ports)


def _send(announced: Announced, route: Route, ports: Ports) -> None:
    at = ports.now()
    run = Run(1, announced.workspace, announced.source, GROUP, at, [Raw(_event(announced, at))])
    job = Job(1, f"{announced.source}-change-{announced.change.version}", route.id, run)
    message = Message(job.id, group_of(announced.source, GROUP), encode_job(job))
    try:
        refused = ports.queues.send(route.queue_url, [message])
    except QueueGone:
        return  # deleted a moment ago
    if refused:
        raise QueueUnavailable("SQS did not take a schema change")
    ports.receipts.keep_created(announced.workspace, route.id, CreatedReceipt(at, {job.id: 1}))


def _event(announced: Announced, at: str) -> bytes:
    """A change as an event of its own kind; its messageId is the change's id."""
    return msgspec.json.encode(
        {
            "type": "schema_change",
            "event": "Schema Changed",
            "messageId": announced.id,
            "timestamp": at,
            "source": announced.source,
            "properties": announced.change,
        }
    )
