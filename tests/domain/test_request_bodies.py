"""Bodies and cursors: what is wrong is named, and nothing that anybody sends is a surprise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from penstock.domain import bodies, paging
from penstock.domain.destinations import DestinationChange, NewDestination
from penstock.domain.sources import NewSource, SourceChange
from penstock.domain.tokens import NewToken
from penstock.errors import Invalid, TooLarge

HOOK = {"name": "Hook", "type": "webhook", "settings": {"url": "https://example.com"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def refusal(body: Any, wanted: Any = NewDestination) -> Invalid:
    with pytest.raises(Invalid) as refused:
        bodies.decode(body if isinstance(body, bytes) else json.dumps(body).encode(), wanted)
    return refused.value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": 1}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"type": "ftp"}, "type"),
        ({"colour": "red"}, "colour"),
        ({"settings": []}, "settings"),
        ({"settings": {}}, "settings.url"),
        ({"settings": {"url": "ftp://example.com"}}, "settings.url"),
        ({"settings": {"url": "https://example.com", "retries": 3}}, "settings.retries"),
        ({"settings": {"url": "https://example.com", "headers": {"X-A": 1}}}, "settings.headers"),
        ({"settings": {"url": "https://example.com", "secret": "x" * 257}}, "settings.secret"),
        ({"source_ids": ["src_aaaaaaaaaaaa", "no"]}, "source_ids.1"),
        ({"source_ids": ["src_aaaaaaaaaaaa"] * 51}, "source_ids"),
        ({"enabled": "yes"}, "enabled"),
    ],
)
def test_a_refusal_names_the_field_in_dotted_form(change: dict[str, Any], field: str) -> None:
    assert refusal(HOOK | change).field == field


def test_a_missing_field_is_named() -> None:
    assert (refusal({"type": "webhook"}).code, refusal({}, NewSource).field) == ("missing_field", "name")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"nan",
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\xed\xa0\x80"}',
        b'{"name": ' + b"[" * 100_000,
        b'{"name": "a", "enabled": ' + b"9" * 4_000 + b"}",
        b'{"name": "a"} {"name": "b"}',
        b'\xef\xbb\xbf{"name": "a"}',
        '{"name": "a"}'.encode("utf-16"),
    ],
)
def test_what_is_no_source_is_refused_without_a_surprise(body: bytes) -> None:
    assert refusal(body, NewSource).status == 400


def test_a_body_over_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        bodies.decode(b" " * (bodies.LONGEST + 1), NewSource)


@pytest.mark.parametrize("wanted", [SourceChange, DestinationChange])
def test_a_change_of_nothing_is_refused(wanted: Any) -> None:
    assert refusal({}, wanted).code == "nothing_to_change"


@given(JSON)
def test_any_json_is_decoded_or_refused(value: Any) -> None:
    for wanted in (NewSource, SourceChange, NewDestination, DestinationChange, NewToken):
        try:
            bodies.decode(json.dumps(value).encode(), wanted)
        except Invalid as error:
            assert error.message and error.code


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        bodies.decode(body + b"\x00", NewSource)


@given(st.from_regex(r"[a-z0-9_:.#-]{1,60}", fullmatch=True))
def test_a_cursor_leads_back_to_where_it_was_made(last: str) -> None:
    cursor = paging.cursor_after(last, "source", "ws_a")
    assert paging.window(None, cursor, "source", "ws_a").after == last


@pytest.mark.parametrize(("kind", "workspace"), [("source", "ws_b"), ("token", "ws_a")])
def test_a_cursor_of_another_workspace_or_list_is_refused(kind: str, workspace: str) -> None:
    cursor = paging.cursor_after("src_x", "source", "ws_a")
    with pytest.raises(Invalid) as refused:
        paging.window(None, cursor, kind, workspace)
    assert refused.value.field == "next"


@given(st.text(max_size=80))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with pytest.raises(Invalid):
        paging.window(None, text, "source", "ws_aaaaaaaaaaaa")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "ten", "", " 5", "+5", "\u0665", "1e1", "05", "9" * 500])
def test_a_limit_outside_its_bounds_is_refused(limit: str) -> None:
    with pytest.raises(Invalid) as refused:
        paging.window(limit, None, "source", "ws_a")
    assert refused.value.field == "limit"


@pytest.mark.parametrize("limit", [1, 20, 100])
def test_a_limit_within_its_bounds_is_taken(limit: int) -> None:
    assert paging.window(str(limit), None, "source", "ws_a").limit == limit


class Counted(Struct):
    """A whole number, and one that may be left out."""

    count: int
    most: int | None = None


def test_a_whole_number_may_be_written_as_json_allows() -> None:
    assert bodies.decode(b'{"count": 60.0, "most": 1e3}', Counted) == Counted(60, 1_000)


@pytest.mark.parametrize("value", [b"60.5", b"1e400", b'"60"', b"true"])
def test_what_is_no_whole_number_is_refused_by_its_field(value: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        bodies.decode(b'{"count": ' + value + b"}", Counted)
    assert caught.value.field in ("count", None)
