"""The schema of a source's events as the API shows it: what is known of each path, with its counts added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from msgspec import Struct

from penstock.domain import schema_counts, schema_facts, schema_lattice, schema_tree
from penstock.domain.schema_changes import Change, is_map
from penstock.domain.schema_counts import Count
from penstock.domain.schema_lattice import Policy
from penstock.domain.schema_model import EventSchema, Place
from penstock.domain.schema_paths import steps
from penstock.domain.schema_tree import LIMIT, OBJECT, TOO_DEEP, TOO_LONG, Node
from penstock.domain.violations import Violation


class ColumnView(Struct, frozen=True):
    """A further column of a path, for values of another family."""

    column: str
    type: str


class PathView(Struct, frozen=True):
    """One path: `counts` by kind; `type` is that of `column`; `conflict` where no one column holds all kinds."""

    path: str
    kinds: tuple[str, ...]
    type: str
    column: str | None
    variants: tuple[ColumnView, ...]
    conflict: bool
    count: int
    counts: dict[str, int]
    first_seen: str
    last_seen: str


class GuardView(Struct, frozen=True):
    """What of the events is not entered path by path, and why. No event is lost by it."""

    guard: str
    path: str | None
    limit: int
    message: str


class EventView(Struct, frozen=True):
    """The schema of one event. `version` is that of its last change in the source's feed."""

    call: str
    event: str | None
    table: str
    version: int
    count: int
    first_seen: str
    last_seen: str
    paths: tuple[PathView, ...]
    guards: tuple[GuardView, ...]


class EventSummary(Struct, frozen=True):
    """One event of a source: how often it came, and when first and last."""

    call: str
    event: str | None
    count: int
    first_seen: str
    last_seen: str


class EventList(Struct, frozen=True):
    """A page of a source's events."""

    events: list[EventSummary]
    next: str | None


class ChangeList(Struct, frozen=True):
    """Changes of a source's schema in order; `next` is where to go on, now or later."""

    changes: list[Change]
    next: str


class Listed(Struct, frozen=True):
    """What one shard has counted of an event; `id` is the event's place in the list."""

    id: str
    summary: EventSummary
    violations: Mapping[str, Violation] = {}


class Reading(NamedTuple):
    """What is stored of one event: its schema, and each shard's count of the latest day and of all days before it."""

    schema: EventSchema | None
    today: Mapping[str, Count]
    past: Mapping[str, Count]


def view(schema: EventSchema, today: Mapping[str, Count], past: Mapping[str, Count], policy: Policy) -> EventView:
    """The counts are consumed. What is counted of paths that the schema does not tell of yet is left out."""
    total = _total(schema, today, past)
    seen = dict(schema_tree.places(total))
    events = total.kinds.get(OBJECT)
    return EventView(
        call=schema.call,
        event=schema.event,
        table=schema.table,
        version=schema.version,
        count=events.count if events else 0,
        first_seen=schema.first_seen,
        last_seen=max(events.last, schema.first_seen) if events else schema.first_seen,
        paths=tuple(
            _path(place, seen.get(place.path), policy) for place in schema.places if not is_section_alone(place)
        ),
        guards=tuple(_guards(schema)),
    )


def summaries(rows: Iterable[Listed]) -> Iterator[Listed]:
    """The shards' counts of each event as one; rows are in the order of their ids."""
    for place, group in groupby(rows, key=lambda row: row.id):
        theirs = [row.summary for row in group]
        yield Listed(
            place,
            EventSummary(
                call=theirs[0].call,
                event=theirs[0].event,
                count=sum(each.count for each in theirs),
                first_seen=min(each.first_seen for each in theirs),
                last_seen=max(each.last_seen for each in theirs),
            ),
        )


def is_section_alone(place: Place) -> bool:
    """That an event has properties which are an object goes without saying."""
    return place.kinds == (OBJECT,) and "." not in place.path and len(steps(place.path)) == 1


def type_of(place: Place, policy: Policy) -> str:
    """The type of the path's own column: the first that it was given."""
    family = OBJECT if is_map(place.path) else next(iter(place.columns), None)
    if is_map(place.path):
        return schema_lattice.resolved(place.kinds, schema_lattice.WIDEN, place.first)
    return schema_lattice.resolved(place.kinds, policy, place.first, family)


def _total(schema: EventSchema, today: Mapping[str, Count], past: Mapping[str, Count]) -> Node:
    """All shards' counts of all days. A day that is put by already does not count as today as well."""
    counts = [each.tree for shard, each in today.items() if shard not in past or past[shard].day < each.day]
    total = schema_counts.total([*counts, *(each.tree for each in past.values())])
    if schema.guards or any(is_map(place.path) for place in schema.places):
        schema_facts.follow(schema_facts.known_tree(schema), total)
    return total


def _path(place: Place, seen: Node | None, policy: Policy) -> PathView:
    tallies = {} if seen is None else {kind: seen.kinds[kind] for kind in place.kinds if kind in seen.kinds}
    columns = list(place.columns.items())
    return PathView(
        path=place.path,
        kinds=place.kinds,
        type=type_of(place, policy),
        column=columns[0][1] if columns else None,
        variants=tuple(
            ColumnView(name, schema_lattice.resolved(place.kinds, schema_lattice.VARIANT, place.first, family))
            for family, name in columns[1:]
        ),
        conflict=schema_lattice.is_conflict(place.kinds),
        count=sum(tally.count for tally in tallies.values()),
        counts={kind: tally.count for kind, tally in tallies.items()},
        first_seen=place.first_seen,
        last_seen=max((tally.last for tally in tallies.values()), default=place.first_seen),
    )


def _guards(schema: EventSchema) -> Iterator[GuardView]:
    if any(guard.startswith(LIMIT) for guard in schema.guards):
        yield GuardView("paths", None, schema_tree.MOST_PATHS, "the deepest paths of this event are not told apart")
    for place in schema.places:
        if is_map(place.path):
            most = schema_tree.MOST_SIBLINGS_OF_A_SECTION if len(steps(place.path)) == 2 else schema_tree.MOST_SIBLINGS
            yield GuardView("key_explosion", place.path, most, "so many names of one shape are the keys of a map")
        if TOO_DEEP in place.guards:
            yield GuardView("depth", place.path, schema_tree.DEEPEST, "what is deeper is not entered")
        if TOO_LONG in place.guards:
            yield GuardView("name_length", place.path, schema_tree.LONGEST_NAME, "longer names are not entered")
