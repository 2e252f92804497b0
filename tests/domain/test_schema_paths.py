"""Every place has one spelling, and every spelling one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.schema_paths import ELEMENTS, VALUES, below, joined, name_of, named, steps

names = st.text(alphabet=st.sampled_from("ab.[]*\\é\n"), max_size=6) | st.text(max_size=4)
places = st.lists(names.map(named) | st.sampled_from([ELEMENTS, VALUES]), max_size=5).map(
    lambda found: ["properties", *found]
)


@given(places)
def test_a_path_is_read_as_it_was_written(place: list[str]) -> None:
    assert steps(joined(place)) == place


@given(places, places)
def test_two_places_never_share_a_path(one: list[str], other: list[str]) -> None:
    assert (joined(one) == joined(other)) == (one == other)


@given(names)
def test_a_name_is_read_as_it_was_written(name: str) -> None:
    assert name_of(named(name)) == name
    assert named(name) not in (ELEMENTS, VALUES)


@pytest.mark.parametrize(
    ("name", "path"),
    [("total", "p.total"), ("a.b", "p.a\\.b"), ("*", "p.\\*"), ("tags[]", "p.tags\\[]"), ("", "p."), ("\\", "p.\\\\")],
)
def test_names_are_written_as_documented(name: str, path: str) -> None:
    assert below("p", named(name)) == path
