"""Publish the schema: tell the change feed what is new of an event, and renew what queries read of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from msgspec import Struct, structs

from penstock.domain import column_names, schema_changes
from penstock.domain.schema_changes import Change, Due, EventFacts, PlaceRow
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_facts import Facts
from penstock.domain.schema_lattice import Policy
from penstock.domain.schema_model import EventSchema
from penstock.errors import StoreChanged, StoreUnavailable

CHANGES_AT_ONCE = 40
MOST_TRIES = 20


class Places(Protocol):
    """The facts, and whose names are whose. Raises `StoreUnavailable`."""

    def read(self, owner: str) -> EventFacts: ...

    def note(self, key: EventKey, facts: Facts) -> None: ...

    def take_back(self, key: EventKey, path: str, row: PlaceRow, kinds: Collection[str]) -> None: ...

    def claim_column(self, key: EventKey, name: str, path: str, family: str) -> bool: ...

    def claim_table(self, key: EventKey, name: str) -> bool: ...


class Feed(Protocol):
    """A source's change feed. Raises `StoreUnavailable`."""

    def head(self, of_source: str) -> int: ...

    def publish(self, key: EventKey, changes: Sequence[Change]) -> None:
        """Raises `StoreChanged` where the head has moved on."""


class Schemas(Protocol):
    """What queries read. Raises `StoreUnavailable`."""

    def published(self, key: EventKey) -> str:
        """What tells the present schema from any other; empty where there is none."""

    def publish(self, key: EventKey, schema: EventSchema, known: str) -> None:
        """Raises `StoreChanged` unless `known` is still the present one."""


class Policies(Protocol):
    """Each source's policy for data that contradicts itself. Raises `StoreUnavailable`."""

    def get(self, of_source: str) -> Policy: ...


class Ports(Struct):
    places: Places
    feed: Feed
    schemas: Schemas
    policies: Policies
    pause: Callable[[int], None]


def publish_schema(owner: str, ports: Ports) -> int:
    """Tell what there is to tell of one event; how many changes that were. Raises `StoreUnavailable`.

    Whatever else writes at the same time, or has died half-way through this, it begins again with what is stored.
    """
    told = 0
    for attempt in range(MOST_TRIES):
        facts = ports.places.read(owner)
        if facts.root is None or not facts.root.kinds:
            return told
        key = schema_changes.key_of(owner, facts)
        if _tidied(key, facts, ports) or _named(key, facts, ports):
            continue
        try:
            told += _tell(key, facts, ports)
            ports.schemas.publish(key, schema_changes.schema_of(facts), ports.schemas.published(key))
        except StoreChanged:
            ports.pause(attempt)
            continue
        return told
    raise StoreUnavailable("an event's schema changed at every try to publish it")


def _tidied(key: EventKey, facts: EventFacts, ports: Ports) -> bool:
    """Whether there was something to put right: first what is to stay, then what is to go."""
    tidying = schema_changes.tidying(facts)
    if tidying.noted:
        ports.places.note(key, tidying.noted)
    for path, kinds in tidying.lost.items():
        ports.places.take_back(key, path, facts.rows[path], kinds)
    return bool(tidying.noted or tidying.lost)


def _named(key: EventKey, facts: EventFacts, ports: Ports) -> bool:
    """Whether a name was wanted that somebody else turned out to have: then all is to be read again."""
    if facts.table is None:
        facts.table = _table(key, ports.places)
    for path, kind in ((due.path, due.kind) for due in schema_changes.due(facts)):
        row = facts.rows[path]
        wanted = schema_changes.column_wanted(path, kind, row)
        if wanted is None:
            continue
        family, base = wanted
        owner = f"{path}\0{family}"
        name = column_names.allocated(base, owner, facts.taken)
        if not ports.places.claim_column(key, name, path, family):
            return True
        facts.taken[name] = owner
        facts.rows[path] = structs.replace(row, columns=row.columns | {family: name})
    return False


def _table(key: EventKey, places: Places) -> str:
    wanted = column_names.table_name(key.call, key.event)
    taken: dict[str, str] = {}
    while not places.claim_table(key, name := column_names.allocated(wanted, key.digest, taken)):
        taken[name] = "another"
    return name


def _tell(key: EventKey, facts: EventFacts, ports: Ports) -> int:
    due = schema_changes.due(facts)
    if not due:
        return 0
    policy = ports.policies.get(key.of_source)
    version = ports.feed.head(key.of_source)
    for first in range(0, len(due), CHANGES_AT_ONCE):
        changes = _changes(version, facts, due[first : first + CHANGES_AT_ONCE], policy)
        ports.feed.publish(key, changes)
        version += len(changes)
    return len(due)


def _changes(version: int, facts: EventFacts, due: Sequence[Due], policy: Policy) -> list[Change]:
    """The next changes; the rows are marked as having been told of them."""
    changes = []
    for each in due:
        version += 1
        changes.append(schema_changes.change(version, facts, each, policy))
        facts.rows[each.path] = schema_changes.told(facts.rows[each.path], each.kind, version)
    return changes
