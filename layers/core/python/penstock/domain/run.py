"""A run: all events of one ordering key in one request, as it travels through the stream.

On the wire it is JSON, one Kinesis record per run. `context` and `integrations` are shared by the whole
request and merged into each event by the consumers, the event's own keys winning. `events` hold each event's
JSON object as the client sent it, bytes untouched but for what collect had to add at its end.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

EMPTY = Raw(b"{}")


class Run(msgspec.Struct, omit_defaults=True):
    """One record of the stream. Times are ISO 8601 UTC with milliseconds; `sent_at` is as the client gave it.

    `forwarded` events came to their source because another one's tracking plan sent them on; that happens once. `via`
    is that other source, whose turns these are.

    `turn`, `early` and `late` say when in which turn of its source it was received (`domain/turns.py`). `origin` is the
    id of the record that it was first, where it was carried on to the end of the bulk stream. A `fence` has no events:
    it asks the live stream whether all before it is sent.
    """

    v: int
    workspace: str
    source: str
    key: str
    received_at: str
    events: list[Raw]
    context: Raw = EMPTY
    integrations: Raw = EMPTY
    sent_at: str | None = None
    bulk: bool = False
    forwarded: bool = False
    via: str = ""
    turn: int = 0
    early: bool = False
    late: bool = False
    origin: str = ""
    fence: bool = False


_decode_run = msgspec.json.Decoder(Run).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def decode_run(data: bytes) -> Run:
    """The run in a record's bytes. Raises `msgspec.ValidationError` or `DecodeError` for what is none."""
    return _decode_run(data)


def encode_run(run: Run) -> bytes:
    return _encode(run)


def merged(shared: Raw, own: Raw | None) -> Raw:
    """Two JSON objects as one, the event's own keys winning; what is no object stands for itself."""
    if own is None or bytes(own) in (b"null", b"{}"):
        return shared
    if bytes(shared) == b"{}" or not bytes(own).lstrip().startswith(b"{"):
        return own
    return Raw(_encode({**_decode_fields(shared), **_decode_fields(own)}))


def whole_event(run: Run, event: Raw) -> dict[str, Raw]:
    """One event's fields with all that it shares with its run: context, integrations, receivedAt, sentAt."""
    fields = _decode_fields(event)
    fields["context"] = merged(run.context, fields.get("context"))
    fields["integrations"] = merged(run.integrations, fields.get("integrations"))
    fields["receivedAt"] = Raw(_encode(run.received_at))
    if run.sent_at is not None and "sentAt" not in fields:
        fields["sentAt"] = Raw(_encode(run.sent_at))
    return fields
