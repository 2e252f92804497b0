"""A put returns when every record is acknowledged, sends again only what was not, and gives up in time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.aws_wire import WireFailed
from penstock.adapters.event_stream import (
    FINAL,
    GIVE_UP_AFTER_S,
    LARGEST_CALL,
    LARGEST_RECORD,
    MOST_RECORDS,
    KinesisStream,
    chunks,
)
from penstock.domain.batch import sort
from penstock.domain.envelope import LARGEST_BODY, MOST_EVENTS, opened
from penstock.domain.stream_record import StreamRecord, record_of
from penstock.errors import StreamUnavailable
from penstock.steps.collect import EventStream
from tests.builders_collect import batch_of, origin, packed, track
from tests.fakes_collect import MemoryStream
from tests.moto_server import STREAM_ARN, Cloud, emptied, moto_cloud

Answer = Callable[[list[dict[str, Any]]], tuple[int, Any]]


class Kinesis:
    """The wire to a Kinesis that answers in turn as told, the last answer for ever; a call takes `takes_s`."""

    def __init__(self, *answers: Answer | Exception, takes_s: float = 0.0) -> None:
        self.answers, self.takes_s = list(answers), takes_s
        self.calls: list[list[str]] = []
        self.now, self.pauses = 0.0, list[float]()

    def call(self, target: str, body: bytes) -> tuple[int, bytes]:
        assert target == "Kinesis_20131202.PutRecords"
        request = json.loads(body)
        assert request["StreamARN"] == STREAM_ARN
        self.calls.append([base64.b64decode(each["Data"]).decode() for each in request["Records"]])
        self.now += self.takes_s
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, found = answer(request["Records"])
        return status, found if isinstance(found, bytes) else json.dumps(found).encode()

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def stream(self, chance: Callable[[], float] = lambda: 1.0) -> KinesisStream:
        return KinesisStream(self, STREAM_ARN, (WireFailed,), lambda: self.now, self.sleep, chance)


def failing(*indexes: int, code: str = "ProvisionedThroughputExceededException") -> Answer:
    """Acknowledges all records but those."""

    def answer(records: list[dict[str, Any]]) -> tuple[int, Any]:
        entries = [
            {"ErrorCode": code, "ErrorMessage": "no"} if index in indexes else {"SequenceNumber": "1", "ShardId": "s"}
            for index, _ in enumerate(records)
        ]
        return 200, {"FailedRecordCount": len(indexes), "Records": entries}

    return answer


def saying(status: int, body: Any) -> Answer:
    return lambda records: (status, body)


ACKNOWLEDGING = failing()


def record(name: str, size: int = 0) -> StreamRecord:
    return StreamRecord(name.encode().ljust(size, b"."), "0" * 32, 2**127)


def records(names: str) -> list[StreamRecord]:
    return [record(name) for name in names]


def test_a_call_carries_each_record_with_its_keys() -> None:
    [event] = records("a")
    assert json.loads(Kinesis(ACKNOWLEDGING).stream().request([event, event])) == {
        "Records": [{"Data": "YQ==", "PartitionKey": "0" * 32, "ExplicitHashKey": str(2**127)}] * 2,
        "StreamARN": STREAM_ARN,
    }


def test_nothing_to_put_is_no_call() -> None:
    kinesis = Kinesis(ACKNOWLEDGING)
    kinesis.stream().put([])
    assert kinesis.calls == []


def test_only_what_failed_is_sent_again() -> None:
    kinesis = Kinesis(failing(1, 3), failing(0), ACKNOWLEDGING)
    kinesis.stream().put(records("abcd"))
    assert kinesis.calls == [["a", "b", "c", "d"], ["b", "d"], ["b"]]


@given(st.lists(st.sets(st.integers(0, 5)), max_size=8))
def test_a_put_that_returns_has_had_every_record_acknowledged(failures: list[set[int]]) -> None:
    acknowledged: set[str] = set()

    def noting(answer: Answer) -> Answer:
        def noted(entries: list[dict[str, Any]]) -> tuple[int, Any]:
            status, found = answer(entries)
            kept = zip(entries, found["Records"], strict=True)
            acknowledged.update(entry["Data"] for entry, verdict in kept if "ErrorCode" not in verdict)
            return status, found

        return noted

    kinesis = Kinesis(*(noting(failing(*each)) for each in failures), noting(ACKNOWLEDGING))
    kinesis.stream().put(records("abcdef"))
    assert len(acknowledged) == 6


@pytest.mark.parametrize(
    "answer",
    [
        failing(0, 1, code="InternalFailure"),
        saying(400, {"__type": "ProvisionedThroughputExceededException"}),
        saying(400, {"__type": "com.amazonaws.kinesis#LimitExceededException"}),
        saying(500, b""),
        saying(503, b"<html>"),
        saying(500, b"[]"),
        saying(200, b""),
        saying(200, b"{"),
        saying(200, {"FailedRecordCount": 0}),
        saying(200, {"FailedRecordCount": 0, "Records": []}),
        saying(200, {"FailedRecordCount": 0, "Records": [{}, {}, {}]}),
        WireFailed("no answer"),
    ],
)
def test_what_may_pass_is_tried_again_and_then_given_up_in_time(answer: Answer | Exception) -> None:
    kinesis = Kinesis(answer, ACKNOWLEDGING)
    kinesis.stream().put(records("ab"))
    assert kinesis.calls == [["a", "b"]] * 2
    for_ever = Kinesis(answer)
    with pytest.raises(StreamUnavailable):
        for_ever.stream().put(records("ab"))
    assert GIVE_UP_AFTER_S - 1.1 <= for_ever.now <= GIVE_UP_AFTER_S
    assert 10 <= len(for_ever.calls) <= 20


@pytest.mark.parametrize("kind", sorted(FINAL))
@pytest.mark.parametrize("prefix", ["", "com.amazonaws.kinesis.v20131202#"])
def test_what_does_not_pass_is_given_up_at_once(kind: str, prefix: str) -> None:
    kinesis = Kinesis(saying(400, {"__type": prefix + kind}))
    with pytest.raises(StreamUnavailable, match=kind):
        kinesis.stream().put(records("ab"))
    assert (len(kinesis.calls), kinesis.pauses) == (1, [])


@given(st.floats(0, 1))
def test_pauses_grow_to_a_second_and_differ_by_chance(chance: float) -> None:
    kinesis = Kinesis(WireFailed("no answer"))
    with pytest.raises(StreamUnavailable):
        kinesis.stream(lambda: chance).put(records("a"))
    longest = [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    for pause, most in zip(kinesis.pauses, longest, strict=False):
        assert pause == pytest.approx(most * (0.5 + chance / 2))


def test_a_service_that_is_slow_to_refuse_does_not_lengthen_it() -> None:
    kinesis = Kinesis(failing(0), takes_s=4.0)
    with pytest.raises(StreamUnavailable):
        kinesis.stream().put(records("a"))
    assert kinesis.now <= GIVE_UP_AFTER_S + 4.0


def test_chunks_share_one_deadline() -> None:
    kinesis = Kinesis(ACKNOWLEDGING, takes_s=4.0)
    with pytest.raises(StreamUnavailable):
        kinesis.stream().put(records("a" * 10 * MOST_RECORDS))
    assert len(kinesis.calls) == 3


def test_a_chunk_that_fails_leaves_the_put_unacknowledged_whatever_came_before() -> None:
    kinesis = Kinesis(ACKNOWLEDGING, saying(400, {"__type": "ResourceNotFoundException"}))
    with pytest.raises(StreamUnavailable):
        kinesis.stream().put(records("a" * (MOST_RECORDS + 1)))
    assert [len(each) for each in kinesis.calls] == [500, 1]


def test_500_records_are_one_call_and_one_more_is_another() -> None:
    assert [len(each) for each in chunks(records("a" * 500))] == [500]
    assert [len(each) for each in chunks(records("a" * 1_001))] == [500, 500, 1]


@given(st.lists(st.integers(0, LARGEST_RECORD), min_size=1, max_size=30))
def test_every_call_is_of_a_size_that_kinesis_takes_and_nothing_is_lost(sizes: list[int]) -> None:
    given_records = [record(str(index), size) for index, size in enumerate(sizes)]
    found = list(chunks(given_records))
    assert [each for part in found for each in part] == given_records
    assert all(sum(len(each.data) for each in part) * 4 // 3 + 200 * len(part) <= LARGEST_CALL for part in found)


def test_a_call_is_no_larger_than_it_was_reckoned() -> None:
    full, *_ = chunks([record("a", 16_000)] * 1_000)
    request = Kinesis().stream().request(full)
    assert LARGEST_CALL - 64 * 1024 < len(request) <= LARGEST_CALL


def test_a_record_that_is_too_large_for_any_call_is_not_sent() -> None:
    kinesis = Kinesis(ACKNOWLEDGING)
    with pytest.raises(StreamUnavailable):
        kinesis.stream().put([record("a", LARGEST_RECORD + 1)])
    assert kinesis.calls == []


def test_the_largest_request_there_is_fits_into_records() -> None:
    event = track(userId=..., anonymousId="a", type="page", event=..., messageId=..., timestamp=..., properties=...)
    room = LARGEST_BODY // MOST_EVENTS - len(packed(event)) - 10
    body = batch_of(*[event | {"name": "n" * room}] * MOST_EVENTS)
    [run] = sort(opened(body, None), origin()).runs
    assert LARGEST_BODY < len(record_of(run).data) <= LARGEST_RECORD


@pytest.fixture(scope="module")
def server() -> Iterator[Cloud]:
    with moto_cloud() as cloud:
        yield cloud


@pytest.fixture(params=["memory", "kinesis"])
def stream(request: pytest.FixtureRequest) -> Iterator[tuple[EventStream, Callable[[], list[bytes]]]]:
    if request.param == "memory":
        memory = MemoryStream()
        yield memory, lambda: [each.data for each in memory.records]
        return
    cloud = emptied(request.getfixturevalue("server"))
    cloud.make_stream()
    wire = cloud.wire("kinesis")
    yield KinesisStream(wire, STREAM_ARN, (WireFailed,)), lambda: [each["Data"] for each in cloud.records()]
    wire.close()


Kept = tuple[EventStream, Callable[[], list[bytes]]]


def places(count: int, of_one_key: bool = False) -> list[StreamRecord]:
    step = 0 if of_one_key else 2**128 // count
    return [StreamRecord(b"\x00\xff%d" % number, f"{number:032x}", number * step) for number in range(count)]


def test_what_was_put_is_in_the_stream(stream: Kept) -> None:
    stream[0].put(places(40))
    assert sorted(stream[1]()) == sorted(each.data for each in places(40))


def test_more_than_one_call_carries_is_in_the_stream_too(stream: Kept) -> None:
    stream[0].put(places(1_100))
    assert len(set(stream[1]())) == 1_100


def test_records_of_one_place_keep_their_order(stream: Kept) -> None:
    for each in places(20, of_one_key=True):
        stream[0].put([each])
    assert stream[1]() == [each.data for each in places(20)]


def test_the_hash_key_decides_the_shard(server: Cloud) -> None:
    cloud = emptied(server)
    cloud.make_stream(shards=2)
    wire = cloud.wire("kinesis")
    KinesisStream(wire, STREAM_ARN, (WireFailed,)).put(
        [StreamRecord(b"high", "0" * 32, 3 * 2**126), StreamRecord(b"low", "f" * 32, 2**126)]
    )
    wire.close()
    assert [each["Data"] for each in cloud.records()] == [b"low", b"high"]


def test_a_stream_that_is_not_there_is_unavailable_at_once(server: Cloud) -> None:
    wire = emptied(server).wire("kinesis")
    with pytest.raises(StreamUnavailable, match="ResourceNotFoundException"):
        KinesisStream(wire, STREAM_ARN, (WireFailed,)).put(records("a"))
    wire.close()


@pytest.mark.parametrize("takes", [0, 1])
def test_the_fake_refuses_as_the_stream_does(takes: int) -> None:
    memory = MemoryStream(takes)
    with pytest.raises(StreamUnavailable):
        memory.put(records("ab"))
    assert len(memory.records) == takes
