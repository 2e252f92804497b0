"""Claims: small, readable back, and such that of all who look exactly one goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dedup import (
    STREAMS,
    claimant,
    claims_of,
    day_of,
    days_to_read,
    hash_of,
    holder,
    kept,
    short_hash,
    start_of,
    unclaimed,
)
from tests.builders_pipeline import raw

YESTERDAY, TODAY, TOMORROW = "2026-02-28", "2026-03-01", "2026-03-02"


@given(
    stream=st.sampled_from(STREAMS),
    shard=st.integers(0, 2**32 - 1),
    number=st.one_of(st.integers(10**55, 10**56 - 1).map(str), st.from_regex(r"\A[0-9]{1,56}\Z")),
    events=st.integers(1, 2_500),
)
def test_a_claim_names_its_record_and_event_in_32_bytes(stream: str, shard: int, number: str, events: int) -> None:
    record_id = f"{stream}shardId-{shard:012d}-{number}"
    claims = claims_of(record_id, events)
    assert max(map(len, claims)) <= 32
    assert [claimant(claim) for claim in claims[:1] + claims[-1:]] == [(record_id, 0), (record_id, events - 1)]
    assert len(set(claims)) == events


@given(st.text(), st.text())
def test_only_one_messageid_has_its_hash(one: str, other: str) -> None:
    assert (short_hash(one) == short_hash(other)) is (one == other)
    assert len(short_hash(one)) == 12


def test_a_messageid_is_the_same_however_it_is_written() -> None:
    assert hash_of(raw(b'{"messageId":"\\u0061"}')) == hash_of(raw(b'{"x":1,"messageId":"a"}')) == short_hash("a")


@pytest.mark.parametrize("text", [b"{}", b'{"messageId":null}', b'{"messageId":5}'])
def test_an_event_without_a_readable_messageid_is_known_by_all_that_it_holds(text: bytes) -> None:
    assert hash_of(raw(text)) == hash_of(raw(text)) != hash_of(raw(text[:-1] + b" }"))


def test_what_is_no_event_has_no_hash() -> None:
    with pytest.raises(msgspec.MsgspecError):
        hash_of(raw(b"5"))


@given(st.integers(0, 4_000_000_000))
def test_a_moment_lies_in_its_day(moment: int) -> None:
    day = day_of(moment)
    assert 0 <= moment - start_of(day) < 86_400
    assert day == datetime.fromtimestamp(moment, UTC).date().isoformat()


def test_a_days_own_claims_are_read_once_the_next_has_begun() -> None:
    assert days_to_read(TODAY, TODAY) == days_to_read(TODAY, YESTERDAY) == {YESTERDAY}
    assert days_to_read(TODAY, TOMORROW) == days_to_read(TODAY, "2026-04-01") == {YESTERDAY, TODAY, TOMORROW}


def test_the_day_befores_claim_counts_before_the_own_and_that_before_the_nexts() -> None:
    days = {YESTERDAY: {"a": b"1"}, TODAY: {"a": b"2", "b": b"2"}, TOMORROW: {"a": b"3", "b": b"3", "c": b"3"}}
    assert [holder(id_, TODAY, days) for id_ in "abcd"] == [b"1", b"2", b"3", None]


def test_of_batch_mates_the_first_is_kept() -> None:
    ids, claims = ["a", "b", "a"], [b"0", b"1", b"2"]
    free = unclaimed(zip(ids, claims, strict=True), TODAY, {})
    assert free == {"a": b"0", "b": b"1"}
    assert kept(ids, claims, TODAY, {TODAY: free}) == (0, 1)


def test_what_is_claimed_on_a_day_next_to_it_is_not_claimed_again() -> None:
    days = {YESTERDAY: {"a": b"x"}, TOMORROW: {"b": b"x"}}
    assert unclaimed([("a", b"1"), ("b", b"2"), ("c", b"3")], TODAY, days) == {"c": b"3"}
