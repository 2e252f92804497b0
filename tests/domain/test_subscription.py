"""A destination's expression picks the events that Segment's would pick."""

from __future__ import annotations

import math
import string
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.subscription import DEEPEST, LONGEST, parse
from penstock.errors import Invalid

HUGE = 10**400


def order(**overrides: Any) -> dict[str, Any]:
    event = {
        "type": "track",
        "event": "Order Completed",
        "userId": "u-1",
        "properties": {
            "total": 100,
            "text": "100",
            "paid": True,
            "gift": False,
            "note": None,
            "a.b": "dotted",
            "a": {"b": "nested"},
            'q"s': "quote",
            "two words": 2,
            "list": [1],
        },
        "context": {"page": {"path": "/shop"}},
    }
    return event | overrides


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('type = "track" and event = "Order Completed" and properties.total >= 100', True),
        ("type = 'track'", True),
        ('type="track"and(event="Order Completed")', True),
        ('type = "page"', False),
        ('type != "page"', True),
        ('userId = "u-1"', True),
        ('name = "Home"', False),
        ('name != "Home"', True),
        ("name = null", True),
        ("userId != null", True),
        ('context.page.path = "/shop"', True),
        ("context.page.path.deeper = null", True),
        ('traits.plan = "pro"', False),
        ('traits.plan != "pro"', True),
        ('properties.total = "100"', False),
        ('properties.total != "100"', True),
        ("properties.total = 100", True),
        ("properties.total = 100.0", True),
        ("properties.total = 1e2", True),
        ("properties.total != 100", False),
        ("properties.total != 99", True),
        ("properties.total > -1", True),
        ("properties.total > 100", False),
        ("properties.total < 100.5", True),
        ("properties.total <= 100", True),
        ("properties.text >= 100", False),
        ("properties.text != 99", False),
        ("properties.absent != 99", False),
        ("properties.absent < 1", False),
        ("properties.paid = 1", False),
        ("properties.paid >= 0", False),
        ("properties.paid = true", True),
        ("properties.paid = false", False),
        ("properties.gift = false", True),
        ("properties.absent = false", False),
        ('properties.paid = "true"', False),
        ("properties.note = null", True),
        ("properties.absent = null", True),
        ("properties.note != null", False),
        ("properties.gift != null", True),
        ("properties.gift = null", False),
        ('properties."a.b" = "dotted"', True),
        ("properties.'a.b' = 'dotted'", True),
        (r'properties.a\.b = "dotted"', True),
        ('properties.a.b = "nested"', True),
        (r'properties."q\"s" = "quote"', True),
        (r"properties.two\ words = 2", True),
        ("properties.list.0 = 1", False),
        ('contains(event, "Comp")', True),
        ('contains(event, "comp")', False),
        ('!contains(event, "comp")', True),
        ('! contains(event, "Comp")', False),
        ('contains(properties.total, "1")', False),
        ('!contains(properties.total, "x")', False),
        ('!contains(properties.absent, "x")', False),
        ('!contains(properties.note, "x")', False),
        ('match(event, "Order*")', True),
        ('match(event, "*Order")', False),
        ('match(event, "*Completed")', True),
        ('match(event, "*")', True),
        ('match(event, ".*")', False),
        ('!match(event, "Cart*")', True),
        ('!match(name, "Cart*")', False),
        ('type = "track" or type = "page" and type = "screen"', True),
        ('type = "screen" and type = "page" or type = "track"', True),
        ('(type = "track" or type = "page") and type = "screen"', False),
    ],
)
def test_an_expression_picks_what_it_says(text: str, expected: bool) -> None:
    assert parse(text).matches(order()) is expected


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("   ", 4),
        ('type = "track" and', 19),
        ('type = "track" garbage', 16),
        ('type = "track")', 15),
        ('(type = "track"', 16),
        ('type == "track"', 7),
        ("type = track", 8),
        ("type", 5),
        ('type = "track', 8),
        ('type = "tr\\xack"', 11),
        ('type = "track\\', 14),
        ('"type" = "track"', 1),
        ('anonymousId = "a"', 1),
        ("properties = null", 1),
        ('type.x = "a"', 1),
        ("properties. = 1", 12),
        ("properties.a. = 1", 14),
        ('properties.a < "x"', 14),
        ("properties.a >= null", 14),
        ("properties.a != true", 14),
        ("properties.a < true", 14),
        ("properties.a = 1x", 17),
        ("properties.a = 1.", 17),
        ("properties.a = .5", 16),
        ("properties.a = 1e999", 16),
        ("properties.a = " + "9" * 5000, 16),
        ('!(type = "track")', 2),
        ('!type = "track"', 2),
        ("contains(event, 1)", 17),
        ('contains(event "x")', 16),
        ('contains("x", event)', 10),
        ('contains = "x"', 10),
        ('match(event, "x")', 14),
        ('match(event, "*x*")', 14),
        ('match(event, "x*y*")', 14),
        ('type = "a" AND type = "b"', 12),
        ('type = "a" && type = "b"', 12),
        ("type = (", 8),
        ("x" * (LONGEST + 1), LONGEST + 1),
    ],
)
def test_what_does_not_parse_whole_is_refused_with_its_position(text: str, position: int) -> None:
    with pytest.raises(Invalid, match=rf"at character {position}$") as refused:
        parse(text)
    assert (refused.value.code, refused.value.field) == ("invalid_subscription", "subscription")


