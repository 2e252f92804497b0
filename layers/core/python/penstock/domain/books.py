"""The books: what receipts say of a destination's events, added up so that nothing counts twice.

Fan-out's receipts name records of the stream, deliver's name events of jobs. Whatever was replayed stands in several
receipts and counts once: a record by the earliest of them; an event as delivered if any of them says so, else by the
earliest. So the sum is the same in whatever order, and however often, receipts are read.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from msgspec import Struct

DELIVERED = "d"
DEAD = "dead:"  # what the reason of an event begins with that was given up
_LETTERS = string.ascii_letters.replace(DELIVERED, "")


class RecordReceipt(Struct, frozen=True, array_like=True):
    """What became of one record of the stream at a destination; `accepted` counts no duplicates.

    `taken` has a character for every event of the record, `1` for those that went on, and is empty where all did;
    `chunks` says how many events each of its jobs got, and is empty where there is one job.
    """

    accepted: int
    filtered: int
    duplicates: int = 0
    taken: str = ""
    chunks: tuple[int, ...] = ()


class FanoutReceipt(Struct, frozen=True):
    """What one invocation of fan-out did for a destination, by the ids of records."""

    at: str
    records: Mapping[str, RecordReceipt]


class CreatedReceipt(Struct, frozen=True):
    """What the hub itself made for a destination, such as schema changes: by job id, how many events."""

    at: str
    jobs: Mapping[str, int]


class JobReceipt(Struct, frozen=True, rename={"first": "from"}, omit_defaults=True):
    """The fates of a job's events from index `first` on, one character each; `d` is delivered.

    `again` marks a job that was received before: an earlier row may tell of the same events.
    """

    first: int
    codes: str
    again: bool = False


class Cause(Struct, frozen=True, omit_defaults=True):
    """How often one cause kept events from being delivered, and the last of them as a sample.

    `body` is the beginning of what the tool answered.
    """

    count: int
    message_id: str
    status: int | None = None
    body: str = ""


class DeliverReceipt(Struct, frozen=True):
    """What one invocation of deliver did for a destination.

    `reasons` says what the characters of `jobs` but `d` mean: a discard's reason, or `dead:` and one. `retried` are
    failed tries that are followed by another. `delays` counts delivered events by the bucket (`delays.bucket`) of the
    time since they were accepted. `causes` are by reason. `waiting` has the jobs that failed and come again, with when
    they were accepted.
    """

    at: str
    jobs: Mapping[str, JobReceipt]
    reasons: Mapping[str, str] = {}
    retried: int = 0
    delays: Mapping[int, int] = {}
    causes: Mapping[str, Cause] = {}
    waiting: Mapping[str, str] = {}


Receipt: TypeAlias = FanoutReceipt | CreatedReceipt | DeliverReceipt


@dataclass
class Books:
    """accepted + created = filtered + delivered + discarded + dead + what is still queued; duplicates come on top."""

    accepted: int = 0
    filtered: int = 0
    delivered: int = 0
    discarded: Counter[str] = field(default_factory=Counter)
    created: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0

    @property
    def outcomes(self) -> int:
        return self.filtered + self.delivered + self.discarded.total() + self.dead.total()


def deliver_receipt(
    at: str, fates: Mapping[str, tuple[int, Sequence[str]]], again: Set[str] = frozenset(), **more: Any
) -> DeliverReceipt:
    """The receipt for jobs: by job id, the index of the first event that was settled and the fates from there on.

    A fate is `DELIVERED`, the reason of a discard, or `DEAD` and the reason. `again` are the ids of jobs that were
    received before.
    """
    reasons = sorted({fate for _, theirs in fates.values() for fate in theirs if fate != DELIVERED})
    codes = {reason: _code(number) for number, reason in enumerate(reasons)} | {DELIVERED: DELIVERED}
    jobs = {
        job_id: JobReceipt(first, "".join(codes[fate] for fate in theirs), job_id in again)
        for job_id, (first, theirs) in fates.items()
    }
    return DeliverReceipt(at, jobs, {codes[reason]: reason for reason in reasons}, **more)


def _code(number: int) -> str:
    return _LETTERS[number] if number < len(_LETTERS) else chr(0x100 + number)


def add_up(receipts: Iterable[Receipt]) -> Books:
    """The books of one destination from all its receipts, in any order and however often repeated."""
    records: dict[str, tuple[str, RecordReceipt]] = {}
    created: dict[str, int] = {}
    events: dict[tuple[str, int], tuple[bool, str, str]] = {}
    for receipt in receipts:
        if isinstance(receipt, FanoutReceipt):
            for record_id, counts in receipt.records.items():
                said = (receipt.at, counts)
                records[record_id] = min(records.get(record_id, said), said, key=_when_and_what)
        elif isinstance(receipt, CreatedReceipt):
            created |= receipt.jobs
        else:
            for event, fate in _fates(receipt):
                events[event] = min(events.get(event, fate), fate)
    reasons = Counter(reason for is_other, _, reason in events.values() if is_other)
    return Books(
        accepted=sum(each.accepted for _, each in records.values()),
        filtered=sum(each.filtered for _, each in records.values()),
        delivered=len(events) - reasons.total(),
        discarded=Counter({reason: count for reason, count in reasons.items() if not reason.startswith(DEAD)}),
        created=sum(created.values()),
        dead=Counter({why.removeprefix(DEAD): count for why, count in reasons.items() if why.startswith(DEAD)}),
        duplicates=sum(each.duplicates for _, each in records.values()),
    )


def _when_and_what(said: tuple[str, RecordReceipt]) -> tuple[str, int, int, int]:
    at, counts = said
    return at, counts.accepted, counts.filtered, counts.duplicates


def _fates(receipt: DeliverReceipt) -> Iterable[tuple[tuple[str, int], tuple[bool, str, str]]]:
    """((job, index), (was not delivered, when, why)): the least of an event's fates is the one that counts."""
    for job_id, job in receipt.jobs.items():
        for index, code in enumerate(job.codes, job.first):
            yield (job_id, index), (code != DELIVERED, receipt.at, receipt.reasons.get(code, ""))
