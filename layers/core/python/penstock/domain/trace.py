"""What became of one event: where it stood, and its verdict at each destination."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.domain.books import DEAD, DELIVERED, DeliverReceipt, RecordReceipt
from penstock.domain.dedup import Claims, claimant
from penstock.domain.event import LONGEST_MESSAGE_ID
from penstock.domain.job import record_of
from penstock.domain.letter_index import LetterEntry
from penstock.domain.letters import Letter
from penstock.domain.progress import Progress
from penstock.errors import Invalid, NotFound

Verdict: TypeAlias = Literal["delivered", "filtered", "discarded", "dead", "waiting", "unknown"]
LONGEST_USER = 32_768
_SOURCE = re.compile(r"src_[a-z0-9]{12}")

BEHIND = "behind_others"  # it waits for its turn: it was not tried yet
KEPT_AWAY = "kept_away"  # by a subscription, by `integrations`, by a tracking plan, or because it was disabled
CHOSEN_ANEW = "settings_changed"  # between two tries of fan-out: which of them sent what its queue has is not known
NO_RECEIPT, NOT_FOUND, NO_TIME = "no_receipt", "not_found_among_receipts", "out_of_time"


class LastAnswer(Struct, frozen=True):
    """What the tool said last, or the `trouble` in place of an answer; the beginning of the body alone."""

    status: int | None
    trouble: str | None
    body: str


class DestinationTrace(Struct, frozen=True, kw_only=True):
    """One destination's verdict. `reason` says why it is no delivery; `at` is when it fell, or the next try is due."""

    id: str
    name: str
    verdict: Verdict
    reason: str | None = None
    attempts: int | None = None
    at: str | None = None
    last: LastAnswer | None = None
    replay: str | None = None


class EventTrace(Struct, frozen=True):
    """An event of this messageId that went on: as the `index`-th of a record of the stream, on a day of arrival.

    `accepted_at` is when it was taken off the stream, which is when a destination's queue got it.
    """

    source: str
    day: str
    record: str
    index: int
    accepted_at: str | None
    destinations: list[DestinationTrace]


class TraceView(Struct, frozen=True):
    """More than one event where the messageId came again after its window, or from several sources.

    What was left out as a duplicate left no name, and is not among them. `unasked_sources` may have got it too: there
    was no time to look.
    """

    message_id: str
    user: str
    events: list[EventTrace]
    unasked_sources: list[str]


class Place(Struct, frozen=True):
    """Where an event stands in a destination's queue: a job, and its index in it."""

    job: str
    index: int


class Held(Struct, frozen=True):
    """The claim of an event on its messageId, told back."""

    day: str
    record: str
    index: int

    @property
    def shard(self) -> str:
        return shard_of(self.record)

    @property
    def number(self) -> int:
        return number_of(self.record)


def shard_of(record: str) -> str:
    return record.rpartition("-")[0]


def number_of(record: str) -> int:
    return int(record.rpartition("-")[2])


def checked(message_id: str | None, user: str | None, source: str | None) -> tuple[str, str]:
    """Raises `Invalid` where one is missing or no source's id, `NotFound` for what no event's messageId can be."""
    if not message_id:
        raise Invalid("missing_message_id", "message_id names the event", "message_id")
    if len(message_id) > LONGEST_MESSAGE_ID:
        raise NotFound("message_not_found", "no event has a messageId of 100 characters or more")
    if not user or len(user) > LONGEST_USER:
        raise Invalid("missing_user", "user is the event's anonymousId, or its userId where it has none", "user")
    if source is not None and not _SOURCE.fullmatch(source):
        raise Invalid("invalid_source", "source is the id of a source", "source")
    return message_id, user


def held(claims: Mapping[str, Claims], id_: str) -> list[Held]:
    """The claims on a messageId by day, but for those that a claim of the day before outdid."""
    found: list[Held] = []
    for day in sorted(claims):
        if id_ in claims[day] and not (found and _is_day_before(found[-1].day, day)):
            found.append(Held(day, *claimant(claims[day][id_])))
    return found


def place_in(receipt: RecordReceipt, of: Held) -> Place | None:
    """The job that an event of the record went into and where; None where it went into none."""
    if receipt.accepted == receipt.filtered or (receipt.taken and receipt.taken[of.index : of.index + 1] != "1"):
        return None
    left = receipt.taken[: of.index].count("1") if receipt.taken else of.index
    for chunk, size in enumerate(receipt.chunks):
        if left < size:
            return Place(f"{of.record}-{chunk}", left)
        left -= size
    return Place(f"{of.record}-0", left)


def is_as_told(receipt: RecordReceipt, record_id: str, sizes: Mapping[str, int]) -> bool:
    """Whether jobs of the record, of which deliver tells the sizes, can be those that fan-out tells of."""
    told = {f"{record_id}-{chunk}": size for chunk, size in enumerate(receipt.sizes)}
    return sizes.items() <= told.items()


def sizes_in(receipt: DeliverReceipt, record_id: str) -> dict[str, int]:
    return {job_id: job.size for job_id, job in receipt.jobs.items() if record_of(job_id) == record_id}


def fate_in(receipt: DeliverReceipt, place: Place) -> tuple[Verdict, str | None] | None:
    """What a receipt of deliver says of an event, None where nothing."""
    job = receipt.jobs.get(place.job)
    if job is None or not job.first <= place.index < job.first + len(job.codes):
        return None
    code = job.codes[place.index - job.first]
    if code == DELIVERED:
        return "delivered", None
    reason = receipt.reasons.get(code, "")
    return ("dead", reason.removeprefix(DEAD)) if reason.startswith(DEAD) else ("discarded", reason)


def of_letter(id_: str, name: str, entry: LetterEntry, letter: Letter | None) -> DestinationTrace:
    response = letter.response if letter else None
    return DestinationTrace(
        id=id_,
        name=name,
        verdict=entry.kind,
        reason=entry.reason,
        attempts=entry.attempts,
        at=entry.at,
        last=LastAnswer(response.status, response.trouble, response.body) if response else None,
        replay=entry.replay,
    )


def attempts_in(note: Progress | None, place: Place) -> int:
    """How many tries of the event have failed, as far as its job's note says so."""
    return note.attempts if note and note.done == place.index else 0


def last_in(note: Progress | None, place: Place) -> LastAnswer | None:
    """The last failure of an event that is tried again, by its job's note."""
    if note is None or not attempts_in(note, place):
        return None
    status = note.last.removeprefix("http_")
    is_status = status != note.last and status.isdigit()
    return LastAnswer(int(status) if is_status else None, None if is_status else note.last, note.answer)


def _is_day_before(one: str, other: str) -> bool:
    return (date.fromisoformat(other) - date.fromisoformat(one)).days == 1
