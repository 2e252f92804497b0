"""A run on its way into the stream: its bytes and the two keys that decide where they go."""

from __future__ import annotations

from typing import NamedTuple

from penstock.domain.job import group_of
from penstock.domain.partition import hash_key
from penstock.domain.run import Run, encode_run

BULK = "b-"


class StreamRecord(NamedTuple):
    """`partition_key` is 32 hex digits, `hash_key` a whole number below 2**128."""

    data: bytes
    partition_key: str
    hash_key: int


def record_of(run: Run) -> StreamRecord:
    group = group_of(run.source, run.key)
    return StreamRecord(encode_run(run), group, hash_key(run.source, group))


def shard_of(stream_arn: str, event_id: str) -> str:
    """How the shard of a record is called, by the `eventID` that its poller gives it.

    Shards of two streams have the same names; those of the bulk stream begin with `b-`.
    """
    shard = event_id.partition(":")[0]
    return BULK + shard if stream_arn.endswith("-bulk") else shard
