"""A row gives back its event to the letter, whatever the event, the schema and the policy."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta, timezone
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.domain.column_names import allocated, base_name, has_columns, variant_name
from penstock.domain.conform import Row, conform, decode, restored
from penstock.domain.schema_lattice import POLICIES, Policy, family_of, kind_of, resolved
from penstock.domain.schema_model import Place
from penstock.domain.schema_paths import ELEMENTS, VALUES, below, named, steps
from penstock.domain.schema_tree import ARRAY, BOOLEAN, INTEGER, KINDS, NULL, NUMBER, OBJECT, STRING, TIMESTAMP

Schema = dict[str, Place]

INTEGERS = st.integers() | st.sampled_from([0, -1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**70, 2**70 + 1, 10**400])
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([-0.0, 1.0, 1e5, 5e-324, 2.0**53])
DECIMALS = st.sampled_from([Decimal(text) for text in ("1e400", "-1e-400", "0.10000000000000000001", "1.5", "-0")])
DATES = st.sampled_from(
    [
        "2024-01-01T00:00:00.000000Z",
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00",
        "2024-01-01 00:00:00+02:00",
        "2024-01-01t00:00:00.123456789z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2024-02-30T00:00:00Z",
        "2024-01-01",
    ]
) | st.datetimes(timezones=st.none() | st.integers(-14, 14).map(lambda h: timezone(timedelta(hours=h)))).map(
    lambda at: at.isoformat()
)
TEXTS = st.text(st.characters(), max_size=5) | st.sampled_from(["00123", "1e5", "true", "null", "{}", "\ud800", ""])
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | DECIMALS | DATES | TEXTS
NAMES = st.sampled_from(
    ["a", "b", "A", "a.b", "", "*", "[]", ".*", "a[]", "\\", "\\*", "__proto__", "properties", "\ud800", "é"]
) | st.text(st.characters(), max_size=3)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, JSON_VALUES, max_size=5)
SECTIONS = OBJECTS | JSON_VALUES
EVENTS = st.builds(
    lambda message, sections: message | sections,
    st.dictionaries(st.sampled_from(["messageId", "event", "timestamp", "properties.a", "other"]), JSON_VALUES),
    st.fixed_dictionaries({}, optional={"properties": SECTIONS, "traits": SECTIONS, "context": SECTIONS}),
)
OTHER_EVENTS = st.lists(EVENTS, max_size=3)
RANDOMS = st.randoms(use_true_random=False)


def seen(events: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The kinds at each path, in the order in which they came."""
    kinds: dict[str, list[str]] = {}
    for event in events:
        todo = [(name, event[name]) for name in ("context", "traits", "properties") if name in event]
        while todo:
            path, value = todo.pop()
            known = kinds.setdefault(path, [])
            if kind_of(value) not in known:
                known.append(kind_of(value))
            todo += [(below(path, step), each) for step, each in members(value)]
    return kinds


def members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((named(name), each) for name, each in value.items())
    elif isinstance(value, list):
        yield from ((ELEMENTS, each) for each in value)


def schema_of(kinds: Mapping[str, list[str]], policy: Policy, taken: dict[str, str] | None = None) -> Schema:
    taken = {} if taken is None else taken
    return {path: place_of(path, found, policy, taken) for path, found in kinds.items()}


def place_of(path: str, kinds: list[str], policy: Policy, taken: dict[str, str]) -> Place:
    first = next((kind for kind in kinds if kind != NULL), NULL)
    columns: dict[str, str] = {}
    for family in wanted(path, kinds, policy):
        name = variant_name(base_name(path), family) if columns else base_name(path)
        columns[family] = allocated(name, f"{path} {family}", taken)
        taken[columns[family]] = f"{path} {family}"
    return Place(path, tuple(sorted(kinds)), first, "2024-01-01T00:00:00Z", columns)


def wanted(path: str, kinds: list[str], policy: Policy) -> list[str]:
    """The families that get a column of their own under a policy."""
    if not has_columns(path):
        return []
    if steps(path)[-1] == VALUES:
        return [OBJECT]
    found = list(dict.fromkeys(family_of(kind) for kind in kinds if kind != NULL))
    if policy == "widen":
        return found[:1] if found != [OBJECT] else []
    return [family for family in (found[:1] if policy == "strict" else found) if family != OBJECT]


def with_maps(kinds: dict[str, list[str]], random: Random) -> dict[str, list[str]]:
    """Some objects have many keys and became maps; of these, some keys keep a place of their own."""
    changed = {path: list(found) for path, found in kinds.items()}
    for path in [path for path, found in kinds.items() if OBJECT in found and random.random() < 0.3]:
        changed[below(path, VALUES)] = random.sample(KINDS, 3)
    return changed


