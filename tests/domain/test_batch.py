"""A batch gives the stream exactly its good events, and says of every other one why not."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.domain import envelope, run
from penstock.domain import event as events
from penstock.domain.batch import Sorted, answer, sort
from penstock.domain.envelope import LARGEST_BODY, MOST_EVENTS, inflated, opened
from penstock.domain.stream_record import record_of
from penstock.errors import Invalid, Refused, TooLarge
from tests.builders_collect import IP, NOW_TEXT, UNFIT, batch_of, origin, packed, track

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
GOOD = st.builds(lambda key, value: track(userId=key, a=value), st.sampled_from("abcdé"), VALUES)
BAD = st.sampled_from(sorted(UNFIT))


def sorted_of(body: bytes, type_: str | None = None, **overrides: Any) -> Sorted:
    return sort(opened(inflated(body), type_), origin(**overrides))


def whole_events(found: Sorted) -> list[dict[str, Any]]:
    """The events as a consumer of the stream reads them."""
    runs = [run.decode_run(record_of(each).data) for each in found.runs]
    return [json.loads(msgspec.json.encode(run.whole_event(each, event))) for each in runs for event in each.events]


def refusal(body: bytes, type_: str | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        sorted_of(body, type_)
    return caught.value


@given(st.lists(st.tuples(GOOD, BAD) | GOOD.map(lambda good: (good, None)), max_size=12))
def test_bad_events_are_refused_alone_whatever_they_are(mixed: list[tuple[dict[str, Any], str | None]]) -> None:
    found = sorted_of(batch_of(*(UNFIT[code] if code else good for good, code in mixed)))
    assert [(each.index, each.code) for each in found.rejected] == [
        (index, code) for index, (_, code) in enumerate(mixed) if code
    ]
    good = [good for good, code in mixed if not code]
    assert found.accepted == len(good)
    kept = [json.loads(bytes(event)) for each in found.runs for event in each.events]
    assert kept == sorted(good, key=lambda event: [other["userId"] for other in good].index(event["userId"]))


@pytest.mark.parametrize("code", sorted(UNFIT))
def test_every_unfit_event_leaves_its_neighbours_byte_for_byte(code: str) -> None:
    neighbour = packed(track(properties={"n": 1.10, "é": "\\ud800"})).replace(b"1.1", b"1.10")
    found = sorted_of(batch_of(neighbour, UNFIT[code], neighbour))
    assert [bytes(event) for event in found.runs[0].events] == [neighbour, neighbour]
    assert [(each.index, each.code) for each in found.rejected] == [(1, code)]


def test_the_mark_for_half_a_character_is_not_shown_to_anyone() -> None:
    unfit = packed(track(messageId="<>", properties={"n": "<>"})).replace(b"<>", rb"\ud800")
    found = sorted_of(batch_of(unfit, track()))
    assert [(each.code, each.message_id) for each in found.rejected] == [("invalid_unicode", None)]
    assert "cut-out" not in json.dumps(whole_events(found)) + answer(found, batch=True)[1].decode()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_some_encoders_write_for_no_number_costs_only_the_event_that_holds_it(number: str) -> None:
    odd = packed(track(a="NaN -Infinity"))
    bad = packed(track())[:-1] + b',"a":[' + number.encode() + b"]}"
    found = sorted_of(batch_of(odd, bad, UNFIT["nested_too_deep"], odd))
    assert [bytes(event) for event in found.runs[0].events] == [odd, odd]
    assert [(each.index, each.code) for each in found.rejected] == [(1, "invalid_number"), (2, "nested_too_deep")]
    assert [each.code for each in sorted_of(bad, "track").rejected] == ["invalid_number"]
    shared = batch_of(track())[:-1] + b',"context":{"a":' + number.encode() + b"}}"
    assert (refusal(shared).code, refusal(shared).field) == ("invalid_batch", "context")


def test_there_is_an_unfit_event_for_every_code() -> None:
    assert UNFIT.keys() == events.CODES.keys()


@given(st.lists(GOOD, max_size=10))
def test_events_of_one_key_are_one_run_in_the_order_they_came(good: list[dict[str, Any]]) -> None:
    found = sorted_of(batch_of(*good))
    assert [each.key for each in found.runs] == list(dict.fromkeys(event["userId"] for event in good))
    for each in found.runs:
        mine = [event for event in good if event["userId"] == each.key]
        assert [json.loads(bytes(event)) for event in each.events] == mine


@given(st.binary(max_size=200), st.sampled_from([None, "track", "alias"]))
@example(b"\x1f\x8b", None)
@example(gzip.compress(b"{}")[:-1], "track")
@example(b'{"batch":[{' + b"[" * 100_000, None)
@example(b'{"batch":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None)
@example(b"[" * 3000 + b"]" * 3000, "track")
@example(b'{"batch":[],"sentAt":"\\ud800"}', None)
def test_any_bytes_are_taken_or_refused_and_nothing_else(body: bytes, type_: str | None) -> None:
    try:
        found = sorted_of(body, type_)
    except Refused as refused:
        assert refused.code in envelope.CODES and refused.message
    else:
        assert found.accepted + len(found.rejected) <= MOST_EVENTS


@given(st.data(), st.booleans())
def test_a_body_broken_anywhere_is_taken_or_refused_and_nothing_else(data: st.DataObject, squeezed: bool) -> None:
    whole = batch_of(*(UNFIT[code] for code in ("invalid_unicode", "invalid_type")), track(), context={"a": [{}]})
    whole = gzip.compress(whole) if squeezed else whole
    at = data.draw(st.integers(0, len(whole)))
    broken = (
        whole[:at] + data.draw(st.binary(max_size=3)) + whole[data.draw(st.integers(at, min(at + 4, len(whole)))) :]
    )
    try:
        sorted_of(broken)
    except Refused as refused:
        assert refused.code in envelope.CODES


@given(st.dictionaries(st.sampled_from(["batch", "context", "integrations", "sentAt", "writeKey", "x"]), VALUES))
def test_any_envelope_is_taken_or_refused_and_nothing_else(envelope: dict[str, Any]) -> None:
    try:
        request = opened(packed(envelope), None)
    except Invalid as invalid:
        assert invalid.code == "invalid_batch" and invalid.field in {*envelope, "batch"} - {"x"}
    else:
        assert request.write_key is None or isinstance(request.write_key, str)
        sort(request, origin())


EXAMPLES = {
    "empty_body": b"",
    "invalid_encoding": b"\xff",
    "invalid_json": b"{",
    "invalid_batch": b"{}",
    "too_many_events": batch_of(*[b"1"] * (MOST_EVENTS + 1)),
    "body_too_large": b" " * (LARGEST_BODY + 1),
    "batch_too_wide": batch_of(
        *(track(userId=str(n), properties=...) for n in range(300)), context={"a": "x" * 30_000}
    ),
}


@pytest.mark.parametrize("code", sorted(envelope.CODES))
def test_every_code_names_something_that_happens(code: str) -> None:
    assert refusal(EXAMPLES[code]).code == code


@pytest.mark.parametrize("code", ["too_many_events", "body_too_large", "batch_too_wide"])
def test_what_is_over_a_limit_is_told_by_its_status(code: str) -> None:
    assert isinstance(refusal(EXAMPLES[code]), TooLarge)


def test_2_500_events_are_taken() -> None:
    event = track(messageId=..., timestamp=..., properties=...)
    assert sorted_of(batch_of(*[event] * MOST_EVENTS)).accepted == 2_500


@pytest.mark.parametrize("squeezed", [False, True])
def test_512_000_bytes_are_taken_and_one_more_is_not(squeezed: bool) -> None:
    def body(length: int) -> bytes:
        text = batch_of(track()).ljust(length)
        return gzip.compress(text) if squeezed else text

    assert sorted_of(body(512_000)).accepted == 1
    assert refusal(body(512_001)).code == "body_too_large"


def test_a_gzip_bomb_is_refused_before_it_is_inflated() -> None:
    bomb = gzip.compress(b" " * 200_000_000, 9)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflated(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_BODY
    finally:
        tracemalloc.stop()


def test_gzip_has_to_be_one_whole_stream() -> None:
    whole = gzip.compress(batch_of(track()))
    assert sorted_of(whole).accepted == 1
    for broken in (whole[:-1], whole[:-8], whole + b"x", whole + whole, whole[:30] + b"xx" + whole[32:]):
        assert refusal(broken).code == "invalid_encoding"
    assert refusal(zlib.compress(b"{}")).code in ("invalid_encoding", "invalid_json")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"batch":{}}', "batch"),
        (b'{"batch":null}', "batch"),
        (b'{"context":{}}', "batch"),
        (b'{"batch":[],"context":[]}', "context"),
        (b'{"batch":[],"integrations":"All"}', "integrations"),
        (b'{"batch":[],"sentAt":5}', "sentAt"),
        (b'{"batch":[],"writeKey":5}', "writeKey"),
    ],
)
def test_what_is_wrong_around_the_events_is_named(body: bytes, field: str) -> None:
    found = refusal(body)
    assert (found.code, found.field) == ("invalid_batch", field) and f"`{field}`" in found.message


@pytest.mark.parametrize("name", ["context", "integrations"])
@pytest.mark.parametrize(
    "value",
    [rb'"\ud800"', b"[" * 700 + b"]" * 700, b"[" * 3000 + b"]" * 3000, b"9" * 309],
    ids=["lone surrogate", "deep", "very deep", "endless"],
)
def test_what_all_events_share_has_to_be_readable(name: str, value: bytes) -> None:
    found = refusal(batch_of(track())[:-1] + b',"' + name.encode() + b'":{"a":' + value + b"}}")
    assert (found.code, found.field) == ("invalid_batch", name)


def test_a_clock_in_half_a_character_is_refused_and_not_replaced() -> None:
    assert refusal(batch_of(track())[:-1] + b',"sentAt":"\\ud800"}').field == "sentAt"


def test_a_batch_may_say_null_for_what_it_does_not_have() -> None:
    found = sorted_of(batch_of(track(), context=None, integrations=None, sentAt=None, writeKey=None))
    assert found.accepted == 1 and whole_events(found)[0]["context"] == {"ip": IP}


@given(st.dictionaries(st.sampled_from("abc"), VALUES), st.dictionaries(st.sampled_from("abc"), VALUES))
def test_what_is_shared_is_merged_and_the_events_own_wins(shared: dict[str, Any], own: dict[str, Any]) -> None:
    body = batch_of(track(context=own, integrations=own), track(), context=shared, integrations=shared)
    mine, bare = whole_events(sorted_of(body, ip=None))
    assert mine["context"] == mine["integrations"] == shared | own
    assert bare["context"] == bare["integrations"] == shared


@pytest.mark.parametrize(
    ("shared", "own", "found"),
    [
        ({}, {}, IP),
        ({"ip": True}, {}, IP),
        ({"ip": None}, {"ip": True}, IP),
        ({"ip": "192.0.2.1"}, {}, "192.0.2.1"),
        ({"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}, "192.0.2.2"),
        ({}, {"ip": "192.0.2.2"}, "192.0.2.2"),
        ({"ip": "192.0.2.1"}, {"ip": None}, "192.0.2.1"),
    ],
)
def test_the_connections_address_fills_in_for_the_clients(shared: Any, own: Any, found: str) -> None:
    event = whole_events(sorted_of(batch_of(track(context={"a": 1} | own), context=shared)))[0]
    assert event["context"]["ip"] == found


def test_a_run_says_where_and_when_it_came_from() -> None:
    found = sorted_of(batch_of(track(), sentAt="2020-01-01T00:00:00Z"), bulk=True).runs[0]
    assert (found.received_at, found.sent_at, found.bulk) == (NOW_TEXT, "2020-01-01T00:00:00Z", True)
    assert (found.workspace, found.source) == (origin().workspace, origin().source)


def test_the_batchs_clock_corrects_its_events() -> None:
    late = track(timestamp=..., originalTimestamp="2020-01-01T00:00:00Z")
    [event] = whole_events(sorted_of(batch_of(late, sentAt="2020-01-01T00:00:05Z")))
    assert event["timestamp"] == "2026-11-23T15:59:55.123Z"


@pytest.mark.parametrize("sent_at", ["nonsense", "", "2020-01-01", "0001-01-01T00:00:00+14:00"])
def test_a_clock_that_cannot_be_read_corrects_nothing_and_refuses_nothing(sent_at: str) -> None:
    event = track(timestamp=..., originalTimestamp="2026-11-23T15:00:00Z")
    assert sorted_of(batch_of(event, sentAt=sent_at)).accepted == 1


def test_a_clock_longer_than_any_time_is_not_stored_with_every_run() -> None:
    found = sorted_of(batch_of(track(), track(userId="u-2"), sentAt="2020-01-01T00:00:00." + "0" * 100_000))
    assert [each.sent_at for each in found.runs] == [None, None]


def test_the_write_key_is_the_batchs_else_its_first_events() -> None:
    assert opened(batch_of(track(writeKey="event"), writeKey="batch"), None).write_key == "batch"
    assert opened(batch_of(track(writeKey="event")), None).write_key == "event"
    assert opened(packed(track(writeKey="event")), "track").write_key == "event"
    assert [opened(body, None).write_key for body in (batch_of(), batch_of(b"5"), batch_of({"writeKey": 5}))] == [
        None
    ] * 3


def test_a_single_event_is_the_whole_body_whatever_stands_around_it() -> None:
    [event] = sorted_of(b" \n" + packed(track()) + b"\t\r\n", "track").runs[0].events
    assert bytes(event) == packed(track())
    for body in (b"[]", b"1", b"null", packed(track()) + b"{}", packed(track())[:-1]):
        assert refusal(body, "track").code == "invalid_json"


def test_the_answer_counts_what_was_taken_and_lists_the_rest() -> None:
    status, body = answer(sorted_of(batch_of(track(), UNFIT["missing_event"])), batch=True)
    refused = {"index": 1, "messageId": "m-1", "code": "missing_event", "message": events.CODES["missing_event"]}
    assert (status, json.loads(body)) == (200, {"success": True, "accepted": 1, "rejected": [refused]})


def test_an_answer_to_nothing_taken_is_400_and_to_nothing_sent_200() -> None:
    status, body = answer(sorted_of(batch_of(UNFIT["missing_event"])), batch=True)
    assert (status, json.loads(body)["success"], len(json.loads(body)["rejected"])) == (400, False, 1)
    assert answer(sorted_of(batch_of()), batch=True) == (200, b'{"success":true,"accepted":0,"rejected":[]}')
    assert answer(sorted_of(packed(track()), "track"), batch=False) == (200, b'{"success":true}')
    assert answer(sorted_of(UNFIT["missing_event"], "track"), batch=False)[0] == 400
