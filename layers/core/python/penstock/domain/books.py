"""The books: what receipts say of a destination's events, added up so that nothing counts twice.

Fan-out's receipts name records of the stream, deliver's name events of jobs. Whatever was replayed stands in several
receipts; each record, and each event of a job, counts by the first receipt that names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

DELIVERED = "d"


class FanoutReceipt(Struct, frozen=True):
    """What one invocation of fan-out did for a destination: `records` maps a record's id to (accepted, filtered)."""

    at: str
    records: Mapping[str, tuple[int, int]]


class JobReceipt(Struct, frozen=True, rename={"first": "from"}):
    """The fates of a job's events from index `first` on, one character each; `d` is delivered."""

    first: int
    codes: str


class DeliverReceipt(Struct, frozen=True):
    """What one invocation of deliver did for a destination; `reasons` says what its characters but `d` mean."""

    at: str
    jobs: Mapping[str, JobReceipt]
    reasons: Mapping[str, str] = {}


@dataclass
class Books:
    """accepted = delivered + filtered + the sum of discarded + what is still queued."""

    accepted: int = 0
    filtered: int = 0
    delivered: int = 0
    discarded: Counter[str] = field(default_factory=Counter)

    @property
    def outcomes(self) -> int:
        return self.filtered + self.delivered + self.discarded.total()


def add_up(receipts: Iterable[FanoutReceipt | DeliverReceipt]) -> Books:
    """The books of one destination from all its receipts, in any order and however often repeated."""
    books = Books()
    records: set[str] = set()
    events: set[tuple[str, int]] = set()
    for receipt in sorted(receipts, key=lambda each: each.at):
        if isinstance(receipt, FanoutReceipt):
            _add_records(books, receipt, records)
        else:
            _add_jobs(books, receipt, events)
    return books


def _add_records(books: Books, receipt: FanoutReceipt, seen: set[str]) -> None:
    for record_id, (accepted, filtered) in receipt.records.items():
        if record_id not in seen:
            seen.add(record_id)
            books.accepted += accepted
            books.filtered += filtered


def _add_jobs(books: Books, receipt: DeliverReceipt, seen: set[tuple[str, int]]) -> None:
    for job_id, job in receipt.jobs.items():
        for index, code in enumerate(job.codes, job.first):
            if (job_id, index) in seen:
                continue
            seen.add((job_id, index))
            if code == DELIVERED:
                books.delivered += 1
            else:
                books.discarded[receipt.reasons[code]] += 1
