"""A request of the tracking API: its envelope opened, its events admitted one by one and gathered into runs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from msgspec import Raw, Struct

from penstock.domain import plain, scan
from penstock.domain.event import CODES as EVENT_CODES
from penstock.domain.event import LARGEST_EVENT, Accepted, Arrival, Rejected, admit, iso
from penstock.domain.run import EMPTY, Run
from penstock.errors import Invalid, TooLarge

LARGEST_BODY = 500 * 1024
MOST_EVENTS = 2_500
LARGEST_SPREAD = 8 * 1024 * 1024
LONGEST_TIME = 64
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


@dataclass(frozen=True)
class Origin:
    """Where and when a request arrived, and which source it belongs to."""

    workspace: str
    source: str
    received_at: datetime
    ip: str | None
    new_id: Callable[[], str]
    bulk: bool = False


@dataclass(frozen=True)
class Sorted:
    """A request's events: those that enter the stream, as runs in order of first appearance, and the others."""

    runs: list[Run]
    accepted: int
    rejected: Sequence[Rejected] = ()


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_keyed = msgspec.json.Decoder(_Keyed).decode
_encode = msgspec.json.Encoder().encode


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


def sort(request: Request, origin: Origin) -> Sorted:
    """Admit each event, and gather what is good by ordering key."""
    envelope = request.envelope
    arrival = Arrival(
        received_at=origin.received_at,
        new_id=origin.new_id,
        sent_at=_moment(envelope.sent_at),
        type=request.type,
        context=envelope.context,
        integrations=envelope.integrations,
        suspect=request.suspect,
    )
    if not request.suspect:
        room = LARGEST_EVENT - arrival.shared_size
        gathered = plain.gather(request.body, envelope.batch, request.type, room)
        if gathered is not None:
            return Sorted(_runs(gathered, envelope, origin), len(envelope.batch))
    return _sorted_one_by_one(envelope, arrival, origin)


def _sorted_one_by_one(envelope: Envelope, arrival: Arrival, origin: Origin) -> Sorted:
    gathered: plain.Gathered = {}
    rejected = []
    for index, raw in enumerate(envelope.batch):
        verdict = admit(raw, index, arrival)
        if isinstance(verdict, Accepted):
            gathered.setdefault(verdict.key, []).append(verdict.event)
        else:
            rejected.append(verdict)
    return Sorted(_runs(gathered, envelope, origin), len(envelope.batch) - len(rejected), rejected)


def _runs(gathered: plain.Gathered, envelope: Envelope, origin: Origin) -> list[Run]:
    received_at = iso(origin.received_at)
    context = _with_ip(envelope.context, origin.ip)
    shared_size = len(memoryview(context)) + len(memoryview(envelope.integrations))
    if shared_size * len(gathered) > LARGEST_SPREAD:
        raise TooLarge("batch_too_wide", CODES["batch_too_wide"], "context")
    sent_at = envelope.sent_at if envelope.sent_at and len(envelope.sent_at) <= LONGEST_TIME else None
    return [
        Run(
            v=1,
            workspace=origin.workspace,
            source=origin.source,
            key=key,
            received_at=received_at,
            events=events,
            context=context,
            integrations=envelope.integrations,
            sent_at=sent_at,
            bulk=origin.bulk,
        )
        for key, events in gathered.items()
    ]


def _with_ip(context: Raw, ip: str | None) -> Raw:
    """The shared context with the connection's address, unless the client gave one."""
    if ip is None:
        return context
    fields = _decode_fields(context)
    if bytes(fields.get("ip", Raw(b"null"))) in (b"null", b"true"):
        fields["ip"] = Raw(_encode(ip))
    return Raw(_encode(fields))


def _moment(text: str | None) -> datetime | None:
    """The batch's `sentAt`; a clock that cannot be read corrects nothing."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _invalid(code: str, name: str | None) -> Invalid:
    return Invalid(code, CODES[code], name)


def answer(found: Sorted, batch: bool) -> tuple[int, bytes]:
    """(status, JSON) for a request whose accepted events are in the stream."""
    if found.rejected and not found.accepted:
        return 400, _encode({"success": False, "accepted": 0, "rejected": _reasons(found.rejected)})
    if not batch:
        return 200, b'{"success":true}'
    return 200, _encode({"success": True, "accepted": found.accepted, "rejected": _reasons(found.rejected)})


def _reasons(rejected: Sequence[Rejected]) -> list[dict[str, object]]:
    return [
        {"index": each.index, "messageId": each.message_id, "code": each.code, "message": each.message}
        for each in rejected
    ]
