"""Read the schema: what is known of a source's events, and what has changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, cast

import msgspec
from msgspec import Raw, Struct

from penstock.domain import json_schema, paging, schema_view
from penstock.domain.paging import Window
from penstock.domain.schema_changes import Change
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_lattice import Policy
from penstock.domain.schema_view import ChangeList, EventList, Listed, Reading
from penstock.domain.tracking_plan import MOST_RULES, Call, NewPlan, Rule
from penstock.domain.violations import Violation, ViolationList, joined, views
from penstock.errors import NotFound

LIST = "event"
CHANGES_AT_ONCE = 100
PAUSE_S = 0.2
MOST_VIOLATIONS = 1_000
VIEW, JSON_SCHEMA = "view", "jsonschema"


class Schemas(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, key: EventKey) -> Reading:
        """All of one event, in one round trip."""

    def listed(self, of_source: str, after: str | None) -> Iterator[Listed]:
        """Each shard's count of each event, by call and name."""


class Feed(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, of_source: str, after: int, limit: int) -> Sequence[Change]: ...


class Asked(NamedTuple):
    """One question about one event; `form` is "view" or "jsonschema"."""

    key: EventKey
    policy: Policy
    form: str


class Answers(Protocol):
    """Answers as JSON, a moment old at most: many may ask for one event at once. Raises as `answer` does."""

    def get(self, asked: Asked) -> Raw: ...


class Ports(Struct):
    """`clock` counts seconds from any beginning."""

    schemas: Schemas
    answers: Answers
    feed: Feed
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def answer(asked: Asked, schemas: Schemas) -> Raw:
    """Raises `NotFound` for an event that was never seen, and `StoreUnavailable`."""
    found = schemas.read(asked.key)
    if found.schema is None:
        raise NotFound("event_not_found", f"no {asked.key.call} call of this name has been seen")
    if asked.form == JSON_SCHEMA:
        return Raw(msgspec.json.encode(json_schema.json_schema(found.schema)))
    return Raw(msgspec.json.encode(schema_view.view(found.schema, found.today, found.past, asked.policy)))


def events(workspace: str, source: str, asked: Window, ports: Ports) -> EventList:
    rows = schema_view.summaries(ports.schemas.listed(f"{workspace}#{source}", asked.after))
    shown, more = paging.cut(list(islice(rows, asked.limit + 1)), asked, LIST, workspace)
    return EventList([each.summary for each in shown], more)


def inferred_plan(workspace: str, source: str, name: str, ports: Ports) -> NewPlan:
    """A plan that all events observed so far follow, as a draft. Events past the most rules of a plan are left out."""
    rows = schema_view.summaries(ports.schemas.listed(f"{workspace}#{source}", None))
    rules = []
    for row in islice(rows, MOST_RULES):
        key = EventKey(workspace, source, row.summary.call, row.summary.event)
        found = ports.schemas.read(key).schema
        if found is not None:
            rules.append(Rule(cast(Call, key.call), json_schema.json_schema(found), key.event))
    return NewPlan(f"{name[:90]}, inferred", rules)


def violations(workspace: str, source: str, ports: Ports) -> ViolationList:
    """All shards' counts of each event and rule, the most frequent first."""
    counts: dict[tuple[str, str | None], dict[str, Violation]] = {}
    for row in ports.schemas.listed(f"{workspace}#{source}", None):
        key = (row.summary.call, row.summary.event)
        counts[key] = joined(counts.get(key, {}), row.violations)
    found = [view for (call, event), theirs in counts.items() for view in views(call, event, theirs)]
    found.sort(key=lambda each: (-each.count, each.rule))
    return ViolationList(found[:MOST_VIOLATIONS])


def changes(workspace: str, source: str, after: int, limit: int, wait_s: float, ports: Ports) -> ChangeList:
    """The changes after a version; where there is none yet, what comes within so many seconds."""
    until = ports.clock() + wait_s
    while True:
        found = ports.feed.read(f"{workspace}#{source}", after, limit)
        if found or ports.clock() >= until:
            return ChangeList(list(found), str(found[-1].version if found else after))
        ports.sleep(PAUSE_S)
