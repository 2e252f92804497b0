"""Where a run goes: the same place for its key for ever, and only ever within its source's slices."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.job import group_of
from penstock.domain.partition import SLICE_SIZE, SLICES, SLICES_PER_SOURCE, hash_key, slices_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT)
def test_a_source_has_four_slices_all_different(source: str) -> None:
    found = slices_of(source)
    assert len(set(found)) == len(found) == SLICES_PER_SOURCE
    assert all(0 <= each < SLICES for each in found)


@given(TEXT, TEXT)
def test_every_key_falls_into_a_slice_of_its_source(source: str, key: str) -> None:
    place = hash_key(source, group_of(source, key))
    assert 0 <= place < 2**128
    assert place // SLICE_SIZE in slices_of(source)


def test_the_place_of_a_key_never_changes() -> None:
    assert slices_of("src_p0o9i8u7y6t5") == (35, 11, 1, 44)
    assert (
        hash_key("src_p0o9i8u7y6t5", group_of("src_p0o9i8u7y6t5", "anonymous-1"))
        == 186664623566203213902104892312364454232
    )


def test_a_flood_of_one_source_spreads_evenly_over_its_slices() -> None:
    met = Counter(hash_key("src_a", group_of("src_a", str(number))) // SLICE_SIZE for number in range(4_000))
    assert set(met) == set(slices_of("src_a"))
    assert min(met.values()) > 850


def test_within_a_slice_keys_spread_so_that_more_shards_take_more() -> None:
    places = [hash_key("src_a", group_of("src_a", str(number))) % SLICE_SIZE for number in range(4_000)]
    quarters = Counter(place * 4 // SLICE_SIZE for place in places)
    assert set(quarters) == {0, 1, 2, 3} and min(quarters.values()) > 850


def test_sources_are_spread_over_all_slices() -> None:
    met = Counter(each for number in range(1_000) for each in slices_of(f"src_{number}"))
    assert set(met) == set(range(SLICES))
    assert max(met.values()) < 110
