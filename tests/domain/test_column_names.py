"""Names of columns and tables: short, plain, and never one for two."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.domain.column_names import (
    LONGEST_BASE,
    LONGEST_NAME,
    allocated,
    base_name,
    has_columns,
    table_name,
    variant_name,
)
from penstock.domain.schema_lattice import FAMILIES
from penstock.domain.schema_paths import ELEMENTS, VALUES, joined, named

PLAIN = re.compile(r"[a-z](_?[a-z0-9])*")
NAMES = st.text(max_size=80) | st.text("aB_ .-2", max_size=60) | st.sampled_from(["fooBar", "foo_bar", "商品", "*"])
STEPS = NAMES.map(named) | st.sampled_from([ELEMENTS, VALUES])
PATHS = st.builds(
    lambda section, rest: joined([section, *rest]),
    st.sampled_from(["properties", "traits", "context"]),
    st.lists(STEPS, max_size=5),
)


@given(PATHS)
@example("properties")
@example("properties.*")
@example("properties.")
@example("context.2024")
@example("traits.\ud800")
def test_a_name_is_plain_and_leaves_room_for_what_may_follow(path: str) -> None:
    name = base_name(path)
    assert PLAIN.fullmatch(name)
    assert len(name) <= LONGEST_BASE
    assert all(len(f"{variant_name(name, family)}_10000") <= LONGEST_NAME for family in FAMILIES)
    assert base_name(path) == name


@given(NAMES)
def test_a_table_s_name_is_plain(event: str) -> None:
    name = table_name("track", event)
    assert PLAIN.fullmatch(name)
    assert len(name) <= LONGEST_BASE


@given(st.lists(PATHS, unique=True), st.data())
def test_no_two_owners_have_one_name_and_none_ever_changes(paths: list[str], data: st.DataObject) -> None:
    taken: dict[str, str] = {}
    given_: dict[str, str] = {}
    for path in paths + data.draw(st.permutations(paths)):
        name = allocated(base_name(path), path, taken)
        assert given_.setdefault(path, name) == name
        assert taken.setdefault(name, path) == path


@given(PATHS, st.sampled_from(sorted(FAMILIES)), PATHS)
def test_no_variant_is_taken_for_a_property(path: str, family: str, other: str) -> None:
    assert variant_name(base_name(path), family) != base_name(other)


def test_names_that_differ_in_their_spelling_alone_are_numbered() -> None:
    taken: dict[str, str] = {}
    for name in ("fooBar", "foo_bar", "foo bar", "FOO_BAR", "__foo__bar__"):
        path = joined(["properties", named(name)])
        taken[allocated(base_name(path), path, taken)] = path
    assert list(taken) == ["foo_bar", "foo_bar_2", "foo_bar_3", "foo_bar_4", "foo_bar_5"]


def test_an_owner_keeps_its_name_even_if_it_would_want_another_today() -> None:
    assert allocated("total", "properties.total", {"sum": "properties.total"}) == "sum"


def test_a_name_of_the_property_itself_is_not_taken_for_a_numbered_one() -> None:
    taken = {"a": "properties.a", "a_2": "properties.a_2"}
    assert allocated("a", "properties.A", taken) == "a_3"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("properties.fooBar", "foo_bar"),
        ("properties.total", "total"),
        ("properties.column", "column"),
        ("properties.orderID", "order_id"),
        ("properties.HTTPStatus", "http_status"),
        ("properties.address.zipCode", "address_zip_code"),
        (r"properties.a\.b", "a_b"),
        ("properties.Größe", "gro_e_5cae081f"),
        ("properties.café", "cafe"),
        ("properties.2fa", "column_2fa"),
        ("properties._id", "id"),
        ("properties.select", "select"),
        ("properties.products", "products"),
        ("properties.scores.*", "scores"),
        ("properties.*", "properties"),
        ("traits.email", "email"),
        ("traits.properties", "properties"),
        ("context.page.url", "context_page_url"),
        ("context", "context"),
    ],
)
def test_columns_are_named_as_segment_s_warehouses_name_them(path: str, name: str) -> None:
    assert base_name(path) == name


def test_names_of_other_scripts_are_told_apart() -> None:
    names = [base_name(f"properties.{name}") for name in ("商品", "価格", "商品 id", "", "!", "🎉")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"(column|id)_[0-9a-f]{8}", name) for name in names)


def test_long_names_that_begin_alike_are_told_apart() -> None:
    one, other = (base_name(f"properties.{'x' * 100}{end}") for end in "ab")
    assert one != other
    assert len(one) == LONGEST_BASE


@pytest.mark.parametrize(
    ("call", "event", "name"),
    [
        ("track", "Order Completed", "order_completed"),
        ("identify", None, "identifies"),
        ("page", None, "pages"),
        ("screen", None, "screens"),
        ("group", None, "groups"),
        ("alias", None, "aliases"),
    ],
)
def test_each_call_has_its_table_and_each_event_of_a_track_call(call: str, event: str | None, name: str) -> None:
    assert table_name(call, event) == name


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("properties.a", True),
        ("properties.products", True),
        ("properties.products[]", False),
        ("properties.products[].price", False),
        ("properties.scores.*", True),
        ("properties.scores.*.of", False),
        ("properties.scores.*[]", False),
        (r"properties.\[]", True),
        (r"properties.\*.a", True),
    ],
)
def test_arrays_and_maps_are_one_column(path: str, has: bool) -> None:
    assert has_columns(path) is has
