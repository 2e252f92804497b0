"""Collect: take a request of the tracking API, and answer once every event it accepts is in the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from penstock.domain import batch, envelope, turns
from penstock.domain.batch import Origin, Sorted
from penstock.domain.ids import workspace_of_write_key
from penstock.domain.known_key import KnownKey
from penstock.domain.stream_record import StreamRecord, record_of
from penstock.domain.turns import FIRST
from penstock.errors import Forbidden, Unauthenticated


class WriteKeys(Protocol):
    """Finds what is known of a write key. Raises `StoreUnavailable`."""

    def get(self, key: str) -> KnownKey | None: ...


class EventStream(Protocol):
    """Keeps records durably. Raises `StreamUnavailable` unless every one is acknowledged."""

    def put(self, records: Sequence[StreamRecord]) -> None: ...


@dataclass(frozen=True)
class Ports:
    """`settles_s` is for how long at most a request can take, in seconds."""

    write_keys: WriteKeys
    stream: EventStream
    bulk: EventStream
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    settles_s: float = 30.0


@dataclass(frozen=True)
class Call:
    """One request: `type` is None for a batch, `write_key` is None where only the body may name it."""

    body: bytes
    type: str | None
    write_key: str | None
    ip: str | None
    bulk: bool = False


@dataclass(frozen=True)
class Outcome:
    """What the client gets, and what the log says of it."""

    status: int
    body: bytes
    source: str
    accepted: int
    rejected: Sequence[str]


def collect(call: Call, ports: Ports) -> Outcome:
    """Raises `Refused` for a request of which nothing can be taken, `Unavailable` when nothing may be acknowledged."""
    known = owner_of(call.write_key, ports.write_keys) if call.write_key is not None else None
    request = envelope.opened(envelope.inflated(call.body), call.type)
    if known is None:
        known = owner_of(request.write_key, ports.write_keys)
    received_at = ports.now()
    turn = FIRST if call.bulk else turns.turn_of(known.announced, received_at.timestamp(), ports.settles_s)
    origin = Origin(known.workspace, known.source, received_at, call.ip, ports.new_id, call.bulk, turn)
    found = batch.sort(request, origin)
    if found.runs:
        stream = ports.bulk if call.bulk or turn.is_bulk else ports.stream
        stream.put([record_of(run) for run in found.runs])
    return _outcome(found, known, call)


def owner_of(write_key: str | None, write_keys: WriteKeys) -> KnownKey:
    """The source that a write key belongs to. Raises `Unauthenticated` or `Forbidden`."""
    if not write_key:
        raise Unauthenticated("missing_write_key", "no write key is given", "writeKey")
    known = write_keys.get(write_key) if workspace_of_write_key(write_key) else None
    if known is None:
        raise Unauthenticated("unknown_write_key", "the write key is unknown", "writeKey")
    if not known.enabled:
        raise Forbidden("disabled", "the source or its write key is disabled", "writeKey")
    return known


def _outcome(found: Sorted, known: KnownKey, call: Call) -> Outcome:
    status, body = batch.answer(found, call.type is None)
    return Outcome(status, body, known.source, found.accepted, [each.code for each in found.rejected])
