"""The books: what receipts say of a destination's events, added up so that nothing counts twice.

Fan-out's receipts name records of the stream, deliver's name events of jobs. Whatever was replayed stands in several
receipts and counts once: a record by the earliest of them; an event as delivered if any of them says so, else by the
earliest. So the sum is the same in whatever order, and however often, receipts are read.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec import Struct

DELIVERED = "d"
_LETTERS = string.ascii_letters.replace(DELIVERED, "")


class FanoutReceipt(Struct, frozen=True):
    """What one invocation of fan-out did for a destination: `records` maps a record's id to (accepted, filtered)."""

    at: str
    records: Mapping[str, tuple[int, int]]


class CreatedReceipt(Struct, frozen=True):
    """What the hub itself made for a destination, such as schema changes: by job id, how many events."""

    at: str
    jobs: Mapping[str, int]


class JobReceipt(Struct, frozen=True, rename={"first": "from"}):
    """The fates of a job's events from index `first` on, one character each; `d` is delivered."""

    first: int
    codes: str


class DeliverReceipt(Struct, frozen=True):
    """What one invocation of deliver did for a destination; `reasons` says what its characters but `d` mean."""

    at: str
    jobs: Mapping[str, JobReceipt]
    reasons: Mapping[str, str] = {}


Receipt: TypeAlias = FanoutReceipt | CreatedReceipt | DeliverReceipt


@dataclass
class Books:
    """accepted + created = filtered + delivered + the sum of discarded + what is still queued."""

    accepted: int = 0
    filtered: int = 0
    delivered: int = 0
    discarded: Counter[str] = field(default_factory=Counter)
    created: int = 0

    @property
    def outcomes(self) -> int:
        return self.filtered + self.delivered + self.discarded.total()


def deliver_receipt(at: str, fates: Mapping[str, tuple[int, Sequence[str]]]) -> DeliverReceipt:
    """The receipt for jobs: by job id, the index of the first event that was settled and the fates from there on.

    A fate is `DELIVERED` or the reason of a discard.
    """
    reasons = sorted({fate for _, theirs in fates.values() for fate in theirs if fate != DELIVERED})
    codes = {reason: _code(number) for number, reason in enumerate(reasons)} | {DELIVERED: DELIVERED}
    jobs = {
        job_id: JobReceipt(first, "".join(codes[fate] for fate in theirs)) for job_id, (first, theirs) in fates.items()
    }
    return DeliverReceipt(at, jobs, {codes[reason]: reason for reason in reasons})


def _code(number: int) -> str:
    return _LETTERS[number] if number < len(_LETTERS) else chr(0x100 + number)


def add_up(receipts: Iterable[Receipt]) -> Books:
    """The books of one destination from all its receipts, in any order and however often repeated."""
    records: dict[str, tuple[str, tuple[int, int]]] = {}
    created: dict[str, int] = {}
    events: dict[tuple[str, int], tuple[bool, str, str]] = {}
    for receipt in receipts:
        if isinstance(receipt, FanoutReceipt):
            for record_id, counts in receipt.records.items():
                said = (receipt.at, counts)
                records[record_id] = min(records.get(record_id, said), said)
        elif isinstance(receipt, CreatedReceipt):
            created |= receipt.jobs
        else:
            for event, fate in _fates(receipt):
                events[event] = min(events.get(event, fate), fate)
    discarded = Counter(reason for is_discard, _, reason in events.values() if is_discard)
    return Books(
        accepted=sum(accepted for _, (accepted, _) in records.values()),
        filtered=sum(filtered for _, (_, filtered) in records.values()),
        delivered=len(events) - discarded.total(),
        discarded=discarded,
        created=sum(created.values()),
    )


def _fates(receipt: DeliverReceipt) -> Iterable[tuple[tuple[str, int], tuple[bool, str, str]]]:
    """((job, index), (is a discard, when, why)): the least of an event's fates is the one that counts."""
    for job_id, job in receipt.jobs.items():
        for index, code in enumerate(job.codes, job.first):
            yield (job_id, index), (code != DELIVERED, receipt.at, receipt.reasons.get(code, ""))
