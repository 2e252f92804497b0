"""The swift way and the careful way come to the same, and the swift one is taken where nothing is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain import plain, scan
from penstock.domain.batch import Sorted, sort
from penstock.domain.envelope import opened
from penstock.domain.event import LARGEST_EVENT
from tests.builders_collect import UNFIT, batch_of, origin, packed, track

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NULLS = st.none() | st.just("")
VALUES = NULLS | TEXT | st.integers() | st.booleans() | st.just({}) | st.just({"ip": None}) | st.just([])
HEADERS = ["type", "event", "userId", "anonymousId", "groupId", "previousId", "messageId", "timestamp", "sentAt"]
REST = ["originalTimestamp", "context", "integrations", "properties", "traits", "writeKey", "other"]
NAMES = st.sampled_from(HEADERS + REST)
KINDS = st.sampled_from(["track", "identify", "page", "screen", "group", "alias", "Track"])
EVENTS = st.builds(
    lambda kind, over, key: track(**({"type": kind, "userId": key} | over)),
    KINDS,
    st.dictionaries(NAMES, VALUES, max_size=2),
    st.sampled_from("ab"),
)


def swift(body: bytes, type_: str | None = None) -> plain.Gathered | None:
    request = opened(body, type_)
    if request.suspect:
        return None
    return plain.gather(request.body, request.envelope.batch, type_, LARGEST_EVENT)


def carefully(body: bytes, type_: str | None) -> Sorted:
    """As if something in the body had to be cut out."""
    request = opened(body, type_)
    request.suspect = True
    return sort(request, origin())


@given(st.lists(EVENTS, max_size=3), st.booleans())
def test_what_is_taken_swiftly_would_have_been_taken_with_care(events: list[dict[str, Any]], single: bool) -> None:
    kind = "track" if single else None
    body = packed(events[0] if events else track()) if single else batch_of(*events)
    gathered = swift(body, kind)
    if gathered is None:
        return
    found = carefully(body, kind)
    assert found.rejected == []
    assert {each.key: [bytes(event) for event in each.events] for each in found.runs} == {
        key: [bytes(event) for event in mine] for key, mine in gathered.items()
    }


@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "group", "alias"])
def test_what_a_library_sends_whole_is_taken_swiftly(kind: str) -> None:
    event = packed(track(type=kind, groupId="g", previousId="p", context={"ip": "192.0.2.1", "a": [{}]}, other=1))
    for gathered in (swift(batch_of(event, event)), swift(event, kind)):
        assert gathered is not None
        assert {bytes(each) for each in gathered["u-1"]} == {event}


@pytest.mark.parametrize("code", sorted(UNFIT))
def test_a_single_unfit_event_makes_the_whole_batch_be_looked_at_with_care(code: str) -> None:
    assert swift(batch_of(track(), UNFIT[code], track())) is None


def test_an_event_that_has_to_be_mended_is_not_taken_as_it_is() -> None:
    for over in ({"writeKey": "k"}, {"messageId": ...}, {"timestamp": ...}, {"userId": 5}, {"context": {"ip": True}}):
        assert swift(batch_of(track(**over))) is None
    assert swift(packed(track(type="page")), "track") is None


def test_brackets_are_looked_at_in_every_event_that_is_long_enough_to_be_deep() -> None:
    inner = "[" * (scan.DEEPEST - 1) + "]" * (scan.DEEPEST - 1)
    for levels, taken in ((inner, True), (f"[{inner}]", False)):
        event = packed(track(properties=...))[:-1] + b',"a":' + levels.encode() + b"}"
        assert (swift(batch_of(track(), event)) is not None) == taken


def test_both_ways_give_the_same_answer_to_what_is_sent_in_earnest() -> None:
    body = batch_of(*(track(userId=f"u-{n % 7}", messageId=f"m-{n}", n=n) for n in range(50)), context={"a": 1})
    swiftly, slowly = sort(opened(body, None), origin()), carefully(body, None)
    assert json.loads(json.dumps([each.key for each in swiftly.runs])) == [each.key for each in slowly.runs]
    assert [[bytes(event) for event in each.events] for each in swiftly.runs] == [
        [bytes(event) for event in each.events] for each in slowly.runs
    ]
