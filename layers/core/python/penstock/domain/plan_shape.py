"""What the schema of a rule says of each place of an event: which names it lists there, and how much it has to say.

At one place several schemas may speak: those of `$ref`, `allOf`, `anyOf`, `oneOf`, `if` and `dependentSchemas`. A name
is listed where any of them lists it. So that neither an event nor a plan can make a validator work without end, a
schema may not refer to itself, nor say the same thing over and over by references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote

Json: TypeAlias = dict[str, Any]
Step: TypeAlias = str | int

MOST_SCHEMAS: Final = 100_000  # of one rule, each counted as often as references lead to it
PLACES_IN_MEMORY: Final = 10_000
SECTIONS: Final = ("properties", "traits")  # where a name has to be listed; elsewhere only what is closed is closed

_SAME_PLACE_ONE = ("if", "then", "else")
_SAME_PLACE_LIST = ("allOf", "anyOf", "oneOf")
_SAME_PLACE_BY_NAME = ("dependentSchemas", "dependencies")
_BELOW_ONE = (
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
)
_BELOW_LIST = ("prefixItems", "items")
_BELOW_BY_NAME = ("properties", "patternProperties")
_DYNAMIC = ("$dynamicRef", "$recursiveRef")


class Examined(NamedTuple):
    """The places of unlisted names, in order, and the most errors that a validator could find in the event."""

    unplanned: list[tuple[Step, ...]]
    weight: int


def require_bounded(schema: Json) -> None:
    """ValueError for a schema that refers to itself or out of itself, or that references make too large."""
    sizes: dict[int, int] = {}
    entered: set[int] = set()

    def size(part: Json) -> int:
        if id(part) in sizes:
            return sizes[id(part)]
        if id(part) in entered:
            raise ValueError("a schema may not refer to itself")
        entered.add(id(part))
        _require_plain(part, part is schema)
        found = 1 + sum(size(inner) for inner in _all_parts(part, schema))
        if found > MOST_SCHEMAS:
            raise ValueError(f"its references lead to more than {MOST_SCHEMAS} schemas")
        sizes[id(part)] = found
        return found

    size(schema)


def patterns_of(schema: Json) -> set[str]:
    """Every regular expression in a schema."""
    found, seen, todo = set[str](), set[int](), [schema]
    while todo:
        part = todo.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        found |= {part["pattern"]} if isinstance(part.get("pattern"), str) else set()
        found |= set(_by_name(part, "patternProperties"))
        todo += _all_parts(part, schema)
    return found


class Shape:
    """The schema of one rule, read place by place. `is_match` tells whether a pattern matches a name."""

    def __init__(self, schema: Json, is_match: Callable[[str, str], bool]) -> None:
        self._schema = schema
        self._is_match = is_match
        self._places: dict[tuple[int, ...], tuple[Json, ...]] = {}

    def examined(self, event: Json) -> Examined:
        """No recursion: a client decides how deep this goes."""
        unplanned: list[tuple[Step, ...]] = []
        weight = 0
        todo: list[tuple[tuple[Step, ...], Any, tuple[Json, ...]]] = [((), event, (self._schema,))]
        while todo:
            place, value, said = todo.pop()
            schemas = self._here(said)
            if not schemas:
                continue
            weight += sum(map(_weight, schemas))
            below: list[tuple[tuple[Step, ...], Any, tuple[Json, ...]]] = []
            if isinstance(value, dict):
                weight += len(value)
                is_listing = bool(place) and place[0] in SECTIONS and any(map(_lists, schemas))
                for name, member in value.items():
                    is_listed, inner = self._member(schemas, name)
                    if is_listed or not is_listing:
                        below.append(((*place, name), member, inner))
                    else:
                        unplanned.append((*place, name))
            elif isinstance(value, list):
                below = [((*place, n), each, _elements(schemas, n)) for n, each in enumerate(value)]
            todo += reversed(below)
        return Examined(unplanned, weight)

    def _here(self, said: tuple[Json, ...]) -> tuple[Json, ...]:
        """These schemas and all that they refer to for the same place."""
        key = tuple(map(id, said))
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= PLACES_IN_MEMORY:
                self._places.clear()
            found = self._places[key] = tuple(_closure(said, self._schema))
        return found

    def _member(self, schemas: tuple[Json, ...], name: str) -> tuple[bool, tuple[Json, ...]]:
        """Whether a name is listed, and what is said of its value."""
        is_listed, inner = False, []
        for schema in schemas:
            own = [listed[name]] if name in (listed := _by_name(schema, "properties")) else []
            matching = _by_name(schema, "patternProperties").items()
            own += [each for pattern, each in matching if self._is_match(pattern, name)]
            if not own:
                own = [each for each in map(schema.get, ("additionalProperties", "unevaluatedProperties")) if _is(each)]
            is_listed = is_listed or bool(own)
            inner += [each for each in own if _is(each)]
        return is_listed, tuple(inner)


def _is(schema: object) -> bool:
    return isinstance(schema, dict)


def _lists(schema: Json) -> bool:
    return isinstance(schema.get("properties"), dict)


def _weight(schema: Json) -> int:
    """The most errors that one schema has for one place, but for those of names."""
    required = schema.get("required")
    dependent = [each for each in _by_name(schema, "dependentRequired").values() if isinstance(each, list)]
    return len(schema) + (len(required) if isinstance(required, list) else 0) + sum(map(len, dependent))


def _require_plain(schema: Json, is_root: bool) -> None:
    if "$id" in schema and not is_root:
        raise ValueError("only the whole schema may have an $id")
    if any(word in schema for word in _DYNAMIC):
        raise ValueError("dynamic references are not taken: use $ref")


def _all_parts(schema: Json, root: Json) -> Iterator[Json]:
    yield from _same_place(schema, root)
    if _is(schema.get("not")):
        yield schema["not"]
    for word in _BELOW_ONE:
        if _is(schema.get(word)):
            yield schema[word]
    for word in _BELOW_LIST:
        yield from _listed(schema, word)
    for word in _BELOW_BY_NAME:
        yield from filter(_is, _by_name(schema, word).values())


def _same_place(schema: Json, root: Json) -> Iterator[Json]:
    if "$ref" in schema:
        target = _target(schema["$ref"], root)
        if _is(target):
            yield target
    for word in _SAME_PLACE_ONE:
        if _is(schema.get(word)):
            yield schema[word]
    for word in _SAME_PLACE_LIST:
        yield from _listed(schema, word)
    for word in _SAME_PLACE_BY_NAME:
        yield from filter(_is, _by_name(schema, word).values())


def _closure(said: tuple[Json, ...], root: Json) -> Iterator[Json]:
    for schema in said:
        yield schema
        yield from _closure(tuple(_same_place(schema, root)), root)


def _elements(schemas: tuple[Json, ...], index: int) -> tuple[Json, ...]:
    """What is said of the element of an array."""
    found: list[Json] = []
    for schema in schemas:
        items = schema.get("items")
        first, rest = (items, "additionalItems") if isinstance(items, list) else (schema.get("prefixItems"), "items")
        if isinstance(first, list) and index < len(first):
            said = first[index]
        else:
            said = schema.get(rest, schema.get("unevaluatedItems"))
        found += [said] if _is(said) else []
    return tuple(found)


def _listed(schema: Json, word: str) -> Iterator[Json]:
    found = schema.get(word)
    return filter(_is, found if isinstance(found, list) else ())


def _by_name(schema: Json, word: str) -> Json:
    found = schema.get(word)
    return found if isinstance(found, dict) else {}


def _target(reference: object, root: Json) -> Any:
    """What a reference leads to. ValueError where that is nothing within the schema."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise ValueError("a reference leads to a place of the same schema: #/…")
    found: Any = root
    for step in reference.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            raise ValueError(f"a reference leads nowhere: {reference[:100]}")
    return found