def damaged(schema: Schema, random: Random) -> Schema:
    """A schema that does not fit: places, kinds and columns are missing, others are there for nothing."""
    changed: Schema = {}
    for path, place in schema.items():
        chance = random.random()
        if chance < 0.2:
            continue
        kinds, columns, first = list(place.kinds), place.columns, place.first
        if chance < 0.4:
            kinds = random.sample(KINDS, random.randint(0, 4))
        elif chance < 0.6:
            columns = {family: name for family, name in columns.items() if random.random() < 0.5}
        elif chance < 0.8:
            first = random.choice(KINDS)
        changed[path] = Place(path, tuple(sorted(kinds)), first, place.first_seen, columns)
    return changed


def is_same(one: Any, other: Any) -> bool:
    """The same JSON: 1 is neither 1.0 nor True, and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return repr(one) == repr(other)


@pytest.mark.parametrize("policy", POLICIES)
@given(EVENTS, OTHER_EVENTS, RANDOMS)
def test_a_row_gives_back_its_event(policy: Policy, event: Any, others: list[Any], random: Random) -> None:
    schema = schema_of(with_maps(seen([*others, event]), random), policy)
    before = copy.deepcopy(event)
    assert is_same(restored(conform(event, schema, policy), schema), event)
    assert is_same(event, before)


@pytest.mark.parametrize("policy", POLICIES)
@given(EVENTS, OTHER_EVENTS, st.sampled_from(POLICIES), RANDOMS)
def test_a_row_gives_back_its_event_even_where_the_schema_does_not_fit(
    policy: Policy, event: Any, others: list[Any], other_policy: Policy, random: Random
) -> None:
    known = [*others, event] if random.random() < 0.8 else others
    schema = damaged(schema_of(with_maps(seen(known), random), other_policy), random)
    assert is_same(restored(conform(event, schema, policy), schema), event)


@pytest.mark.parametrize("policy", POLICIES)
@given(EVENTS, OTHER_EVENTS, OTHER_EVENTS)
def test_a_row_gives_back_its_event_when_the_schema_has_grown(
    policy: Policy, event: Any, before: list[Any], after: list[Any]
) -> None:
    taken: dict[str, str] = {}
    schema = schema_of(seen([*before, event]), policy, taken)
    grown = schema_of(seen([*before, event, *after]), policy, taken)
    assert is_same(restored(conform(event, schema, policy), grown), event)


@pytest.mark.parametrize("policy", POLICIES)
@given(EVENTS, OTHER_EVENTS, RANDOMS)
def test_a_column_holds_values_of_its_type_alone_and_no_number_that_was_not_sent(
    policy: Policy, event: Any, others: list[Any], random: Random
) -> None:
    schema = damaged(schema_of(with_maps(seen([*others, event]), random), policy), random)
    row = conform(event, schema, policy)
    for path, place in schema.items():
        for family, column in place.columns.items():
            if column in row.columns:
                type_ = column_type(place, family, policy)
                assert is_of(type_, row.columns[column])
                if type_ == NUMBER and path in row.was:
                    assert Decimal(repr(row.columns[column])) == Decimal(row.was[path])


@given(INTEGERS | FLOATS | DECIMALS)
def test_a_column_of_doubles_takes_the_numbers_that_a_double_says_exactly_and_no_other(value: Any) -> None:
    schema = schema_of({"traits": [OBJECT], "traits.n": [NUMBER, INTEGER]}, "variant")
    row = conform({"traits": {"n": value}}, schema, "variant")
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    assert all(type(held) is float and Decimal(repr(held)) == exact for held in row.columns.values())
    assert bool(row.unfit) == (not row.columns)
    assert row.columns or not isinstance(value, float)


def column_type(place: Place, family: str, policy: Policy) -> str:
    return OBJECT if steps(place.path)[-1] == VALUES else resolved(place.kinds, policy, place.first, family)


def is_of(type_: str, value: Any) -> bool:
    if type_ == INTEGER:
        return type(value) is int and -(2**63) <= value < 2**63
    if type_ == TIMESTAMP:
        return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value) is not None
    return type(value) is {BOOLEAN: bool, NUMBER: float, STRING: str, OBJECT: dict, ARRAY: list}[type_]


@pytest.mark.parametrize("policy", ["variant", "widen"])
@given(EVENTS, OTHER_EVENTS, RANDOMS)
def test_where_all_is_known_only_numbers_that_no_column_holds_are_unfit(
    policy: Policy, event: Any, others: list[Any], random: Random
) -> None:
    schema = schema_of(with_maps(seen([*others, event]), random), policy)
    for value in conform(event, schema, policy).unfit.values():
        assert isinstance(value, Decimal) or (type(value) is int and abs(value) > 2**53)


@pytest.mark.parametrize("policy", POLICIES)
@given(EVENTS)
def test_without_a_schema_all_is_kept_whole(policy: Policy, event: Any) -> None:
    row = conform(event, {}, policy)
    assert not row.columns
    assert not row.was
    assert is_same(row.message | row.unfit, event)


@given(EVENTS)
@example({"a": -0.0})
def test_decoding_loses_nothing(event: Any) -> None:
    text = json.dumps(event, default=lambda value: f"{value}@number")
    written = re.sub(r'"([^"]*)@number"', r"\1", text).encode()
    assert is_same(decode(written), shortened(event))


def shortened(value: Any) -> Any:
    """A value with a double for each Decimal that a double says as well."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value]
    if isinstance(value, Decimal) and Decimal(repr(float(value))) == value:
        return float(value)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("1e5", 100000.0),
        ("-0", -0.0),
        ("0.1", 0.1),
        ("1.50", 1.5),
        ("0.10000000000000000001", Decimal("0.10000000000000000001")),
        ("1e400", Decimal("1e400")),
        ("9007199254740993.0", Decimal("9007199254740993.0")),
        (str(2**70), 2**70),
        ("1" * 5000, Decimal("1" * 5000)),
        (r'"\ud800"', "\ud800"),
    ],
)
def test_a_number_is_decoded_as_what_holds_it(text: str, value: Any) -> None:
    assert is_same(decode(text.encode()), value)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e9999999999999999999", "{", "", '"\xff'])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text.encode("latin-1"))


@pytest.mark.parametrize("policy", POLICIES)
def test_depth_and_digits_without_end_break_nothing(policy: Policy) -> None:
    deep: Any = 10**5000
    for level in range(5000):
        deep = {"a": deep} if level % 2 else [deep]
    event = {"properties": {"a": deep, "b": 10**5000}}
    kinds = {"properties": [OBJECT], "properties.a": [STRING, OBJECT], "properties.b": [STRING, INTEGER]}
    schema = schema_of(kinds, policy)
    again = restored(conform(event, schema, policy), schema)
    assert again["properties"]["b"] == 10**5000
    if policy == "widen":
        assert again["properties"]["a"] is deep


def test_a_map_s_column_takes_the_names_without_a_place_of_their_own() -> None:
    kinds = {
        "properties": [OBJECT],
        "properties.scores": [OBJECT],
        "properties.scores.total": [INTEGER],
        "properties.scores.*": [INTEGER],
    }
    schema = schema_of(kinds, "variant")
    event = {"properties": {"scores": {"total": 3, "u1": 1, "u2": "x", "*": None}}}
    row = conform(event, schema, "variant")
    assert row == Row(columns={"scores": {"u1": 1, "u2": "x", "*": None}, "scores_total": 3})
    assert restored(row, schema) == event
    assert conform({"properties": {"scores": {"total": "three"}}}, schema, "variant").columns == {
        "scores": {"total": "three"}
    }


def test_what_a_column_alone_would_not_give_back_is_kept_as_it_was() -> None:
    event = {"properties": {"price": 5, "at": "2024-01-01T01:00:00+01:00", "none": None, "empty": {}, "same": 1}}
    schema = schema_of(seen([event, {"properties": {"price": 5.5}}]), "variant")
    assert conform(event, schema, "variant") == Row(
        columns={"price": 5.0, "at": "2024-01-01T00:00:00.000000Z", "same": 1},
        was={
            "properties.price": 5,
            "properties.at": "2024-01-01T01:00:00+01:00",
            "properties.none": None,
            "properties.empty": {},
        },
    )


def test_other_fields_of_the_message_are_carried_untouched() -> None:
    event = {"messageId": "m-1", "integrations": {"All": False}, "userId": None}
    assert conform(event, {}, "strict") == Row(message=event)


DOC = (Path(__file__).parents[2] / "docs" / "schema-conflicts.md").read_text()
TITLES = ["Input", "`variant`", "`widen`", "`strict`", "Segment", "RudderStack", "Jitsu", "dlt"]
INPUTS = {
    "number then string",
    "int then float",
    "int beyond 2^53",
    "string then date",
    "scalar then object",
    "array then scalar",
    "null",
    '"00123" to an int column',
    "boolean then string",
}


def table() -> list[list[str]]:
    lines = [line for line in DOC.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cells", table()[2:], ids=lambda cells: cells[0])
def test_the_table_of_conflicts_is_true(cells: list[str], policy: Policy) -> None:
    events = [{"properties": {"total": decode(text.encode())}} for text in re.findall("`([^`]*)`", cells[0])]
    schema = schema_of(seen(events), policy)
    rows = [conform(event, schema, policy) for event in events]
    assert cells[TITLES.index(f"`{policy}`")] == "<br>".join(told(row, schema, policy) for row in rows)
    assert [restored(row, schema) for row in rows] == events


def test_the_table_of_conflicts_is_whole() -> None:
    assert table()[0] == TITLES
    assert {cells[0].partition(":")[0] for cells in table()} >= INPUTS
    assert all(len(cells) == len(TITLES) and all(cells) for cells in table())


def told(row: Row, schema: Schema, policy: Policy) -> str:
    """A row in the words of the table."""
    types = {
        column: column_type(place, family, policy)
        for place in schema.values()
        for family, column in place.columns.items()
    }
    parts = [
        f"`{column}` {types[column]} `{json.dumps(value, separators=(',', ':'))}`"
        for column, value in sorted(row.columns.items())
    ]
    return ", ".join(parts + ["`_was`"] * bool(row.was) + ["`_unfit`"] * bool(row.unfit))
