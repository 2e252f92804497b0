"""What a skipping decoder would choke on is found exactly, and by a first look that never misses it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain import scan

PIECES = st.sampled_from(
    ['"', "\\", "{", "}", "[", "]", "\\ud83d", "\\ude00", "\\uD800", "\\u00e9", "u", "d800", ":", "1"]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def nested(levels: int, opening: str = "[", inner: str = "1") -> str:
    closing = "]" if opening == "[" else "}"
    return opening * levels + inner + closing * levels


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def as_objects(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize("made", [nested, as_objects])
def test_640_levels_are_not_too_deep_and_641_are(made: Any) -> None:
    assert not scan.is_deep(made(640))
    assert scan.is_deep(made(641)) and scan.is_perhaps_deep(made(641).encode())


@given(VALUES, st.integers(630, 650))
def test_depth_is_what_a_decoder_would_count(value: Any, around: int) -> None:
    text = nested(around, inner=json.dumps(value))
    assert scan.is_deep(text) == (around + depth_of(value) > scan.DEEPEST)


@given(st.text('[]{}"\\', max_size=600))
def test_brackets_in_strings_are_no_depth(text: str) -> None:
    assert not scan.is_deep(json.dumps({"a": text}))


@given(st.integers(641, 1500), st.text("[{", max_size=20))
def test_the_first_look_never_misses_depth(levels: int, more: str) -> None:
    assert scan.is_perhaps_deep(nested(levels, inner=json.dumps(more)).encode())


@given(st.integers(0, 400), st.integers(0, 120), st.booleans())
def test_no_integer_of_more_than_308_digits_is_missed_wherever_it_stands(
    digits: int, before: int, negative: bool
) -> None:
    text = json.dumps({"a" * before: 0})[:-2] + ("-" if negative else "") + "7" * max(digits, 1) + "}"
    endless = digits > 308
    assert scan.has_endless_integer(text) == endless
    assert scan.is_perhaps_endless(text.encode()) or not endless


@pytest.mark.parametrize("text", ['"%s"' % ("9" * 400), "1." + "3" * 400, "1e999", "-1E-99999", "9" * 400 + ".5"])
def test_digits_in_strings_and_fractions_are_no_endless_integer(text: str) -> None:
    assert not scan.has_endless_integer(f'{{"a":{text}}}')


@pytest.mark.parametrize(
    ("escaped", "left"),
    [
        (r"\ud800", scan.LONE_SURROGATE),
        (r"\uDFFF", scan.LONE_SURROGATE),
        (r"\ud83d\ude00", r"\ud83d\ude00"),
        (r"\ude00\ud83d", scan.LONE_SURROGATE * 2),
        (r"\ud83d\ud83d\ude00", scan.LONE_SURROGATE + r"\ud83d\ude00"),
        (r"\\ud800", r"\\ud800"),
        (r"\\\ud800", r"\\" + scan.LONE_SURROGATE),
        (r"\ud7ff\ue000", r"\ud7ff\ue000"),
    ],
)
def test_half_a_pair_is_marked_and_a_whole_one_kept(escaped: str, left: str) -> None:
    assert scan.without_lone_surrogates(escaped) == left


@given(st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=12).map("".join), st.booleans())
def test_what_is_left_of_a_string_can_be_encoded_and_a_whole_string_stays(text: str, ascii_only: bool) -> None:
    found = scan.without_lone_surrogates(json.dumps(text))
    json.loads(found).encode()
    whole = json.loads(json.dumps(text))
    try:
        whole.encode()
    except UnicodeEncodeError:
        assert scan.LONE_SURROGATE in found and scan.has_surrogates(json.dumps(text).encode())
    else:
        assert found == json.dumps(text)


@given(TEXTS)
def test_text_that_is_no_json_is_taken_without_an_exception(text: str) -> None:
    scan.is_deep(text)
    scan.without_depths(scan.without_lone_surrogates(text), 2)


@given(VALUES, st.integers(0, 40))
def test_what_nests_too_deep_is_cut_out_and_its_neighbours_stay(value: Any, over: int) -> None:
    deep = nested(scan.DEEPEST + 1 + over)
    text = f'{{"batch":[{json.dumps(value)},{deep},{json.dumps(value)}]}}'
    found = json.loads(scan.without_depths(text, 2))["batch"]
    assert (found[0], found[2]) == (value, value)
    assert scan.TOO_DEEP in json.dumps(found[1])


@given(VALUES)
def test_what_is_not_too_deep_is_not_touched(value: Any) -> None:
    assert scan.without_depths(json.dumps(value), 0) == json.dumps(value)


def test_what_is_never_closed_is_left_for_the_decoder_to_refuse() -> None:
    assert scan.without_depths("[" * 2000, 0) == "[" * 2000
