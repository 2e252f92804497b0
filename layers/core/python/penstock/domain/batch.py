"""The events of a request: admitted all at once or one by one, gathered into runs, and what the client is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from msgspec import Raw

from penstock.domain import plain
from penstock.domain.envelope import CODES, Envelope, Request
from penstock.domain.event import LARGEST_EVENT, Accepted, Arrival, Rejected, admit, iso
from penstock.domain.run import Run
from penstock.domain.turns import FIRST, Turn
from penstock.errors import TooLarge

LARGEST_SPREAD = 8 * 1024 * 1024
LONGEST_TIME = 64


@dataclass(frozen=True)
class Origin:
    """Where and when a request arrived, and which source it belongs to."""

    workspace: str
    source: str
    received_at: datetime
    ip: str | None
    new_id: Callable[[], str]
    bulk: bool = False
    turn: Turn = FIRST


@dataclass(frozen=True)
class Sorted:
    """A request's events: those that enter the stream, as runs in order of first appearance, and the others."""

    runs: list[Run]
    accepted: int
    rejected: Sequence[Rejected] = ()


_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


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
            turn=origin.turn.number,
            early=origin.turn.early,
            late=origin.turn.late,
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
