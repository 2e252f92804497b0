"""What the change feed tells of an event's schema: one change for each kind at each path, in the order first seen.

A change is due as long as its kind is not among the path's `published` ones. So whatever crashed, was replayed or came
in another order, what is published in the end is the same, each change once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct, field, structs

from penstock.domain import column_names, schema_lattice, schema_tree
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_facts import ROOT, Facts, First, Sighting, facts_of, missing, tree_of
from penstock.domain.schema_lattice import Policy
from penstock.domain.schema_model import EventSchema, Place
from penstock.domain.schema_paths import VALUES, steps
from penstock.domain.schema_tree import NULL, OBJECT


class PlaceRow(Struct):
    """A path as it is stored. `published` are the kinds that the feed has told, last of them as `version`."""

    kinds: dict[str, First] = field(default_factory=dict)
    guards: frozenset[str] = frozenset()
    published: frozenset[str] = frozenset()
    columns: dict[str, str] = field(default_factory=dict)
    version: int = 0


class EventFacts(Struct):
    """All that is stored of an event's facts. `taken` gives each column's name its owner, path and family.

    `root` is None where the event itself was not noted yet: then its name is not known.
    """

    call: str = ""
    event: str | None = None
    table: str | None = None
    root: PlaceRow | None = None
    rows: dict[str, PlaceRow] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)


class Change(Struct, frozen=True):
    """One entry of a source's change feed.

    `kind` is what was new at the path, `kinds` are all that it has had by then, `type` is that of the column concerned,
    `at` when the kind was first seen (receivedAt).
    """

    version: int
    change: str
    call: str
    event: str | None
    path: str
    kind: str
    kinds: tuple[str, ...]
    type: str
    column: str | None
    at: str


class Due(NamedTuple):
    """A kind of a path that the feed has not told yet."""

    first: First
    path: str
    kind: str


class Tidying(NamedTuple):
    """What guards make of the rows: facts that stand elsewhere from now on, and kinds that their paths lose."""

    noted: Facts
    lost: dict[str, frozenset[str]]


def tidying(facts: EventFacts) -> Tidying:
    """What a writer that did not know of a guard has to have put right."""
    stored = {path: Sighting(row.kinds, row.guards) for path, row in facts.rows.items()}
    stored[ROOT] = Sighting(facts.root.kinds, facts.root.guards) if facts.root else Sighting({})
    tree = tree_of(stored.items())
    schema_tree.canonical(tree)
    right = facts_of(tree)
    lost = {}
    for path, sighting in stored.items():
        gone = frozenset(sighting.kinds) - frozenset(right[path].kinds if path in right else ())
        if gone:
            lost[path] = gone
    return Tidying(missing(stored, right), lost)


def due(facts: EventFacts) -> list[Due]:
    """What the feed has to tell, in the order in which it was first seen."""
    return sorted(
        Due(first, path, kind)
        for path, row in facts.rows.items()
        for kind, first in row.kinds.items()
        if kind not in row.published and not _is_section_itself(path, kind)
    )


def column_wanted(path: str, kind: str, row: PlaceRow) -> tuple[str, str] | None:
    """(family, name wanted) where the kind's family needs a column that it does not have yet."""
    family = column_family(path, kind)
    if kind == NULL or family in row.columns or not column_names.has_columns(path):
        return None
    if family == OBJECT and not is_map(path):
        return None
    base = column_names.base_name(path)
    first_name = min(row.columns.values(), key=len, default=None)
    return family, base if first_name is None else column_names.variant_name(first_name, family)


def change(version: int, facts: EventFacts, wanted: Due, policy: Policy) -> Change:
    """The entry for what is due; the row is as it was before it."""
    row = facts.rows[wanted.path]
    kinds = {*row.published, wanted.kind}
    said = {kind: row.kinds[kind] for kind in kinds if kind in row.kinds}
    first = first_kind(said)
    family = column_family(wanted.path, first if wanted.kind == NULL else wanted.kind)
    what: str = schema_lattice.change(row.published, wanted.kind)
    if what == "added" and is_map(wanted.path):
        what = "collapsed"
    return Change(
        version=version,
        change=what,
        call=facts.call,
        event=facts.event,
        path=wanted.path,
        kind=wanted.kind,
        kinds=tuple(sorted(kinds)),
        type=schema_lattice.resolved(
            kinds, policy, first, None if wanted.kind == NULL else schema_lattice.family_of(wanted.kind)
        ),
        column=row.columns.get(family),
        at=wanted.first.at,
    )


def is_map(path: str) -> bool:
    """Whether these are the values of a map: they have its column."""
    return path.endswith(VALUES) and steps(path)[-1] == VALUES


def column_family(path: str, kind: str) -> str:
    """The family by which a kind's column is known at its path."""
    return OBJECT if is_map(path) else schema_lattice.family_of(kind)


def column_given(change_: Change) -> tuple[str, str] | None:
    """(family, name) of the column that a change gives its path; nulls have the column of what else is there."""
    if change_.column is None or change_.kind == NULL:
        return None
    return column_family(change_.path, change_.kind), change_.column


def told(row: PlaceRow, kind: str, version: int) -> PlaceRow:
    return structs.replace(row, published=row.published | {kind}, version=version)


def first_kind(kinds: Mapping[str, First]) -> str:
    """The kind with the least (receivedAt, messageId); null only where there is no other."""
    return min((kind for kind in kinds if kind != NULL or len(kinds) == 1), key=lambda kind: (kinds[kind], kind))


def schema_of(facts: EventFacts) -> EventSchema:
    """The read model of what has been told."""
    assert facts.root is not None
    places = sorted(_places(facts), key=lambda place: place.path)
    return EventSchema(
        call=facts.call,
        event=facts.event,
        table=facts.table or "",
        version=max((row.version for row in facts.rows.values()), default=0),
        first_seen=min((first.at for first in facts.root.kinds.values()), default=""),
        places=tuple(places),
        guards=tuple(sorted(facts.root.guards)),
    )


def _places(facts: EventFacts) -> Iterator[Place]:
    for path, row in facts.rows.items():
        kinds = tuple(sorted(row.kinds))
        if kinds:
            yield Place(
                path=path,
                kinds=kinds,
                first=first_kind(row.kinds),
                first_seen=min(row.kinds.values()).at,
                columns=row.columns,
                guards=tuple(sorted(row.guards)),
                firsts=tuple(row.kinds[kind].at for kind in kinds),
            )


def _is_section_itself(path: str, kind: str) -> bool:
    """That an event has properties that are an object is no news."""
    return kind == OBJECT and len(steps(path)) == 1


def key_of(owner: str, facts: EventFacts) -> EventKey:
    """Whose facts these are: `owner` is their partition key."""
    workspace, source, _ = owner.split("#")
    return EventKey(workspace, source, facts.call, facts.event)
