"""Read the schema: what is known of a source's events, and what has changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from msgspec import Struct

from penstock.domain import json_schema, paging, schema_view
from penstock.domain.paging import Window
from penstock.domain.schema_changes import Change
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_lattice import Policy
from penstock.domain.schema_view import ChangeList, EventList, EventView, Listed, Reading
from penstock.errors import NotFound

LIST = "event"
CHANGES_AT_ONCE = 100
PAUSE_S = 0.2


class Schemas(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, key: EventKey) -> Reading:
        """All of one event, in one round trip."""

    def listed(self, of_source: str, after: str | None) -> Iterator[Listed]:
        """Each shard's count of each event, by call and name."""


class Feed(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, of_source: str, after: int, limit: int) -> Sequence[Change]: ...


class Ports(Struct):
    """`clock` counts seconds from any beginning."""

    schemas: Schemas
    feed: Feed
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def event_schema(key: EventKey, policy: Policy, ports: Ports) -> EventView:
    """Raises `NotFound` for an event that was never seen."""
    found = ports.schemas.read(key)
    if found.schema is None:
        raise _unseen(key)
    return schema_view.view(found.schema, found.today, found.past, policy)


def event_json_schema(key: EventKey, ports: Ports) -> json_schema.Json:
    """Raises `NotFound` for an event that was never seen."""
    found = ports.schemas.read(key)
    if found.schema is None:
        raise _unseen(key)
    return json_schema.json_schema(found.schema)


def events(workspace: str, source: str, asked: Window, ports: Ports) -> EventList:
    rows = schema_view.summaries(ports.schemas.listed(f"{workspace}#{source}", asked.after))
    shown, more = paging.cut(list(islice(rows, asked.limit + 1)), asked, LIST, workspace)
    return EventList([each.summary for each in shown], more)


def changes(workspace: str, source: str, after: int, limit: int, wait_s: float, ports: Ports) -> ChangeList:
    """The changes after a version; where there is none yet, what comes within so many seconds."""
    until = ports.clock() + wait_s
    while True:
        found = ports.feed.read(f"{workspace}#{source}", after, limit)
        if found or ports.clock() >= until:
            return ChangeList(list(found), str(found[-1].version if found else after))
        ports.sleep(PAUSE_S)


def _unseen(key: EventKey) -> NotFound:
    return NotFound("event_not_found", f"no {key.call} call of this name has been seen")
