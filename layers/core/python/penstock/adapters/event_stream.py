"""The Kinesis stream of accepted events, as `collect` writes to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from random import random
from typing import Protocol

import msgspec
import pybase64

from penstock.domain.stream_record import StreamRecord
from penstock.errors import StreamUnavailable

MOST_RECORDS = 500
LARGEST_CALL = 8 * 1024 * 1024
LARGEST_RECORD = 1024 * 1024
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
GIVE_UP_AFTER_S = 10.0
FINAL = frozenset({"ResourceNotFoundException", "AccessDeniedException", "UnrecognizedClientException"})


class Wire(Protocol):
    """Calls Kinesis: `(status, body)`. Raises one of `failures` when no answer comes."""

    def call(self, target: str, body: bytes) -> tuple[int, bytes]: ...


class _Entry(msgspec.Struct, rename="pascal"):
    error_code: str | None = None


class _Answer(msgspec.Struct, rename="pascal"):
    records: list[_Entry]


_decode_answer = msgspec.json.Decoder(_Answer).decode


class KinesisStream:
    """`put` returns when every record is acknowledged.

    What Kinesis refuses (throttling, an internal failure) is sent again, that alone, with growing pauses, for ten
    seconds in all. Records of one call have different ordering keys, so a refused one overtakes nothing.
    """

    def __init__(
        self,
        wire: Wire,
        arn: str,
        failures: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random,
    ) -> None:
        self._wire = wire
        self._end = f'],"StreamARN":{json.dumps(arn)}}}'.encode()
        self._failures = failures
        self._clock = clock
        self._sleep = sleep
        self._chance = chance

    def put(self, records: Sequence[StreamRecord]) -> None:
        """Raises `StreamUnavailable` when some record was not acknowledged; others may have been."""
        deadline = self._clock() + GIVE_UP_AFTER_S
        for chunk in chunks(records):
            if self._clock() > deadline:
                raise StreamUnavailable(f"Kinesis did not acknowledge {len(records)} records in time")
            self._put_chunk(chunk, deadline)

    def _put_chunk(self, records: Sequence[StreamRecord], deadline: float) -> None:
        pause, left = FIRST_PAUSE_S, records
        while left := self._refused(left):
            wait = pause * (0.5 + self._chance() / 2)
            if self._clock() + wait > deadline:
                raise StreamUnavailable(f"Kinesis did not acknowledge {len(left)} of {len(records)} records")
            self._sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _refused(self, records: Sequence[StreamRecord]) -> Sequence[StreamRecord]:
        """Send once; what was not acknowledged."""
        try:
            status, body = self._wire.call("Kinesis_20131202.PutRecords", self.request(records))
        except self._failures:
            return records
        if status != 200:
            _refuse_final(status, body)
            return records
        try:
            answer = _decode_answer(body)
        except msgspec.MsgspecError:
            return records
        if len(answer.records) != len(records):
            return records
        return [record for record, entry in zip(records, answer.records, strict=True) if entry.error_code]

    def request(self, records: Sequence[StreamRecord]) -> bytes:
        """The body of one PutRecords call."""
        parts = [b'{"Records":[']
        for data, partition_key, hash_key in records:
            keys = b'","PartitionKey":"%b","ExplicitHashKey":"%d"}' % (partition_key.encode(), hash_key)
            parts += (b'{"Data":"', pybase64.b64encode(data), keys, b",")
        parts[-1] = self._end  # in place of the last comma
        return b"".join(parts)


def _refuse_final(status: int, body: bytes) -> None:
    """Some refusals stay refusals however often one asks."""
    try:
        kind = str(json.loads(body).get("__type", "")).rpartition("#")[2]
    except (ValueError, AttributeError):
        return
    if kind in FINAL:
        raise StreamUnavailable(f"Kinesis answered {status} {kind}")


def chunks(records: Sequence[StreamRecord]) -> Iterator[Sequence[StreamRecord]]:
    """The records in order, in parts that one call can carry."""
    part: list[StreamRecord] = []
    size = 0
    for record in records:
        weight = len(record.data) * 4 // 3 + 200
        if len(record.data) > LARGEST_RECORD:
            raise StreamUnavailable(f"a run of {len(record.data)} bytes fits no record")
        if part and (len(part) == MOST_RECORDS or size + weight > LARGEST_CALL):
            yield part
            part, size = [], 0
        part.append(record)
        size += weight
    if part:
        yield part
