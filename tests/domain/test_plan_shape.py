"""What a rule lists at a place, by whichever word it says so; and that no schema works without end."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.plan_shape import MOST_SCHEMAS, Shape, patterns_of, require_bounded

Json = dict[str, Any]
A: Json = {"properties": {"a": {}}}
B: Json = {"properties": {"b": {}}}


def unplanned(section: Json, properties: Any, **root: Any) -> list[tuple[str | int, ...]]:
    """The unlisted places in `properties` whose schema is `section`, without that first step."""
    shape = Shape({"properties": {"properties": section}} | root, lambda pattern, name: bool(re.search(pattern, name)))
    return [place[1:] for place in shape.examined({"properties": properties}).unplanned]


@pytest.mark.parametrize(
    "section",
    [
        A,
        A | {"additionalProperties": True},
        A | {"additionalProperties": False},
        {"$ref": "#/$defs/A"},
        {"allOf": [A, {}]},
        {"anyOf": [A, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, A]},
        {"if": {}, "then": A, "else": {}},
        {"dependentSchemas": {"a": A}},
        {"properties": {}, "patternProperties": {"^a$": {}}},
    ],
)
def test_a_name_that_is_listed_nowhere_is_unplanned(section: Json) -> None:
    assert unplanned(section, {"a": 1, "z": 2}, **{"$defs": {"A": A}}) == [("z",)]


@pytest.mark.parametrize(
    "section",
    [
        {"allOf": [A, B]},
        {"anyOf": [A, B]},
        {"oneOf": [A, B]},
        {"if": A, "then": B},
        A | {"patternProperties": {"^b$": {}}},
        A | {"additionalProperties": {"type": "number"}},
        A | {"unevaluatedProperties": {"type": "number"}},
        {"additionalProperties": {}},
        {"type": "object"},
        {},
    ],
)
def test_a_name_that_is_listed_anywhere_is_planned(section: Json) -> None:
    assert unplanned(section, {"a": 1, "b": 2}) == []


@pytest.mark.parametrize(
    ("section", "properties", "expected"),
    [
        ({"properties": {"a": A}}, {"a": {"a": 1, "z": 1}}, [("a", "z")]),
        ({"properties": {"a": {"items": A}}}, {"a": [{}, {"z": 1}]}, [("a", 1, "z")]),
        ({"properties": {"a": {"prefixItems": [A], "items": B}}}, {"a": [{"b": 1}, {"b": 1}]}, [("a", 0, "b")]),
        ({"properties": {"a": {"items": [A], "additionalItems": B}}}, {"a": [{"b": 1}, {"b": 1}]}, [("a", 0, "b")]),
        ({"properties": {"a": {"additionalProperties": A}}}, {"a": {"k": {"z": 1}}}, [("a", "k", "z")]),
        ({"properties": {"a": {"patternProperties": {"k": A}}}}, {"a": {"k": {"z": 1}}}, [("a", "k", "z")]),
        (
            {"allOf": [{"properties": {"a": A}}, {"properties": {"a": B}}]},
            {"a": {"a": 1, "b": 1, "z": 1}},
            [("a", "z")],
        ),
        ({"properties": {"a": {"not": A}}}, {"a": {"z": 1}}, []),
    ],
)
def test_names_are_looked_for_at_any_depth(section: Json, properties: Json, expected: list[Any]) -> None:
    assert unplanned(section, properties) == expected


def test_the_context_and_the_event_itself_are_free() -> None:
    shape = Shape({"properties": {"context": A, "properties": A}}, lambda pattern, name: False)
    event = {"messageId": "m", "context": {"ip": "1.2.3.4"}, "traits": {"z": 1}}
    assert shape.examined(event).unplanned == []


def test_no_depth_is_too_deep() -> None:
    deep: Any = {}
    for _ in range(5_000):
        deep = {"a": [deep]}
    assert unplanned({"properties": {"a": {"items": A}}}, deep) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#"}}},
        {"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "other.json"},
        {"$ref": "#anchor"},
        {"$ref": "#/$defs/none"},
        {"$ref": 5},
        {"$dynamicRef": "#a"},
        {"properties": {"a": {"$id": "https://example.com/a"}}},
    ],
)
def test_a_schema_stays_within_itself_and_ends(schema: Json) -> None:
    with pytest.raises(ValueError, match=r".+"):
        require_bounded(schema)


@pytest.mark.parametrize("word", ["allOf", "anyOf"])
@pytest.mark.parametrize("below", [lambda inner: inner, lambda inner: {"items": inner}])
def test_references_that_double_at_every_step_are_refused(word: str, below: Any) -> None:
    defs = {f"a{n}": below({word: [{"$ref": f"#/$defs/a{n + 1}"}] * 2}) for n in range(40)}
    with pytest.raises(ValueError, match=str(MOST_SCHEMAS)):
        require_bounded({"$defs": defs | {"a40": {}}, "$ref": "#/$defs/a0"})


def test_what_is_used_often_and_in_many_places_is_fine() -> None:
    money = {"properties": {"amount": {"type": "number"}, "currency": {"pattern": "^[A-Z]{3}$"}}}
    places = {f"price_{n}": {"$ref": "#/$defs/a~1b/money%20"} for n in range(1_000)}
    require_bounded({"$defs": {"a/b": {"money ": money}}, "properties": {"properties": {"properties": places}}})


def test_every_pattern_is_found_wherever_it_stands() -> None:
    schema = {
        "$defs": {"a": {"pattern": "1", "$ref": "#/$defs/b"}, "b": {"patternProperties": {"2": {"pattern": "3"}}}},
        "anyOf": [{"$ref": "#/$defs/a"}, {"not": {"propertyNames": {"pattern": "4"}}}],
        "properties": {"pattern": {"type": "string"}},
    }
    assert patterns_of(schema) == {"1", "2", "3", "4"}


words = st.sampled_from(
    ["properties", "items", "allOf", "$ref", "additionalProperties", "prefixItems", "required", "a"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | words | st.just("#/a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(words, anything, max_size=4), anything)
def test_whatever_a_schema_is_it_is_refused_or_read(schema: Json, properties: Any) -> None:
    try:
        require_bounded(schema)
    except ValueError:
        return
    Shape(schema, lambda pattern, name: True).examined({"properties": properties})
