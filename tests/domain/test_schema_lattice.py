"""What kinds amount to. There are 256 sets of kinds, so the laws are held against all of them."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import chain, combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.schema_lattice import (
    FAMILIES,
    POLICIES,
    change,
    families,
    family_of,
    is_conflict,
    kind_of,
    resolved,
)
from penstock.domain.schema_tree import ARRAY, BOOLEAN, INTEGER, KINDS, NULL, NUMBER, OBJECT, STRING, TIMESTAMP

SETS = [frozenset(each) for each in chain.from_iterable(combinations(KINDS, size) for size in range(len(KINDS) + 1))]
TYPED = [kind for kind in KINDS if kind != NULL]
# By hand and not by family: which kinds a column of a type holds without loss, besides nulls.
HOLDS = {
    NULL: set(),
    BOOLEAN: {BOOLEAN},
    INTEGER: {INTEGER},
    NUMBER: {INTEGER, NUMBER},
    TIMESTAMP: {TIMESTAMP},
    STRING: set(TYPED),
    OBJECT: {OBJECT},
    ARRAY: {ARRAY},
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(JSON_VALUES)
def test_every_json_value_has_one_kind_and_reading_it_again_does_not_change_it(value: object) -> None:
    assert kind_of(value) in KINDS
    assert kind_of(json.loads(json.dumps(value))) == kind_of(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, NULL),
        (True, BOOLEAN),
        (1, INTEGER),
        (2**70, INTEGER),
        (1.0, NUMBER),
        (Decimal("1e400"), NUMBER),
        ("2024-01-01T00:00:00Z", TIMESTAMP),
        ("2024-01-01", STRING),
        ("1", STRING),
        ({}, OBJECT),
        ([], ARRAY),
    ],
)
def test_kinds_are_json_s_own_but_for_integers_and_times(value: object, kind: str) -> None:
    assert kind_of(value) == kind


def test_what_json_cannot_say_has_no_kind() -> None:
    with pytest.raises(TypeError):
        kind_of({1})


def test_null_is_in_every_family() -> None:
    for kinds in SETS:
        assert families(kinds) == families(kinds | {NULL})
        assert is_conflict(kinds) == is_conflict(kinds | {NULL})
    assert family_of(NULL) == NULL
    assert not any(NULL in kinds for kinds in FAMILIES.values())


def test_merging_adds_families_and_solves_no_conflict() -> None:
    for one in SETS:
        for other in SETS:
            assert families(one | other) == families(one) | families(other)
            assert is_conflict(one | other) >= (is_conflict(one) or is_conflict(other))


def test_widen_takes_the_least_type_that_holds_all_kinds() -> None:
    for kinds in SETS:
        found = resolved(kinds, "widen", first=NULL)
        enough = [type_ for type_, held in HOLDS.items() if kinds - {NULL} <= held]
        assert found in enough
        assert all(HOLDS[found] <= HOLDS[type_] for type_ in enough)


def test_a_variant_holds_all_kinds_of_its_family_and_is_one_of_them() -> None:
    for kinds in SETS:
        for family in families(kinds):
            found = resolved(kinds, "variant", NULL, family)
            assert found in kinds
            assert kinds & set(FAMILIES[family]) <= HOLDS[found]


def test_a_variant_without_a_family_is_that_of_the_first_kind() -> None:
    assert resolved({INTEGER, NUMBER, STRING}, "variant", first=INTEGER) == NUMBER


def test_strict_lets_the_first_kind_stand() -> None:
    assert {resolved(kinds, "strict", first) for kinds in SETS for first in kinds if first == INTEGER} == {INTEGER}


def test_more_kinds_never_make_a_type_hold_less() -> None:
    for kinds in SETS:
        for kind in KINDS:
            assert HOLDS[resolved(kinds, "widen", NULL)] <= HOLDS[resolved(kinds | {kind}, "widen", NULL)]
            for family in FAMILIES:
                before, after = (resolved(each, "variant", NULL, family) for each in (kinds, kinds | {kind}))
                assert HOLDS[before] <= HOLDS[after]


def test_nulls_alone_have_no_type_under_any_policy() -> None:
    for policy in POLICIES:
        assert resolved({NULL}, policy, first=NULL) == NULL
        assert resolved((), policy, first=NULL) == NULL


def test_null_decides_no_type() -> None:
    for kinds in SETS:
        for first in kinds - {NULL}:
            for policy in POLICIES:
                assert resolved(kinds, policy, first) == resolved(kinds | {NULL}, policy, first)


@pytest.mark.parametrize("kinds", [each for each in SETS if 0 < len(each) <= 4])
def test_whatever_the_order_there_is_one_addition_and_one_conflict_for_each_further_family(
    kinds: frozenset[str],
) -> None:
    for order in permutations(kinds):
        changes = [change(order[:at], kind) for at, kind in enumerate(order)]
        assert changes.count("added") == 1
        assert changes.count("conflict") == max(0, len(families(kinds)) - 1)


def test_an_integer_that_meets_a_float_is_widened_and_one_that_meets_a_text_is_in_conflict() -> None:
    assert change((), INTEGER) == "added"
    assert change({INTEGER}, NUMBER) == "widened"
    assert change({NUMBER}, INTEGER) == "widened"
    assert change({INTEGER}, NULL) == "widened"
    assert change({NULL}, INTEGER) == "widened"
    assert change({INTEGER, NULL}, STRING) == "conflict"
