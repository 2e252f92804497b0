"""The learned tracker tells exactly what the plain walk tells, whatever comes in whatever order."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import corpus
from penstock.domain import shape_tracker
from penstock.domain.schema_tree import DEEPEST, Node, places
from penstock.domain.schema_walk import decoded, walk
from penstock.domain.shape_tracker import ShapeTracker

names = st.one_of(
    st.sampled_from(["total", "id", "", "__proto__", "class", "a.b", "a b", "é", "f0", "v", "*", "[]", "x" * 257]),
    st.text(max_size=3),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**300), 10**300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from(["2026-11-23T16:00:00.000Z", "2026-11-23T16:00:00.0x0Z", "2026-02-30T16:00:00.000Z", "1234-"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5), max_leaves=20
)
odd = st.sampled_from(
    [
        b'{"a":1e999,"b":-1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":1,"a":"x"}',
        b'{"a":{"b":1},"a":{"c":1}}',
        b'{"a":' + b"9" * 400 + b"}",
        b"[" * 60 + b"]" * 60,
        b'{"a":' * 60 + b"1" + b"}" * 60,
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"-0",
        b'{"a":[1,[2,[{"b":3}]],{"b":"x"}]}',
    ]
)
raws = st.one_of(odd, values.map(lambda value: json.dumps(value).encode()))
_encode = msgspec.json.Encoder(order="sorted").encode


def at(number: int) -> str:
    return f"2026-11-23T16:00:{number % 60:02d}.000Z"


def walked(raws: Iterable[tuple[bytes, int]], *, count: int = 1) -> bytes:
    node = Node()
    for raw, number in raws:
        walk(node, decoded(raw), at(number), f"m{number}", count)
    return _encode(node)


def tracked(raws: Iterable[tuple[bytes, int]], tracker: ShapeTracker | None = None, *, count: int = 1) -> bytes:
    tracker = tracker or ShapeTracker("properties")
    for raw, number in raws:
        tracker.see(raw, at(number), f"m{number}", count)
    return _encode(tracker.drain())


@given(
    st.lists(raws, min_size=1, max_size=12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 90)), max_size=90)
)
def test_what_is_tracked_is_what_is_walked(choice: list[bytes], order: list[tuple[int, int]]) -> None:
    found = [(choice[place % len(choice)], number) for place, number in order]
    assert tracked(found) == walked(found)
    assert tracked(found, count=3) == walked(found, count=3)


@given(st.lists(raws, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_warm_tracker_tells_of_each_part_by_itself(choice: list[bytes], chance: random.Random) -> None:
    tracker = ShapeTracker("properties")
    for _ in range(6):
        part = [(chance.choice(choice), chance.randrange(90)) for _ in range(chance.randrange(40))]
        assert tracked(part, tracker) == walked(part)


def easy() -> list[bytes]:
    found = [event for event in corpus.events(6_000) if event.get("event") == "Order Completed"]
    return [json.dumps(event["properties"]).encode() for event in found]


def hard() -> list[bytes]:
    """Every name optional, now and then one that never comes again, ints among floats."""
    chance = random.Random(7)
    made: list[Callable[[], Any]] = [
        lambda: chance.choice([1, 2.5]),
        lambda: chance.choice(["text", "2026-11-23T16:00:00Z", None]),
        lambda: chance.random() < 0.5,
        lambda: [chance.choice([1, "x", None]) for _ in range(chance.randrange(3))],
    ]
    found = []
    for number in range(2_500):
        value = {f"k{n}": made[n % 4]() for n in range(12) if chance.random() < 0.5}
        found.append(value | ({f"user_{number}": 1} if chance.random() < 0.01 else {}))
    return [json.dumps(value).encode() for value in found]


@pytest.mark.parametrize("made", [easy, hard])
def test_whole_corpora_are_tracked_as_they_are_walked(made: Callable[[], Sequence[bytes]]) -> None:
    found = [(raw, number) for number, raw in enumerate(made())]
    assert tracked(found) == walked(found)


def test_what_is_usual_is_learned_and_what_is_wild_is_left_to_the_walk() -> None:
    usual = ShapeTracker("properties")
    tracked([(raw, n) for n, raw in enumerate(easy())], usual)
    assert usual.learned
    wild = ShapeTracker("properties")
    tracked([(raw, n) for n, raw in enumerate(hard())], wild)
    assert not wild.learned


def test_ids_used_as_names_cannot_fill_the_memory() -> None:
    tracker = ShapeTracker("properties")
    for number in range(shape_tracker.MOST_PLACES + 2 * shape_tracker.BOUND_AT):
        tracker.see(f'{{"scores":{{"user_{number}":{number}}}}}'.encode(), at(0), f"m{number}")
    found = tracker.drain()
    assert sum(1 for _ in places(found)) < shape_tracker.MOST_PLACES / 2
    scores = found.names["scores"]
    assert scores.values is not None
    counted = scores.values.kinds["integer"].count + sum(
        child.kinds["integer"].count for child in scores.names.values()
    )
    assert counted == shape_tracker.MOST_PLACES + 2 * shape_tracker.BOUND_AT


def test_what_is_too_deep_or_too_long_named_is_marked_and_not_entered() -> None:
    deep: Any = 1
    for _ in range(DEEPEST + 5):
        deep = {"d": deep}
    node = Node()
    walk(node, {"deep": deep, "x" * 257: 1, "y" * 256: 1}, at(0), "m")
    assert node.guards == {"name_length"}
    assert node.names.keys() == {"deep", "y" * 256}
    marked = [path for path, place in places(Node(names={"properties": node})) if "depth" in place.guards]
    assert [path.count(".") for path in marked] == [DEEPEST - 1]


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(ValueError):
        ShapeTracker("properties").see(b"{", at(0), "m")
