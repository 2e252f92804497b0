"""What stands around the events of a request: its body inflated, its envelope decoded, its dangers cut out."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from penstock.domain import scan
from penstock.domain.event import CODES as EVENT_CODES
from penstock.domain.run import EMPTY
from penstock.errors import Invalid, TooLarge

LARGEST_BODY = 500 * 1024
MOST_EVENTS = 2_500
BATCH_LEVELS = 2  # the batch's object and list around each event

CODES = {
    "empty_body": "the request has no body",
    "invalid_encoding": "the body is neither UTF-8 nor intact gzip",
    "invalid_json": "the body is no JSON, or no JSON object",
    "invalid_batch": "`batch`, `context`, `integrations`, `sentAt` or `writeKey` of the batch cannot be taken; "
    "the message says which and why",
    "too_many_events": "the batch holds more than 2,500 events",
    "body_too_large": "the body, inflated, is over 512,000 bytes",
    "batch_too_wide": "what the batch shares, stored once for each of its ordering keys, is over 8 MiB",
}


class Envelope(Struct, rename="camel"):
    """What stands around the events; the decoder checks the types."""

    batch: list[Raw]
    context: Raw = EMPTY
    integrations: Raw = EMPTY
    sent_at: str | None = None
    write_key: str | None = None


class _Keyed(Struct, rename="camel"):
    """An event of which only the write key matters yet."""

    write_key: str | None = None


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_keyed = msgspec.json.Decoder(_Keyed).decode


def inflated(body: bytes) -> bytes:
    """The body as JSON text; gzip is told by its first bytes. Raises `TooLarge` before inflating past the limit."""
    if not body:
        raise _invalid("empty_body", None)
    if body[:2] == b"\x1f\x8b":
        body = _gunzipped(body)
    if len(body) > LARGEST_BODY:
        raise TooLarge("body_too_large", CODES["body_too_large"])
    return body


def _gunzipped(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        found = inflater.decompress(body, LARGEST_BODY + 1)
    except zlib.error:
        raise _invalid("invalid_encoding", None) from None
    if len(found) <= LARGEST_BODY and (not inflater.eof or inflater.unused_data):
        raise _invalid("invalid_encoding", None)
    return found


@dataclass
class Request:
    """One request's envelope and whether parts of it had to be cut out to decode it."""

    body: bytes
    envelope: Envelope
    suspect: bool
    type: str | None

    @property
    def write_key(self) -> str | None:
        """The key in the batch, else in its first event."""
        if self.envelope.write_key or not self.envelope.batch:
            return self.envelope.write_key
        try:
            return _decode_keyed(self.envelope.batch[0]).write_key
        except (msgspec.MsgspecError, RecursionError):
            return None


def opened(body: bytes, type_: str | None) -> Request:
    """The request in a body: a batch where `type_` is None, else one event of that type. Raises `Invalid`."""
    if not body.isascii() and not _is_utf8(body):
        raise _invalid("invalid_encoding", None)
    suspect = False
    if scan.has_surrogates(body):
        mended = scan.without_lone_surrogates(body.decode()).encode()
        suspect, body = mended != body, mended
    try:
        envelope = _envelope(body, type_)
    except (msgspec.DecodeError, RecursionError):
        suspect, envelope = True, _rescued_envelope(body, type_)
    _refuse_unreadable(envelope, suspect)
    return Request(body, envelope, suspect, type_)


def _is_utf8(body: bytes) -> bool:
    try:
        str(body, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _rescued_envelope(body: bytes, type_: str | None) -> Envelope:
    """With all that no strict decoder takes cut out, so that it costs only the events that hold it."""
    text = scan.without_depths(scan.without_no_numbers(body.decode()), BATCH_LEVELS if type_ is None else 0)
    try:
        return _envelope(text.encode(), type_)
    except (msgspec.DecodeError, RecursionError):
        raise _invalid("invalid_json", None) from None


def _envelope(body: bytes, type_: str | None) -> Envelope:
    """Raises what msgspec raises for what is no JSON."""
    try:
        if type_ is not None:
            _decode_fields(body)  # one whole JSON object, and nothing after it
            return Envelope([Raw(body.strip())])
        envelope = _decode_envelope(body)
    except msgspec.ValidationError as error:
        raise _wrong_envelope(body, error) from None
    for name in ("context", "integrations"):
        value = bytes(getattr(envelope, name))
        if value == b"null":
            setattr(envelope, name, EMPTY)
        elif value[:1] != b"{":
            raise Invalid("invalid_batch", f"`{name}` must be an object", name)
    if len(envelope.batch) > MOST_EVENTS:
        raise TooLarge("too_many_events", CODES["too_many_events"], "batch")
    return envelope


def _refuse_unreadable(envelope: Envelope, suspect: bool) -> None:
    """What all events share has to be as readable as each of them."""
    for name in ("context", "integrations"):
        if code := scan.danger_in(bytes(getattr(envelope, name)), suspect):
            raise Invalid("invalid_batch", f"`{name}`: {EVENT_CODES[code]}", name)
    if suspect and scan.LONE_SURROGATE in (envelope.sent_at or ""):
        raise Invalid("invalid_batch", f"`sentAt`: {EVENT_CODES['invalid_unicode']}", "sentAt")


def _wrong_envelope(body: bytes, error: msgspec.ValidationError) -> Invalid:
    try:
        fields = _decode_fields(body)
    except msgspec.MsgspecError:
        return Invalid("invalid_json", "the body must be a JSON object")
    if "batch" not in fields:
        return Invalid("invalid_batch", "`batch` is missing: a list of events", "batch")
    wrong = str(error).rpartition("$.")[2].rstrip("`") or "batch"
    return Invalid(
        "invalid_batch", f"`{wrong}` must be {'a list of events' if wrong == 'batch' else 'a string'}", wrong
    )


def _invalid(code: str, name: str | None) -> Invalid:
    return Invalid(code, CODES[code], name)
