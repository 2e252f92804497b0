"""The facts of an event's schema: which kinds were seen at which path, and when each was first.

A fact is never taken back but by a guard, so what many Lambdas note at once needs no lock. `Facts` is the tree of
`schema_tree` laid flat, path by path; the root's own path is the empty text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from penstock.domain import schema_tree
from penstock.domain.schema_model import EventSchema, Place
from penstock.domain.schema_paths import ELEMENTS, VALUES, name_of, steps
from penstock.domain.schema_tree import OBJECT, Node, Tally

ROOT = ""
LATEST_ID = "\uffff"  # where the messageId of a first is not known: whoever is as early has to ask


class First(NamedTuple):
    """The least (receivedAt, messageId) with which a kind was seen."""

    at: str
    message_id: str


class Sighting(Struct, frozen=True):
    """What is known, or new, of one path."""

    kinds: Mapping[str, First]
    guards: frozenset[str] = frozenset()


Facts: TypeAlias = dict[str, Sighting]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Node).decode


def facts_of(root: Node) -> Facts:
    found = {ROOT: _sighting(root)}
    found.update((path, _sighting(node)) for path, node in schema_tree.places(root))
    return found


def tree_of(facts: Iterable[tuple[str, Sighting]]) -> Node:
    root = Node()
    for path, sighting in facts:
        node = node_at(root, path)
        node.kinds = {kind: Tally(0, first.at, first.message_id, first.at) for kind, first in sighting.kinds.items()}
        node.guards = set(sighting.guards)
    return root


def known_tree(schema: EventSchema | None) -> Node:
    """What the read model knows; of the messageIds of firsts it knows nothing."""
    if schema is None:
        return Node()
    root = tree_of((place.path, _known_of(place)) for place in schema.places)
    root.guards = set(schema.guards)
    root.kinds = {OBJECT: Tally(0, schema.first_seen, LATEST_ID, schema.first_seen)}
    return root


def _known_of(place: Place) -> Sighting:
    firsts = zip(place.kinds, place.firsts, strict=True)
    return Sighting({kind: First(at, LATEST_ID) for kind, at in firsts}, frozenset(place.guards))


def learn(known: Node, seen: Node) -> Facts:
    """Add to `known` what `seen` brings, under the guards: exactly what was not known, and firsts that came earlier.

    `seen` is changed to follow what is known: its counts stand where the guards put them.
    """
    follow(known, seen)
    if not _brings_news(known, seen):
        return {}
    before = facts_of(known)
    schema_tree.merge(known, copy(seen))
    schema_tree.canonical(known)
    follow(known, seen)
    return missing(before, facts_of(known))


def missing(known: Facts, wanted: Facts) -> Facts:
    """What of the wanted facts is not among the known ones, or is earlier than they say."""
    found = {}
    for path, sighting in wanted.items():
        old = known.get(path)
        kinds = {kind: first for kind, first in sighting.kinds.items() if old is None or _is_news(old, kind, first)}
        guards = sighting.guards - (old.guards if old else frozenset())
        if kinds or guards:
            found[path] = Sighting(kinds, guards)
    return found


def follow(known: Node, seen: Node) -> None:
    """Collapse in `seen` what is known to be collapsed, and leave out what is known to be past the path limit."""
    limits = {guard for guard in known.guards if guard.startswith(schema_tree.LIMIT)}
    _follow(known, seen)
    if limits - seen.guards:
        seen.guards |= limits
        schema_tree.canonical(seen)


def copy(node: Node) -> Node:
    return _decode(_encode(node))


def node_at(root: Node, path: str) -> Node:
    """The node of a path, made where it is missing."""
    node = root
    for step in steps(path) if path else ():
        if step == ELEMENTS:
            node.elements = node = node.elements or Node()
        elif step == VALUES:
            node.values = node = node.values or Node()
        else:
            node = node.names.setdefault(name_of(step), Node())
    return node


def _follow(known: Node, seen: Node) -> None:
    if known.values is not None:
        for kind in known.values.kinds:
            schema_tree.collapse(seen, kind)
    for name, child in seen.names.items():
        if name in known.names:
            _follow(known.names[name], child)
    if known.elements is not None and seen.elements is not None:
        _follow(known.elements, seen.elements)
    if known.values is not None and seen.values is not None:
        _follow(known.values, seen.values)


def _brings_news(known: Node | None, seen: Node) -> bool:
    if known is None or not seen.guards <= known.guards:
        return True
    for kind, tally in seen.kinds.items():
        old = known.kinds.get(kind)
        if old is None or (tally.first, tally.first_id) < (old.first, old.first_id):
            return True
    if any(_brings_news(known.names.get(name), child) for name, child in seen.names.items()):
        return True
    if seen.elements is not None and _brings_news(known.elements, seen.elements):
        return True
    return seen.values is not None and _brings_news(known.values, seen.values)


def _is_news(old: Sighting, kind: str, first: First) -> bool:
    return kind not in old.kinds or first < old.kinds[kind]


def _sighting(node: Node) -> Sighting:
    kinds = {kind: First(tally.first, tally.first_id) for kind, tally in node.kinds.items()}
    return Sighting(kinds, frozenset(node.guards))
