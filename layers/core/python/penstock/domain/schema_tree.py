"""What has been seen of an event's shape: a tree of places, each with the kinds of values seen there.

Merging two trees is a join but for the counts, which add up. `canonical` applies the guards. Each is a function of
what was seen, not of its order:

- key explosion: more than `MOST_SIBLINGS` names of one object with values of one kind are no names but keys. From
  then on the values of that kind belong to the object's `*`, whatever their name.
- paths: past `MOST_PATHS` paths the objects and arrays that are deepest, and of one depth those of highest hash, keep
  their kinds but not what is in them. A collapsed kind goes on counting as the names that it collapsed.
- depth and name length: what is deeper than `DEEPEST` steps or longer than `LONGEST_NAME` is not entered at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from penstock.domain.schema_paths import ELEMENTS, VALUES, below, named

NULL: Final = "null"
BOOLEAN: Final = "boolean"
INTEGER: Final = "integer"
NUMBER: Final = "number"
TIMESTAMP: Final = "timestamp"
STRING: Final = "string"
OBJECT: Final = "object"
ARRAY: Final = "array"
KINDS: Final = (NULL, BOOLEAN, INTEGER, NUMBER, TIMESTAMP, STRING, OBJECT, ARRAY)

DEEPEST: Final = 32
LONGEST_NAME: Final = 256
BYTES_OF_ONE_PATH: Final = 256
MOST_PATHS: Final = 10_000
MOST_SIBLINGS: Final = 100
MOST_SIBLINGS_OF_A_SECTION: Final = 1_000

TOO_DEEP: Final = "depth"
TOO_LONG: Final = "name_length"
LIMIT: Final = "paths:"


class Tally(Struct, array_like=True):
    """How often a kind was seen; `first` and `last` are receivedAt times, `first_id` the messageId of the first."""

    count: int
    first: str
    first_id: str
    last: str


class Node(Struct, omit_defaults=True):
    """One place: the kinds seen there, and what is in its objects (`names`, `values`) and its arrays (`elements`).

    `guards` says what was not entered: "depth", "name_length", and on the root "paths:<rank>" from which rank on.
    """

    kinds: dict[str, Tally] = field(default_factory=dict)
    names: dict[str, Node] = field(default_factory=dict)
    elements: Node | None = None
    values: Node | None = None
    guards: set[str] = field(default_factory=set)


def merge(into: Node, other: Node) -> None:
    """Add all that `other` has seen. `other` must not be used afterwards."""
    for kind, tally in other.kinds.items():
        _tally(into, kind, tally)
    for name, child in other.names.items():
        if name in into.names:
            merge(into.names[name], child)
        else:
            into.names[name] = child
    into.elements = _merged(into.elements, other.elements)
    into.values = _merged(into.values, other.values)
    into.guards |= other.guards


def canonical(root: Node) -> None:
    """Apply the guards. The root's names are the event's sections, which are never collapsed themselves."""
    for section in root.names.values():
        _collapse(section, MOST_SIBLINGS_OF_A_SECTION)
    _limit(root)


def places(root: Node) -> Iterator[tuple[str, Node]]:
    """Every place below the root with its path, parents first."""
    for name, section in root.names.items():
        yield from _places(named(name), section)


def _tally(into: Node, kind: str, tally: Tally) -> None:
    known = into.kinds.get(kind)
    if known is None:
        into.kinds[kind] = tally
        return
    known.count += tally.count
    if (tally.first, tally.first_id) < (known.first, known.first_id):
        known.first, known.first_id = tally.first, tally.first_id
    known.last = max(known.last, tally.last)


def _merged(into: Node | None, other: Node | None) -> Node | None:
    if into is None or other is None:
        return into or other
    merge(into, other)
    return into


def _collapse(node: Node, most: int) -> None:
    collapsed = [] if node.values is None else [kind for kind in KINDS if kind in node.values.kinds]
    if len(node.names) > most:
        members = dict.fromkeys(KINDS, 0)
        for child in node.names.values():
            for kind in child.kinds:
                members[kind] += 1
        collapsed = [kind for kind in KINDS if members[kind] > most or kind in collapsed]
    for kind in collapsed:
        collapse(node, kind)
    for child in children(node):
        _collapse(child, MOST_SIBLINGS)


def collapse(node: Node, kind: str) -> None:
    """Hand all values of one kind over from the object's names to its `*`."""
    node.values = node.values or Node()
    for name, child in list(node.names.items()):
        if kind not in child.kinds:
            continue
        moved = Node(kinds={kind: child.kinds.pop(kind)})
        if kind == OBJECT:
            moved.names, moved.values, moved.guards = child.names, child.values, child.guards
            child.names, child.values, child.guards = {}, None, set()
        elif kind == ARRAY:
            moved.elements, child.elements = child.elements, None
        merge(node.values, moved)
        if not child.kinds:
            del node.names[name]


def _limit(root: Node) -> None:
    """Empty the containers from the first on, by rank, with which there would be more than `MOST_PATHS` paths."""
    ranked = sorted(
        ((_rank(path), path, node) for path, node in places(root) if node.names or node.elements or node.values),
        key=lambda each: each[0],
    )
    limits = [guard for guard in root.guards if guard.startswith(LIMIT)]
    first_out = min(limits, default="")
    total = len(root.names)
    for rank, path, node in ranked:
        total += _weight(path, node)
        if total > MOST_PATHS and (not first_out or LIMIT + rank < first_out):
            first_out = LIMIT + rank
            break
    if first_out:
        root.guards.difference_update(limits)
        root.guards.add(first_out)
        for rank, _, node in ranked:
            if LIMIT + rank >= first_out:
                node.names, node.elements, node.values = {}, None, None


def _weight(path: str, node: Node) -> int:
    """The paths right below a place. What collapsed weighs as much as it did at that moment, so weights never fall.

    A long path counts for several, so that what is stored and answered of an event is bounded in bytes as well.
    """
    collapsed = 0 if node.values is None else len(node.values.kinds)
    before = _size(path)
    names = sum(1 + (before + _size(name)) // BYTES_OF_ONE_PATH for name in node.names)
    return names + (node.elements is not None) + collapsed * (MOST_SIBLINGS + 1)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _rank(path: str) -> str:
    """Shallow before deep, then by hash. As text, `<depth>:<hash>`."""
    depth = path.count(".") + path.count(ELEMENTS)  # an escaped dot counts too: any order will do, if it is always one
    return f"{depth:05}:{hashlib.blake2b(path.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def children(node: Node) -> Iterator[Node]:
    yield from node.names.values()
    if node.elements is not None:
        yield node.elements
    if node.values is not None:
        yield node.values


def _places(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.names.items():
        yield from _places(below(path, named(name)), child)
    if node.elements is not None:
        yield from _places(below(path, ELEMENTS), node.elements)
    if node.values is not None:
        yield from _places(below(path, VALUES), node.values)
