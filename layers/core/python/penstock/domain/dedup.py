"""Which events of the stream are the first of their (source, messageId): claims, and who holds them.

For each ordering key and day of arrival there is a set of claims: by the short hash of a messageId, the one event that
goes on. An event looks at the claims of its own day and of the days next to it, so that whatever comes within 24 hours
meets. A claim is never taken back, and an event that finds one of another event claims nothing. So of all who look,
only the holder of the earliest day's claim goes on, however often and in whatever order they come again.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Raw, Struct

from penstock.domain.stream_record import BULK

Claims: TypeAlias = dict[str, bytes]  # by the short hash of a messageId, the claim of the event that goes on
STREAMS = ("", BULK)  # what the ids of their records begin with
_SHARD = "shardId-"
_MIDNIGHT = "T00:00:00+00:00"


class _Named(Struct, rename="camel"):
    message_id: Raw = Raw(b"null")


_decode_named = msgspec.json.Decoder(_Named).decode
_decode_text = msgspec.json.Decoder(str).decode


class Owner(NamedTuple):
    """Whose claims they are: an ordering key of a source, as its group."""

    workspace: str
    source: str
    group: str


class KeyState(NamedTuple):
    """What is known of an ordering key besides its claims: `over` are the lanes of it that overflow, by destination."""

    over: frozenset[str] = frozenset()


class Wanted(NamedTuple):
    """What has to be known of an ordering key: the claims of these days on these hashes."""

    owner: Owner
    days: frozenset[str]
    ids: frozenset[str]


class Known(NamedTuple):
    """What is known of an ordering key: by day, claims on the hashes that were asked for, and perhaps on others."""

    key: KeyState
    days: Mapping[str, Claims]


def hash_of(event: Raw) -> str:
    """Short hash of the event's messageId; of the whole event where it has none, as its `Idempotency-Key`.

    Raises what `msgspec` raises where the event is no JSON object.
    """
    given = _decode_named(event).message_id
    try:
        return short_hash(_decode_text(given))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return short_hash(hashlib.sha256(event).hexdigest())


def short_hash(message_id: str) -> str:
    """72 bits as 12 characters: among a million ids of one key and day, two are alike once in ten billion days."""
    return base64.urlsafe_b64encode(hashlib.blake2b(message_id.encode(), digest_size=9).digest()).decode()


def claims_of(record_id: str, events: int) -> list[bytes]:
    """A claim for each event of a record, told back by `claimant`: 32 bytes each for what Kinesis numbers."""
    head, _, number = record_id.rpartition("-")
    stream, _, shard = head.rpartition(_SHARD)
    value = int(number)
    begun = (
        bytes([STREAMS.index(stream)])
        + int(shard).to_bytes(4, "big")
        + bytes([len(number)])
        + value.to_bytes((value.bit_length() + 7) // 8, "big")
    )
    return [begun + index.to_bytes(2, "big") for index in range(events)]


def claimant(claim: bytes) -> tuple[str, int]:
    """The id of the record and the index of the event in it that hold a claim."""
    shard, digits = int.from_bytes(claim[1:5], "big"), claim[5]
    number = f"{int.from_bytes(claim[6:-2], 'big'):0{digits}d}"
    return f"{STREAMS[claim[0]]}{_SHARD}{shard:012d}-{number}", int.from_bytes(claim[-2:], "big")


def day_of(arrived_at: float) -> str:
    """The UTC day, ISO 8601, of a moment in epoch seconds."""
    return datetime.fromtimestamp(arrived_at, UTC).date().isoformat()


def start_of(day: str) -> int:
    """When a day began, in epoch seconds."""
    return int(datetime.fromisoformat(day + _MIDNIGHT).timestamp())


def days_to_read(day: str, today: str) -> frozenset[str]:
    """The days whose claims an event that arrived on `day` has to know before it claims its own.

    Where a later day has begun, somebody may have claimed in that. Then its own day is read too: who holds a claim
    there is not to be driven out by a later one.
    """
    before, after = _next_to(day)
    return frozenset((before, day, after) if today > day else (before,))


def holder(id_: str, day: str, days: Mapping[str, Claims]) -> bytes | None:
    """The claim that counts for an event that arrived on `day`: of the day before, of its own, else of the next."""
    before, after = _next_to(day)
    for each in (before, day, after):
        found = days.get(each, {}).get(id_)
        if found is not None:
            return found
    return None


def unclaimed(events: Iterable[tuple[str, bytes]], day: str, days: Mapping[str, Claims]) -> Claims:
    """What is to be claimed for events in order, each a hash and its claim: of those alike the first."""
    free: Claims = {}
    for id_, claim in events:
        if id_ not in free and holder(id_, day, days) is None:
            free[id_] = claim
    return free


def kept(ids: Sequence[str], claims: Sequence[bytes], day: str, days: Mapping[str, Claims]) -> tuple[int, ...]:
    """The indices of the events that hold the claims which count for them."""
    return tuple(
        index for index, (id_, claim) in enumerate(zip(ids, claims, strict=True)) if holder(id_, day, days) == claim
    )


@lru_cache(maxsize=100)
def _next_to(day: str) -> tuple[str, str]:
    """The day before and the day after."""
    this, one = date.fromisoformat(day), timedelta(days=1)
    return (this - one).isoformat(), (this + one).isoformat()
