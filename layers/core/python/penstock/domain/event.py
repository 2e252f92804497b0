"""One event on its way in: its headers decoded and checked, all else left as the bytes that the client sent.

What an SDK sends passes unchanged. What is missing (type, messageId, timestamp) is appended before the closing brace.
Only a key that has to be replaced or removed costs a decoding of the event's top level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, ValidationError

from penstock.domain import scan
from penstock.domain.run import EMPTY, merged

LARGEST_EVENT = 32 * 1024
LONGEST_MESSAGE_ID = 99
TYPES = frozenset({"identify", "track", "page", "screen", "group", "alias"})

CODES = {
    "not_an_object": "the event is no JSON object",
    "missing_type": "`type` is missing",
    "unknown_type": "`type` is none of identify, track, page, screen, group, alias",
    "invalid_type": "a field holds a value of the wrong JSON type; the message names it",
    "missing_identifier": "neither `userId` nor `anonymousId` is given",
    "missing_event": "a track call has no `event` name",
    "missing_group_id": "a group call has no `groupId`",
    "missing_previous_id": "an alias call has no `previousId`",
    "message_id_too_long": "`messageId` has 100 characters or more",
    "invalid_timestamp": "`timestamp`, `sentAt` or `originalTimestamp` is no ISO 8601 date and time",
    "event_too_large": "the event, with what the batch shares merged in, is over 32,768 bytes",
    "nested_too_deep": "the event nests deeper than 640 levels",
    "invalid_number": "the event holds an integer of more than 308 digits, NaN or Infinity",
    "invalid_unicode": "a string holds half of a surrogate pair",
}


class _Object(Struct, gc=False):
    """Any JSON object; what is in it is skipped, not kept."""


class _Context(Struct, gc=False):
    ip: str | UnsetType = UNSET


class Headers(Struct, rename="camel", gc=False):
    """What has to be known of every event; the decoder checks the types."""

    type: str | UnsetType = UNSET
    message_id: str | UnsetType = UNSET
    user_id: str | None = None
    anonymous_id: str | None = None
    event: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    timestamp: datetime | UnsetType = UNSET
    original_timestamp: datetime | UnsetType = UNSET
    sent_at: datetime | UnsetType = UNSET
    context: _Context | None = None
    integrations: _Object | None = None
    properties: _Object | None = None
    traits: _Object | None = None
    write_key: str | UnsetType = UNSET


@dataclass(frozen=True)
class Accepted:
    key: str
    event: Raw


@dataclass(frozen=True)
class Rejected:
    """An event that cannot be taken; `index` is its place in the batch."""

    index: int
    code: str
    message: str
    message_id: str | None = None


class Arrival(Struct, frozen=True):
    """What an event shares with the request that brought it."""

    received_at: datetime
    new_id: Callable[[], str]
    sent_at: datetime | None = None
    type: str | None = None
    context: Raw = EMPTY
    integrations: Raw = EMPTY
    suspect: bool = False

    @property
    def shared_size(self) -> int:
        """Bytes that merging may add to an event; 0 where nothing is shared."""
        return len(memoryview(self.context)) + len(memoryview(self.integrations)) - 2 * len(b"{}")


class _Unfit(Exception):
    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or CODES[code])
        self.code = code


_decode_headers = msgspec.json.Decoder(Headers).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_IDS = ("userId", "anonymousId", "groupId", "previousId", "messageId")
_TIMES = ("timestamp", "originalTimestamp", "sentAt")
_OBJECTS = ("context", "integrations", "properties", "traits")


def admit(raw: Raw, index: int, arrival: Arrival) -> Accepted | Rejected:
    """The event as it enters the stream, or why it does not."""
    try:
        return _admit(raw, arrival)
    except _Unfit as unfit:
        return Rejected(index, unfit.code, str(unfit), _message_id_of(raw))


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _admit(raw: Raw, arrival: Arrival) -> Accepted:
    text = bytes(raw)
    if text[:1] != b"{":
        raise _Unfit("not_an_object")
    _refuse_dangers(text, arrival)
    try:
        headers = _decode_headers(text)
    except ValidationError:
        text = _mended(text)
        headers = _mended_headers(text)
    if headers.message_id == "":
        text = _without(text, "messageId")
        headers.message_id = UNSET
    missing_type = headers.type is UNSET
    if arrival.type is not None and headers.type != arrival.type:
        text = text if missing_type else _without(text, "type")
        headers.type, missing_type = arrival.type, True
    if headers.write_key is not UNSET:
        text = _without(text, "writeKey")
    key = _checked(headers)
    missing = _missing(headers, arrival, missing_type)
    if missing:
        text = text[:-1] + b"," + missing[1:]
    return Accepted(key, Raw(text))


def _refuse_dangers(text: bytes, arrival: Arrival) -> None:
    if len(text) + arrival.shared_size > LARGEST_EVENT and _merged_size(text, arrival) > LARGEST_EVENT:
        raise _Unfit("event_too_large")
    if code := scan.danger_in(text, arrival.suspect):
        raise _Unfit(code)


def _merged_size(text: bytes, arrival: Arrival) -> int:
    """Bytes of the event with the batch's context and integrations merged in, as it will be delivered."""
    if len(text) > LARGEST_EVENT or not arrival.shared_size:
        return len(text)
    try:
        fields = _decode_fields(text)
        for name, shared in (("context", arrival.context), ("integrations", arrival.integrations)):
            if bytes(shared) != b"{}":
                fields[name] = merged(shared, fields.get(name))
        return len(_encode(fields))
    except (msgspec.DecodeError, RecursionError):
        return len(text)


