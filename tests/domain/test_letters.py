"""Letters: where they stand, what their ids open, which of them a filter means, what is never shown."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain import letter_index, letters
from penstock.domain.job import encode_job
from penstock.domain.letter_index import LetterFilter, matches
from penstock.domain.replays import Ticket, new_id
from penstock.domain.webhook_settings import MASK
from penstock.errors import Invalid, NotFound
from tests.builders_letters import AT, REPLAY, entry, job_id, letter
from tests.builders_pipeline import DESTINATION, SHARD, event, raw

SEQUENCES = st.integers(min_value=0, max_value=10**56 - 1)
NUMBERS = st.integers(min_value=0, max_value=9_999)
PLACES = st.tuples(st.integers(min_value=0, max_value=999), SEQUENCES, NUMBERS, NUMBERS)


@given(PLACES, PLACES)
def test_letters_sort_by_turn_then_sequence_number_then_chunk_then_index(one: Any, other: Any) -> None:
    first, second = (placed(*each) for each in (one, other))
    assert (first < second) == (one < other)


def placed(turn: int, sequence: int, chunk: int, index: int) -> str:
    return letters.place_of(f"{SHARD}-{sequence}-{chunk}", index, turn)


@given(PLACES)
def test_an_id_says_its_place_and_no_more(place: Any) -> None:
    found = placed(*place)
    letter_id = letters.id_of(found)
    assert letters.place_in(letter_id) == found
    assert letter_id.replace("-", "").replace("_", "").isalnum()
    assert len(letter_id) <= 220


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{8,60}", fullmatch=True))
def test_what_is_no_id_has_no_place(text: str) -> None:
    place = letters.place_in(text)
    assert place is None or letters.id_of(place) == text


def test_what_no_id_can_be_is_not_found() -> None:
    with pytest.raises(NotFound):
        letter_index.place_of_id("nonsense")


def test_a_letter_from_a_replay_stands_behind_the_one_it_was_made_of() -> None:
    origin = letter(number=7, index=3)
    job = letters.job_from(origin, REPLAY, DESTINATION)
    again = letters.place_of(job.id, 0)
    assert again == f"{origin.place}#{REPLAY}"
    assert origin.place < again < letter(number=7, index=4).place
    assert letters.event_at(again) == origin.place


def test_however_often_it_is_replayed_a_letter_remembers_where_its_event_came_from() -> None:
    job = letters.job_from(letter(number=7, index=3), REPLAY, DESTINATION)
    other = "rpl_bbbbbbbbbbbb"
    again = letters.job_from(letter(job=job.id, index=0), other, DESTINATION)
    assert again.id == job.id.replace(REPLAY, other)
    assert letters.place_of(again.id, 0) == f"{letter(number=7, index=3).place}#{other}"


def test_a_replayed_event_keeps_its_run_and_carries_a_mark() -> None:
    found = letter(context={"ip": "1.2.3.4"})
    job = letters.job_from(found, REPLAY, "dst_bbbbbbbbbbbb")
    assert (job.replay, job.destination, job.run.context, job.run.events) == (
        REPLAY,
        "dst_bbbbbbbbbbbb",
        found.run.context,
        [found.event],
    )
    assert len(job.id) <= 128  # as much as SQS takes for a deduplication id
    assert f'"replay":"{REPLAY}"' in encode_job(job)


def test_a_schema_changes_letters_sort_by_version() -> None:
    places = [letters.place_of(f"src_aaaaaaaaaaaa-change-{version}", 0) for version in (2, 10, 100)]
    assert places == sorted(places)
    assert [letters.place_in(letters.id_of(place)) for place in places] == places


def test_a_job_with_a_name_of_no_known_form_has_a_place_too() -> None:
    place = letters.place_of("what # ever\n", 1)
    assert letters.place_in(letters.id_of(place)) == place


def test_what_sounds_secret_is_masked_in_what_was_sent_and_received() -> None:
    secret = ("Authorization", "X-Api-Key", "Cookie", "X-Signature", "webhook-signature", "X-Auth-Token")
    shown = {"Idempotency-Key": "src:m-1", "webhook-id": "1", "webhook-timestamp": "2", "Content-Type": "text/plain"}
    found = letters.sent("https://example.com", dict.fromkeys(secret, "s3cret") | shown, b"{}")
    assert found.headers == dict.fromkeys(secret, MASK) | shown
    assert letters.received(400, None, {"Set-Cookie": "s3cret"}, b"").headers == {"Set-Cookie": MASK}


def test_a_letter_that_was_kept_unmasked_is_shown_masked_all_the_same() -> None:
    sent = letters.Sent("https://example.com", {"Authorization": "s3cret"}, "{}")
    received = letters.Received(400, None, {"Set-Cookie": "s3cret"}, "no")
    found = letter(request=sent, response=received)
    shown = letter_index.whole(letter_index.entry(found, "object", 0, 0), found)
    assert shown.request is not None
    assert shown.response is not None
    assert (shown.request.headers, shown.response.headers) == ({"Authorization": MASK}, {"Set-Cookie": MASK})


def test_of_an_answer_no_more_than_its_beginning_is_kept() -> None:
    assert len(letters.received(400, None, {}, b"x" * 9_999).body) == letters.LARGEST_BODY
    assert letters.received(None, "timeout", {}, b"\xff\xfe").body == "\ufffd\ufffd"


def test_a_letter_is_read_as_it_was_written() -> None:
    found = letter(request=letters.sent("https://example.com", {}, b'{"a": 1}'), first_at=AT, attempts=3)
    assert letters.decode_letter(letters.encode_letter(found)) == found


def test_an_event_that_is_no_object_is_a_letter_too() -> None:
    found = letter(event=raw(b"[1"))
    indexed = letter_index.entry(found, "object", 0, 0)
    assert (indexed.event, indexed.message_id) == (None, None)
    assert letter_index.whole(indexed, found).content == raw(b'"[1"')


@pytest.mark.parametrize(
    ("event", "name"), [(event(event="Bought"), "Bought"), (event(type="identify"), "identify"), ({"type": 3}, None)]
)
def test_the_index_names_an_event_or_else_its_call(event: Any, name: str | None) -> None:
    assert entry(event=raw(event)).event == name


@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": "dead"},
        {"reason": "http_500"},
        {"user": "grace"},
        {"event": "Bought"},
        {"from_": datetime(2026, 11, 23, 16, 0, 1, tzinfo=UTC)},
        {"to": datetime(2026, 11, 23, 15, 59, 59, tzinfo=UTC)},
        {"letter": letters.id_of(letter(number=2).place)},
    ],
)
def test_each_part_of_a_filter_keeps_letters_away(wanted: Any) -> None:
    assert matches(entry(), LetterFilter())
    assert not matches(entry(), LetterFilter(**wanted))


def test_what_was_replayed_is_replayed_again_only_where_that_is_asked_for() -> None:
    done = entry(replayed_at=AT, replay=REPLAY)
    assert not matches(done, LetterFilter(), "rpl_bbbbbbbbbbbb")
    assert matches(done, LetterFilter(include_replayed=True), "rpl_bbbbbbbbbbbb")
    assert matches(done, LetterFilter(), REPLAY)  # its own: a step that is repeated counts it once more


def test_a_replay_never_replays_what_failed_in_it() -> None:
    failed = entry(job=letters.job_from(letter(), REPLAY, DESTINATION).id, index=0)
    assert not matches(failed, LetterFilter(include_replayed=True), REPLAY)
    assert matches(failed, LetterFilter(), "rpl_bbbbbbbbbbbb")


@given(st.integers(min_value=1_600_000_000_000, max_value=2_800_000_000_000), st.integers(min_value=5, max_value=10**9))
def test_ids_of_replays_sort_by_time(ms: int, later: int) -> None:
    assert new_id(ms / 1000, "zzzz") < new_id((ms + later) / 1000, "aaaa")


def test_a_time_that_is_none_is_refused() -> None:
    assert letter_index.time_in("2026-11-23T16:00:00+01:00", "from") == datetime(2026, 11, 23, 15, tzinfo=UTC)
    with pytest.raises(Invalid):
        letter_index.time_in("yesterday", "from")


def test_the_letter_and_the_ticket_of_the_docs_are_what_is_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
    shown = {
        title: re.search(rf"## {title} .*?```json\n(.*?)```", text, re.DOTALL) for title in ("A letter", "A ticket")
    }
    found, ticket = shown["A letter"], shown["A ticket"]
    assert found
    assert ticket
    read = letters.decode_letter(found[1].encode())
    assert json.loads(letters.encode_letter(read)) == json.loads(found[1])
    assert (
        msgspec.json.encode(msgspec.json.decode(ticket[1], type=Ticket)) == ticket[1].replace(" ", "").strip().encode()
    )


def test_the_builders_job_is_named_as_fan_out_names_it() -> None:
    assert letter(number=3).job == job_id(3)
