"""A run becomes a record that says where it goes and can be read again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.domain.job import group_of
from penstock.domain.partition import hash_key
from penstock.domain.run import Run, decode_run
from penstock.domain.stream_record import record_of, shard_of
from tests.builders_collect import NOW_TEXT, SOURCE, WORKSPACE, packed, track

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(TEXT, st.lists(st.builds(lambda a: packed(track(a=a)), TEXT), max_size=4), st.none() | TEXT, st.booleans())
def test_a_record_is_read_back_as_the_run_it_was(key: str, events: list[bytes], sent_at: str, bulk: bool) -> None:
    run = Run(
        1, WORKSPACE, SOURCE, key, NOW_TEXT, [Raw(each) for each in events], Raw(b'{"a":1}'), sent_at=sent_at, bulk=bulk
    )
    found = decode_run(record_of(run).data)
    assert [bytes(each) for each in found.events] == events
    assert bytes(found.context) == b'{"a":1}' and bytes(found.integrations) == b"{}"
    assert (found.key, found.sent_at, found.bulk) == (key, sent_at, bulk)
    assert (found.workspace, found.source, found.received_at) == (WORKSPACE, SOURCE, NOW_TEXT)


@given(TEXT)
def test_a_record_goes_where_its_source_and_key_say(key: str) -> None:
    record = record_of(Run(1, WORKSPACE, SOURCE, key, NOW_TEXT, []))
    assert record.partition_key == group_of(SOURCE, key)
    assert record.hash_key == hash_key(SOURCE, record.partition_key)


def test_shards_of_the_two_streams_never_have_one_name() -> None:
    live, bulk = (f"arn:aws:kinesis:us-east-1:123456789012:stream/penstock-dev-{name}" for name in ("events", "bulk"))
    assert shard_of(live, "shardId-000000000000:495") == "shardId-000000000000"
    assert shard_of(bulk, "shardId-000000000000:495") == "b-shardId-000000000000"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"v":1}', b"\xff"])
def test_what_is_no_run_is_told(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_run(data)