def _checked(headers: Headers) -> str:
    """The ordering key of an event that has all that its type needs."""
    key = headers.anonymous_id or headers.user_id
    if headers.type is UNSET:
        raise _Unfit("missing_type")
    if headers.type not in TYPES:
        raise _Unfit("unknown_type")
    if not key:
        raise _Unfit("missing_identifier")
    if headers.type == "track" and not headers.event:
        raise _Unfit("missing_event")
    if headers.type == "group" and not headers.group_id:
        raise _Unfit("missing_group_id")
    if headers.type == "alias" and not headers.previous_id:
        raise _Unfit("missing_previous_id")
    if headers.message_id is not UNSET and len(headers.message_id) > LONGEST_MESSAGE_ID:
        raise _Unfit("message_id_too_long")
    return key


def _missing(headers: Headers, arrival: Arrival, missing_type: bool) -> bytes:
    """What the client left out, as a JSON object; empty where nothing is."""
    if headers.message_id is not UNSET and headers.timestamp is not UNSET and not missing_type:
        return b""
    fields = {"type": headers.type} if missing_type else {}
    if headers.message_id is UNSET:
        fields["messageId"] = arrival.new_id()
    if headers.timestamp is UNSET:
        fields["timestamp"] = iso(_timestamp(headers, arrival))
    return _encode(fields)


def _timestamp(headers: Headers, arrival: Arrival) -> datetime:
    """When it happened by our clock: what the client's clock was wrong by, it was wrong by for both of its times."""
    sent_at = headers.sent_at if headers.sent_at is not UNSET else arrival.sent_at
    if headers.original_timestamp is UNSET or sent_at is None:
        return arrival.received_at
    try:
        return arrival.received_at - (_aware(sent_at) - _aware(headers.original_timestamp))
    except OverflowError:
        return arrival.received_at


def _aware(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _without(text: bytes, name: str) -> bytes:
    fields = _decode_fields(text)
    del fields[name]
    return _encode(fields)


def _mended(text: bytes) -> bytes:
    """An event whose headers are not of the types they should be, with those mended that can be without a loss."""
    fields = _decode_fields(text)
    for name in _IDS:
        _mend_id(fields, name)
    for name in _TIMES:
        _mend_time(fields, name)
    for name in ("type", "writeKey"):
        if name in fields and bytes(fields[name])[:1] != b'"':
            raise _Unfit("invalid_type", f"`{name}` must be a string")
    if "event" in fields and bytes(fields["event"])[:1] not in (b'"', b"n"):
        raise _Unfit("invalid_type", "`event` must be a string")
    for name in _OBJECTS:
        if name in fields and bytes(fields[name])[:1] not in (b"{", b"n"):
            raise _Unfit("invalid_type", f"`{name}` must be an object")
    _mend_ip(fields)
    return _encode(fields)


def _mend_id(fields: dict[str, Raw], name: str) -> None:
    """An integer as an id stands for its digits; null as a message id for none."""
    if name not in fields:
        return
    value = bytes(fields[name])
    if value[:1] == b'"':
        return
    if value == b"null":
        if name == "messageId":
            del fields[name]
    elif value.lstrip(b"-").isdigit():
        fields[name] = Raw(b'"' + value + b'"')
    else:
        raise _Unfit("invalid_type", f"`{name}` must be a string")


def _mend_time(fields: dict[str, Raw], name: str) -> None:
    """ISO 8601 has more forms than the strict one (a date alone, no colon in the zone); null stands for none."""
    if name not in fields:
        return
    value = bytes(fields[name])
    if value in (b"null", b'""'):
        del fields[name]
        return
    try:
        moment = _aware(datetime.fromisoformat(msgspec.json.decode(value, type=str)))
        moment.astimezone(UTC)
    except (ValueError, msgspec.MsgspecError, OverflowError):
        raise _Unfit("invalid_timestamp", f"`{name}` is no ISO 8601 date and time") from None


def _mend_ip(fields: dict[str, Raw]) -> None:
    """`context.ip` as true or null asks for the connection's address, which the run carries: so it is left out."""
    if "context" not in fields or bytes(fields["context"])[:1] != b"{":
        return
    context = _decode_fields(fields["context"])
    value = bytes(context.get("ip", Raw(b'""')))
    if value[:1] == b'"':
        return
    if value not in (b"true", b"null"):
        raise _Unfit("invalid_type", "`context.ip` must be a string")
    del context["ip"]
    fields["context"] = Raw(_encode(context))


class _LooseHeaders(Headers, rename="camel"):
    """Headers of a mended event: its times are ISO 8601 in any form."""

    timestamp: str | UnsetType = UNSET  # type: ignore[assignment]
    original_timestamp: str | UnsetType = UNSET  # type: ignore[assignment]
    sent_at: str | UnsetType = UNSET  # type: ignore[assignment]


_decode_loose = msgspec.json.Decoder(_LooseHeaders).decode


def _mended_headers(text: bytes) -> Headers:
    loose = _decode_loose(text)
    fields = {name: getattr(loose, name) for name in Headers.__struct_fields__}
    for name in ("timestamp", "original_timestamp", "sent_at"):
        if fields[name] is not UNSET:
            fields[name] = _aware(datetime.fromisoformat(fields[name]))
    return Headers(**fields)


def _message_id_of(raw: Raw) -> str | None:
    """The message id of an event that was refused, where one can be read."""
    try:
        found = msgspec.json.decode(_decode_fields(raw).get("messageId", Raw(b"null")))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, str) and scan.LONE_SURROGATE not in found else None
