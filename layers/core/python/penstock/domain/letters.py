"""Letters: events that a destination did not take, dead or discarded, kept whole with what was sent and answered.

A letter's place is that of its event in the streams, so that letters of one ordering key sort in its order, and an
event that is kept twice is kept once: `<turn>#<sequence number, 56 digits>#<shard>#<chunk>#<index>`. A key's events are
in order by the turn of their source (`turns.py`), and within a turn by sequence number. What failed again after a
replay stands right behind what it was replayed from: its place ends with the replay's id.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Raw, Struct

from penstock.domain.event import iso
from penstock.domain.job import Job
from penstock.domain.progress import Progress
from penstock.domain.run import Run
from penstock.domain.webhook_settings import MASK, sounds_secret

Kind: TypeAlias = Literal["dead", "discarded"]
LARGEST_BODY = 4 * 1024  # of an answer
SHOWN = frozenset({"idempotency-key"})  # sounds secret, and is none

_REPLAYED = re.compile(r"(.+)\.(\d{1,6})\.(rpl_[a-z0-9]{12})", re.DOTALL)
_RECORD = re.compile(r"(.+)-(\d{1,56})-(\d{1,6})", re.DOTALL)
_NUMBERED = re.compile(r"(.+)-(\d{1,56})", re.DOTALL)
_ODD = re.compile(r"[^\w.:-]", re.ASCII)
_PLACE = re.compile(r"\d{6}#\d{56}#[\w.:-]{1,60}#\d{6}#\d{6}(#rpl_[a-z0-9]{12})?", re.ASCII)
FIRST_TURN = "000000#"
LONGEST_NAME = 60


class Sent(Struct, frozen=True):
    """The request as it went out, the values of secret headers masked."""

    url: str
    headers: dict[str, str]
    body: str


class Received(Struct, frozen=True):
    """What came back: `status` and `headers` of an answer with its first 4 KB, or the `trouble` in place of one."""

    status: int | None
    trouble: str | None
    headers: dict[str, str]
    body: str


class Letter(Struct, frozen=True, kw_only=True):
    """One event, whole; `run` is the one that it came with, without its events.

    `job` and `index` say where it stood. `first_at` is when it was first tried, where it was tried at all.
    """

    kind: Kind
    reason: str
    at: str
    job: str
    index: int
    run: Run
    event: Raw
    attempts: int = 0
    first_at: str | None = None
    request: Sent | None = None
    response: Received | None = None

    @property
    def place(self) -> str:
        return place_of(self.job, self.index, self.run.turn)


class Origin(NamedTuple):
    """The job under which an event first came, its number in there, and the replay that it came by since."""

    job: str
    number: int
    replay: str | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode


def encode_letter(letter: Letter) -> bytes:
    return _encode(letter)


def decode_letter(text: bytes) -> Letter:
    return _decode(text)


def unsent(job: Job, note: Progress, reason: str, at: str) -> list[Letter]:
    """A dead letter of each event of a job that still waits; `note` says which do, and what came of the first."""
    run = msgspec.structs.replace(job.run, events=[])
    found = []
    for index in range(note.done, len(job.run.events)):
        tried = note if index == note.done and note.attempts else None
        found.append(
            Letter(
                kind="dead",
                reason=reason,
                at=at,
                job=job.id,
                index=index,
                run=run,
                event=job.run.events[index],
                attempts=tried.attempts if tried else 0,
                first_at=iso(datetime.fromtimestamp(tried.first_at, UTC)) if tried else None,
            )
        )
    return found


def sent(url: str, headers: Mapping[str, str], body: bytes) -> Sent:
    return Sent(url, masked(headers), body.decode("utf-8", "replace"))


def received(status: int | None, trouble: str | None, headers: Mapping[str, str], body: bytes) -> Received:
    return Received(status, trouble, masked(headers), body[:LARGEST_BODY].decode("utf-8", "replace"))


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with a mask for every value that may be a secret, a signature included."""
    return {name: MASK if _is_secret(name) else value for name, value in headers.items()}


def _is_secret(name: str) -> bool:
    return sounds_secret(name) and name.lower() not in SHOWN


def origin_of(job: str, index: int) -> Origin:
    found = _REPLAYED.fullmatch(job)
    return Origin(found[1], int(found[2]), found[3]) if found else Origin(job, index, None)


def place_of(job: str, index: int, turn: int = 0) -> str:
    """Where a job's event stands among letters."""
    origin = origin_of(job, index)
    record, numbered = _RECORD.fullmatch(origin.job), _NUMBERED.fullmatch(origin.job)
    if record:
        name, number, chunk = record[1], record[2], int(record[3])
    elif numbered:
        name, number, chunk = numbered[1], numbered[2], 0
    else:
        name, number, chunk = origin.job, "0", 0
    place = f"{turn:06d}#{number.zfill(56)}#{_ODD.sub('_', name)[:LONGEST_NAME]}#{chunk:06d}#{origin.number:06d}"
    return f"{place}#{origin.replay}" if origin.replay else place


def in_first_turn(place: str) -> str:
    """The place as whoever names it that knows no turn."""
    return FIRST_TURN + place.partition("#")[2]


def event_at(place: str) -> str:
    """The place of the event itself, whichever replay it failed in."""
    return place.partition("#rpl_")[0]


def id_of(place: str) -> str:
    """A letter's id: says where it stands and not whose it is, so that it opens nothing but the caller's own."""
    turn, number, rest = place.split("#", 2)
    text = f"{turn.lstrip('0')}#{number.lstrip('0')}#{rest}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_in(letter_id: str) -> str | None:
    """The place that an id says, None for text that is no letter's id."""
    try:
        text = base64.b64decode(letter_id + "=" * (-len(letter_id) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        return None
    turn, number, rest = (*text.split("#", 2), "", "")[:3]
    place = f"{turn.zfill(6)}#{number.zfill(56)}#{rest}"
    return place if _PLACE.fullmatch(place) and id_of(place) == letter_id else None


def job_from(letter: Letter, replay: str, destination: str) -> Job:
    """The letter's event as a job of its own: the same however often the replay comes to it."""
    origin = origin_of(letter.job, letter.index)
    run = msgspec.structs.replace(letter.run, events=[letter.event])
    return Job(1, f"{origin.job}.{origin.number}.{replay}", destination, run, replay)


class Named(NamedTuple):
    """What an event says of itself, as far as it can be read."""

    type: str | None
    event: str | None
    message_id: str | None


def named(event: Raw) -> Named:
    try:
        fields = msgspec.json.decode(event, type=dict[str, Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Named(None, None, None)
    return Named(_text(fields.get("type")), _text(fields.get("event")), _text(fields.get("messageId")))


def _text(value: Raw | None) -> str | None:
    try:
        found: Any = msgspec.json.decode(value or b"null", type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found or None