def test_parentheses_nest_as_deep_as_the_limit_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        return "(" * depth + 'type = "track"' + ")" * depth

    assert parse(nested(DEEPEST)).matches(order())
    with pytest.raises(Invalid, match=f"at character {DEEPEST + 1}$"):
        parse(nested(DEEPEST + 1))


def test_parentheses_beside_each_other_are_not_nested() -> None:
    assert parse(" and ".join(['(type = "track")'] * (DEEPEST * 2))).matches(order())


@pytest.mark.parametrize("word", [" or ", " and "])
def test_as_many_terms_as_fit_are_no_burden(word: str) -> None:
    assert parse(word.join(["name=null"] * (LONGEST // 14))).matches(order())


def test_an_expression_as_long_as_the_limit_parses() -> None:
    assert parse('type = "track"'.ljust(LONGEST)).matches(order())


@pytest.mark.parametrize("number", [HUGE, -HUGE, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("sign", ["=", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("literal", ["1", "1.5", "-1e300"])
def test_no_number_in_an_event_is_too_odd_to_compare(number: float, sign: str, literal: str) -> None:
    answer = parse(f"properties.n {sign} {literal}").matches({"properties": {"n": number}})
    assert answer is compared(number, sign, float(literal))


def test_a_large_id_is_compared_to_the_last_digit() -> None:
    assert parse("properties.id = 9007199254740993").matches({"properties": {"id": 9007199254740993}})


@pytest.mark.parametrize("properties", [None, 5, "text", [], [{"total": 1}], True])
def test_properties_that_are_no_object_hold_nothing(properties: Any) -> None:
    assert parse("properties.total = null").matches(order(properties=properties))


def test_a_subscription_keeps_its_text_and_does_not_change() -> None:
    subscription = parse("name = null")
    assert subscription.text == "name = null"
    assert subscription == parse("name = null") != parse("userId = null")
    with pytest.raises(FrozenInstanceError):
        subscription.text = "other"  # type: ignore[misc]


# The law: the text of a tree picks what the tree, read in the slowest and plainest way, picks.

KEYS = st.sampled_from(["a", "b", "a.b", "true", "two words", 'q"q', "q'q", "back\\slash", "", "é", "$x", "and"])
WORDS = st.sampled_from(["", "a", "ab", "ba", "true", "null", "1", 'q"', "q'", "\\", "*", "a*b", "\n", "and", "é"])
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 1.5, -0.5]), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)
ODD_NUMBERS = st.sampled_from([HUGE, -HUGE, math.inf, -math.inf, math.nan])
ROOTS = st.sampled_from(["properties", "traits", "context"])
PATHS = st.one_of(
    st.sampled_from(["type", "event", "name", "userId"]).map(lambda root: (root,)),
    st.tuples(ROOTS, KEYS),
    st.tuples(ROOTS, KEYS, KEYS),
)
AFFIXES = WORDS.filter(lambda word: "*" not in word)
LEAVES = st.one_of(
    st.tuples(st.just("compare"), PATHS, st.sampled_from(["=", "!="]), st.one_of(WORDS, NUMBERS, st.none())),
    st.tuples(st.just("compare"), PATHS, st.sampled_from(["<", "<=", ">", ">="]), NUMBERS),
    st.tuples(st.just("compare"), PATHS, st.just("="), st.booleans()),
    st.tuples(st.just("contains"), PATHS, WORDS, st.booleans()),
    st.tuples(st.sampled_from(["prefix", "suffix"]), PATHS, AFFIXES, st.booleans()),
)
TREES = st.recursive(
    LEAVES,
    lambda trees: st.tuples(st.sampled_from(["and", "or"]), st.lists(trees, min_size=2, max_size=3)),
    max_leaves=8,
)
SCALARS = st.one_of(st.none(), st.booleans(), WORDS, NUMBERS, ODD_NUMBERS, st.lists(st.integers(), max_size=1))
OBJECTS = st.dictionaries(KEYS, st.one_of(SCALARS, st.dictionaries(KEYS, SCALARS, max_size=4)), max_size=8)
EVENTS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("type", "event", "name", "userId"), SCALARS)
    | {root: st.one_of(SCALARS, OBJECTS) for root in ("properties", "traits", "context")},
)
PLAIN = frozenset(string.ascii_letters + string.digits + "_-$é")


def quoted(text: str, quote: str = '"') -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


def named(key: str) -> str:
    """A key as a customer could write it: bare, escaped or in either quote, by its length."""
    if key and len(key) % 2:
        return "".join(char if char in PLAIN else "\\" + char for char in key)
    return quoted(key, "'" if '"' in key else '"')


def literal(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return {None: "null"}.get(value) or (str(value).lower() if isinstance(value, bool) else repr(value))


def rendered(tree: Any, inside: str = "or") -> str:
    """The tree as text, with parentheses only where `and` would otherwise bind an `or` apart."""
    kind = tree[0]
    if kind in ("and", "or"):
        joined = f" {kind} ".join(rendered(child, kind) for child in tree[1])
        return f"({joined})" if (inside, kind) == ("and", "or") else joined
    path = ".".join([tree[1][0], *(named(key) for key in tree[1][1:])])
    if kind == "compare":
        return f"{path} {tree[2]} {literal(tree[3])}"
    call = "contains" if kind == "contains" else "match"
    argument = {"contains": tree[2], "prefix": tree[2] + "*", "suffix": "*" + tree[2]}[kind]
    return f"{'!' if tree[3] else ''}{call}({path}, {quoted(argument)})"


def looked_up(event: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return event
    return looked_up(event[path[0]], path[1:]) if isinstance(event, dict) and path[0] in event else None


def compared(value: Any, sign: str, wanted: Any) -> bool:
    if wanted is None:
        return (value is None) == (sign == "=")
    if isinstance(wanted, bool):
        return isinstance(value, bool) and value == wanted
    if isinstance(wanted, str):
        return (isinstance(value, str) and value == wanted) == (sign == "=")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    answers = {"<": value < wanted, "<=": value <= wanted, ">": value > wanted, ">=": value >= wanted}
    return (answers | {"=": value == wanted, "!=": value != wanted})[sign]


def naive(tree: Any, event: dict[str, Any]) -> bool:
    kind = tree[0]
    if kind in ("and", "or"):
        answers = [naive(child, event) for child in tree[1]]
        return False not in answers if kind == "and" else True in answers
    value = looked_up(event, tree[1])
    if kind == "compare":
        return compared(value, tree[2], tree[3])
    if not isinstance(value, str):
        return False
    size = len(tree[2])
    part = {"contains": tree[2] if value.find(tree[2]) >= 0 else None, "prefix": value[:size]}
    holds = (part | {"suffix": value[len(value) - size :] if size <= len(value) else None})[kind] == tree[2]
    return holds != tree[3]


@given(tree=TREES, event=EVENTS)
def test_the_text_of_a_tree_picks_what_the_tree_picks(tree: Any, event: dict[str, Any]) -> None:
    assert parse(rendered(tree)).matches(event) is naive(tree, event)


PIECES = st.one_of(
    st.sampled_from([*"=!<(),.*1- \"'\\\x00", "\ud800", "²", "٣", "e9"]),
    st.sampled_from(["type", "properties.", "a", "and", " or ", "contains(", "match(", "null", "true", '"x*"']),
)


@given(
    text=st.one_of(st.text(), st.lists(PIECES, max_size=20).map("".join), st.lists(PIECES, max_size=20).map(" ".join))
)
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        subscription = parse(text)
    except Invalid as refused:
        assert "at character " in refused.message
    else:
        assert subscription.matches(order()) in (True, False)


@given(tree=TREES, data=st.data())
def test_a_damaged_expression_parses_or_is_refused(tree: Any, data: st.DataObject) -> None:
    text = rendered(tree)
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.one_of(PIECES, st.just(""))) + text[at + data.draw(st.integers(0, 2)) :]
    try:
        parse(damaged).matches(order())
    except Invalid as refused:
        assert 1 <= int(refused.message.rsplit(" ", 1)[1]) <= len(damaged) + 1


@given(tree=TREES, event=EVENTS)
def test_no_field_but_those_it_names_is_looked_at(tree: Any, event: dict[str, Any]) -> None:
    subscription = parse(rendered(tree))
    seen = {name: value for name, value in event.items() if name in subscription.fields}
    assert subscription.matches(seen) is subscription.matches(event)
    assert subscription.fields <= {"type", "event", "name", "userId", "properties", "traits", "context"}
