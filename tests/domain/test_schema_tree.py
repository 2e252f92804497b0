"""Merging what was seen is a join, and the guards are functions of what was seen, not of its order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain import schema_facts, schema_tree
from penstock.domain.schema_facts import Facts, facts_of
from penstock.domain.schema_tree import LIMIT, MOST_PATHS, MOST_SIBLINGS, Node, canonical, merge, places
from penstock.domain.schema_walk import walk

_encode = msgspec.json.Encoder(order="sorted").encode
names = st.sampled_from(["a", "b", "c", "d.e"])
values = st.recursive(
    st.sampled_from([None, True, 1, 2.5, "text", "2026-11-23T16:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)
seen = st.lists(st.tuples(values, st.integers(0, 59)), max_size=6)


def tree(observed: Sequence[tuple[Any, int]]) -> Node:
    root = Node(names={"properties": Node()})
    for value, second in observed:
        walk(root.names["properties"], value, f"2026-11-23T16:00:{second:02d}.000Z", f"m{second}")
    return root


def joined(*parts: Sequence[tuple[Any, int]]) -> Node:
    root = Node()
    for part in parts:
        merge(root, tree(part))
    return root


@given(seen, seen, seen)
def test_merging_does_not_mind_order_or_grouping(a: Any, b: Any, c: Any) -> None:
    left = joined(a, b)
    merge(left, tree(c))
    right = tree(a)
    merge(right, joined(c, b))
    assert _encode(left) == _encode(right) == _encode(tree([*c, *b, *a]))


@given(seen)
def test_what_is_merged_once_more_tells_nothing_new(a: Any) -> None:
    assert facts_of(joined(a, a)) == facts_of(joined(a))


@given(seen, seen)
def test_facts_are_laid_flat_and_put_together_again(a: Any, b: Any) -> None:
    root = joined(a, b)
    assert facts_of(schema_facts.tree_of(facts_of(root).items())) == facts_of(root)


@given(seen, seen)
def test_learning_tells_exactly_what_was_not_known(a: Any, b: Any) -> None:
    known = joined(a)
    news = schema_facts.learn(known, tree(b))
    assert facts_of(known) == facts_of(joined(a, b))
    assert news == schema_facts.missing(facts_of(joined(a)), facts_of(joined(a, b)))
    assert schema_facts.learn(known, tree(b)) == {}


def exploding(count: int, other: int = 0) -> list[tuple[Any, int]]:
    """Ids used as names, beside names that are none; with a shape that goes deeper."""
    found: list[tuple[Any, int]] = [
        ({"scores": {f"user_{n}": {"wins": n, "tags": ["x"]}, "best": "text", f"nobody_{n % 7}": None}}, n % 60)
        for n in range(count)
    ]
    return found + [({"other": {f"name_{n}": "text"}}, n % 60) for n in range(other)]


def guarded(parts: Sequence[Sequence[tuple[Any, int]]], *, each: bool) -> Facts:
    """The facts of all parts under the guards, which are applied after each part or at the end alone."""
    root = Node()
    for part in parts:
        merge(root, tree(part))
        if each:
            canonical(root)
    canonical(root)
    return facts_of(root)


@given(st.randoms(use_true_random=False), st.integers(MOST_SIBLINGS - 5, MOST_SIBLINGS + 30))
def test_key_explosion_does_not_mind_order_or_when_it_is_noticed(chance: random.Random, count: int) -> None:
    observed = exploding(count, other=MOST_SIBLINGS)
    expected = guarded([observed], each=False)
    chance.shuffle(observed)
    parts = [observed[place : place + 17] for place in range(0, len(observed), 17)]
    assert guarded(parts, each=True) == expected
    assert ("properties.scores.*" in expected) == (count > MOST_SIBLINGS)
    assert "properties.scores.best" in expected
    assert "properties.other.*" not in expected
    if count > MOST_SIBLINGS:
        assert expected["properties.scores.*.tags[]"].kinds.keys() == {"string"}
        assert expected["properties.scores.nobody_3"].kinds.keys() == {"null"}, "that kind has few names"


def test_a_collapsed_kind_counts_all_its_names_together() -> None:
    root = tree(exploding(150))
    canonical(root)
    values = root.names["properties"].names["scores"].values
    assert values is not None
    assert values.kinds["object"].count == 150
    assert values.names["wins"].kinds["integer"].count == 150


def wide(objects: int, fields: int) -> list[tuple[Any, int]]:
    return [({"groups": {f"g{n}": {f"f{n}_{m}": m for m in range(fields)}}}, n % 60) for n in range(objects)]


@pytest.mark.parametrize("seed", range(3))
def test_the_path_limit_does_not_mind_order_or_when_it_is_noticed(seed: int) -> None:
    observed = [({"list": [value]}, second) for value, second in wide(99, 120)]
    observed += wide(99, 95)
    expected = guarded([observed], each=False)
    random.Random(seed).shuffle(observed)
    parts = [observed[place : place + 23] for place in range(0, len(observed), 23)]
    assert guarded(parts, each=True) == expected
    assert MOST_PATHS / 2 < len(expected) <= MOST_PATHS + 1, "the root itself is no path"
    assert any(guard.startswith(LIMIT) for guard in expected[""].guards)


def test_long_names_count_for_several_paths() -> None:
    observed = [({f"{'n' * 250}{n}": str(n)}, 0) for n in range(900)]
    deep = [({"deep": {f"{'n' * 250}{m}{n}": [n] for n in range(90)}}, 0) for m in range(1)]
    more = [({f"o{m}": {f"{'n' * 250}{m}{n}": [n] for n in range(90)}}, 0) for m in range(90)]
    found = guarded([observed, deep, more], each=True)
    assert sum(len(path) for path in found) < MOST_PATHS * 1_000


def test_places_are_shown_parents_first() -> None:
    found = [path for path, _ in places(tree([({"a": [{"b": 1}], "c.d": {"": 2}}, 0)]))]
    assert found == ["properties", "properties.a", "properties.a[]", "properties.a[].b", *found[4:]]
    assert found[4:] == ["properties.c\\.d", "properties.c\\.d."]


def test_a_section_is_never_collapsed_into_another() -> None:
    root = Node(names={name: Node() for name in ("properties", "traits", "context")})
    canonical(root)
    assert root.values is None and schema_tree.MOST_SIBLINGS < schema_tree.MOST_SIBLINGS_OF_A_SECTION
