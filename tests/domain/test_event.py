"""An event enters the stream as it was sent, or is refused with a reason; nothing else happens to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.domain import event as events
from penstock.domain import scan
from penstock.domain.event import LARGEST_EVENT, Accepted, Rejected, admit
from tests.builders_collect import IP, NOW, NOW_TEXT, UNFIT, admitted, arrival, packed, refused, track

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
IDS = TEXT.filter(bool)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(events.iso)
NEEDS = {"track": {"event": IDS}, "group": {"groupId": IDS}, "alias": {"previousId": IDS}}


@st.composite
def good_events(draw: st.DrawFn, complete: bool = False) -> dict[str, Any]:
    """Any event that has what its type needs, and all else that a library may put into one."""
    kind = draw(st.sampled_from(sorted(events.TYPES)))
    own = {"type": kind, **{name: draw(values) for name, values in NEEDS.get(kind, {}).items()}}
    own |= draw(st.fixed_dictionaries({"anonymousId": IDS}) | st.fixed_dictionaries({"userId": IDS}))
    stamps = {"messageId": IDS, "timestamp": TIMES}
    own |= draw(st.fixed_dictionaries(stamps) if complete else st.fixed_dictionaries({}, optional=stamps))
    offered = {"properties": OBJECTS, "traits": OBJECTS, "integrations": OBJECTS, "context": st.none(), "sentAt": TIMES}
    own |= draw(st.fixed_dictionaries({}, optional={**offered, "originalTimestamp": TIMES}))
    more = {name: value for name, value in draw(OBJECTS).items() if name not in own and name not in KNOWN}
    return dict(draw(st.permutations(list((own | more).items()))))


KNOWN = set(events.Headers.__struct_encode_fields__)


@given(good_events(complete=True), st.sampled_from([None, (",", ":"), (" , ", " : ")]), st.booleans())
def test_what_a_library_sends_whole_goes_out_byte_for_byte(event: dict[str, Any], separators: Any, ascii: bool) -> None:
    text = json.dumps(event, separators=separators, ensure_ascii=ascii).encode()
    assert admitted(text) == text


@given(good_events())
def test_every_field_keeps_its_value_and_only_what_is_missing_is_added(event: dict[str, Any]) -> None:
    found = json.loads(admitted(event))
    assert found | event == found
    assert found.keys() - event.keys() <= {"messageId", "timestamp"}
    assert {"type", "messageId", "timestamp"} <= found.keys()


@given(good_events(), st.sampled_from(sorted(events.TYPES)), st.integers(0, 10**30))
def test_an_event_that_is_mended_keeps_all_its_other_values(event: dict[str, Any], kind: str, number: int) -> None:
    event |= {
        "type": kind,
        "event": "E",
        "groupId": number,
        "previousId": "p",
        "writeKey": "k",
        "context": {"ip": True},
    }
    found = json.loads(admitted(event))
    assert (found["groupId"], found["context"], "writeKey" in found) == (str(number), {}, False)
    for name in event.keys() - {"groupId", "context", "writeKey"}:
        assert found[name] == event[name]


@given(VALUES | good_events(), st.dictionaries(st.sampled_from(sorted(KNOWN)), VALUES), st.booleans(), st.booleans())
def test_any_json_is_admitted_or_refused_and_nothing_else(value: Any, over: Any, typed: bool, suspect: bool) -> None:
    text = packed({**value, **over} if isinstance(value, dict) else value)
    found = admit(Raw(text), 3, arrival(type="track" if typed else None, suspect=suspect))
    if isinstance(found, Accepted):
        assert found.key and json.loads(bytes(found.event))["type"] in events.TYPES
    else:
        assert (found.index, found.code in events.CODES, bool(found.message)) == (3, True, True)


@given(st.sampled_from(["timestamp", "sentAt", "originalTimestamp"]), TIMES | TEXT | st.text("0123456789-:+TZW. "))
@example("timestamp", "0001-01-01T00:00:00+14:00")
@example("originalTimestamp", "0001-01-01T00:00:00+14:00")
@example("sentAt", "9999-12-31T23:59:59-12:00")
@example("originalTimestamp", "2026-W01-1")
def test_any_text_as_a_time_is_kept_or_refused(name: str, text: str) -> None:
    found = admit(Raw(packed(track(**{"timestamp": ..., name: text}))), 0, arrival(sent_at=NOW))
    if isinstance(found, Rejected):
        assert found.code == "invalid_timestamp" and f"`{name}`" in found.message
    elif text:
        assert json.loads(bytes(found.event))[name] == text


@pytest.mark.parametrize("code", sorted(events.CODES))
def test_every_code_names_something_that_happens(code: str) -> None:
    text = UNFIT[code].replace(rb"\ud800", scan.LONE_SURROGATE.encode())  # as a batch marks it
    found = refused(text, suspect=True)
    assert (found.code, found.index) == (code, 7)


def test_a_refusal_names_the_message_where_it_has_a_name() -> None:
    assert [refused(UNFIT[code]).message_id for code in ("missing_event", "invalid_number")] == ["m-1", "m-1"]
    assert refused(track(event="", messageId=["m"])).message_id is None
    assert [refused(UNFIT[code]).message_id for code in ("not_an_object", "nested_too_deep")] == [None, None]


def sized(length: int) -> bytes:
    text = packed(track(properties={"a": "<>"}))
    return text.replace(b"<>", b"x" * (length - len(text) + 2))


def test_32_768_bytes_are_taken_and_one_more_is_not() -> None:
    assert len(admitted(sized(LARGEST_EVENT))) == 32_768
    assert refused(sized(LARGEST_EVENT + 1)).code == "event_too_large"


def test_what_the_batch_shares_counts_unless_the_event_has_its_own() -> None:
    shared = Raw(packed({"page": "y" * 1000}))
    assert refused(sized(LARGEST_EVENT - 900), context=shared).code == "event_too_large"
    own = sized(LARGEST_EVENT - 900)[:-1] + b',"context":{"page":1}}'
    assert admitted(own, context=shared) == own


def test_a_message_id_has_at_most_99_characters() -> None:
    assert json.loads(admitted(track(messageId="é" * 99)))["messageId"] == "é" * 99
    assert refused(track(messageId="é" * 100)).code == "message_id_too_long"


@pytest.mark.parametrize(("levels", "fits"), [(639, True), (640, False)])
def test_an_event_nests_640_levels_its_own_counted(levels: int, fits: bool) -> None:
    found = admit(Raw(packed(track())[:-1] + b',"a":' + b"[" * levels + b"]" * levels + b"}"), 0, arrival())
    assert isinstance(found, Accepted) == fits


@pytest.mark.parametrize(("digits", "fits"), [(308, True), (309, False)])
def test_an_integer_has_at_most_308_digits(digits: int, fits: bool) -> None:
    found = admit(Raw(packed(track())[:-1] + b',"a":-' + b"9" * digits + b"}"), 0, arrival())
    assert isinstance(found, Accepted) == fits


@pytest.mark.parametrize("number", [b"1e999", b"-0.0", b"1E+2", b"0.1000000000000000055511151231257827", b"1.0"])
def test_numbers_are_carried_as_they_were_written(number: bytes) -> None:
    event = packed(track())[:-1] + b',"n":' + number + b',"writeKey":"k"}'
    assert b'"n":' + number in admitted(event)


def test_the_anonymous_id_is_the_ordering_key_before_the_user_id() -> None:
    for ids, key in (({}, "u-1"), ({"anonymousId": "a"}, "a"), ({"anonymousId": "", "userId": 7}, "7")):
        found = admit(Raw(packed(track(**ids))), 0, arrival())
        assert isinstance(found, Accepted) and found.key == key


@pytest.mark.parametrize("name", ["userId", "anonymousId", "groupId", "previousId", "messageId"])
def test_an_integer_as_an_id_stands_for_its_digits(name: str) -> None:
    assert json.loads(admitted(track(**{name: -12})))[name] == "-12"
    for value in (1.5, True, [], {}):
        assert refused(track(**{name: value})).message == f"`{name}` must be a string"


@pytest.mark.parametrize("given_id", [None, ""])
def test_a_message_id_that_is_none_is_made(given_id: str | None) -> None:
    text = admitted(track(messageId=given_id))
    assert json.loads(text)["messageId"] == "made-1" and text.count(b"messageId") == 1


def test_the_route_says_the_type_whatever_the_body_says() -> None:
    assert json.loads(admitted(track(type="page"), type="track"))["type"] == "track"
    assert json.loads(admitted(track(type=...), type="screen"))["type"] == "screen"


@pytest.mark.parametrize("ip", [True, None])
def test_an_address_that_is_asked_for_is_left_to_the_connection(ip: Any) -> None:
    assert json.loads(admitted(track(context={"ip": ip, "a": 1})))["context"] == {"a": 1}


def test_an_address_that_the_client_gives_stays() -> None:
    event = packed(track(context={"ip": IP}))
    assert admitted(event) == event
    for ip in (5, False, {}):
        assert refused(track(context={"ip": ip})).message == "`context.ip` must be a string"


def test_a_write_key_stays_here_wherever_it_stands() -> None:
    assert admitted({"writeKey": "k", **track()}) == admitted(track())


@given(st.timedeltas(timedelta(-400), timedelta(400)), st.timedeltas(timedelta(0), timedelta(30)), st.booleans())
def test_a_clock_that_is_wrong_is_wrong_for_both_times(wrong: timedelta, before: timedelta, in_event: bool) -> None:
    sent_at = NOW + wrong
    times = {"originalTimestamp": (sent_at - before).isoformat(), "timestamp": ...}
    if in_event:
        text = admitted(track(sentAt=sent_at.isoformat(), **times), sent_at=NOW - timedelta(999))
    else:
        text = admitted(track(**times), sent_at=sent_at)
    assert json.loads(text)["timestamp"] == events.iso(NOW - before)


def test_without_both_of_the_clients_times_it_is_the_time_of_arrival() -> None:
    assert json.loads(admitted(track(timestamp=...)))["timestamp"] == NOW_TEXT
    assert json.loads(admitted(track(timestamp=..., originalTimestamp="2020-01-01")))["timestamp"] == NOW_TEXT
    assert json.loads(admitted(track(timestamp=..., sentAt="2020-01-01T00:00:00Z")))["timestamp"] == NOW_TEXT


def test_a_correction_past_the_end_of_time_is_none() -> None:
    times = {"timestamp": ..., "originalTimestamp": "9999-12-31T23:59:59Z", "sentAt": "0001-01-01T00:00:00Z"}
    assert json.loads(admitted(track(**times)))["timestamp"] == NOW_TEXT


@pytest.mark.parametrize("time", ["2026-11-23", "2026-11-23T16:00:00+0100", "20261123T160000Z", "2026-11-23 16:00"])
def test_iso_8601_in_any_form_is_a_time(time: str) -> None:
    assert json.loads(admitted(track(timestamp=time)))["timestamp"] == time


@pytest.mark.parametrize("time", [None, ""])
def test_a_time_that_is_none_is_left_out(time: Any) -> None:
    found = json.loads(admitted(track(timestamp=time, originalTimestamp=time, sentAt=time)))
    assert (found["timestamp"], "sentAt" in found, "originalTimestamp" in found) == (NOW_TEXT, False, False)


@pytest.mark.parametrize("time", [1_700_000_000, True, {}, "2026-13-01", "2026-11-23T25:00:00Z", "now"])
def test_what_is_no_time_is_refused(time: Any) -> None:
    assert refused(track(timestamp=time)).code == "invalid_timestamp"


def test_of_a_name_given_twice_the_last_counts_as_it_does_in_every_decoder() -> None:
    text = packed(track())[:-1] + b',"userId":"u-2"}'
    found = admit(Raw(text), 0, arrival())
    assert isinstance(found, Accepted) and found.key == "u-2" and bytes(found.event) == text


def test_a_name_may_be_written_with_escapes() -> None:
    text = packed(track()).replace(b'"type"', rb'"t\u0079pe"').replace(b'"userId"', rb'"\u0075serId"')
    assert admitted(text) == text


def test_whoever_decodes_it_with_msgspec_sees_the_same() -> None:
    event = track(properties={"a": [1, {"b": None}], "é": "😀"})
    assert msgspec.json.decode(admitted(event)) == event
