"""The books: what receipts say of a destination's events, added up so that nothing counts twice.

Fan-out's receipts name records of the stream, deliver's name events of jobs. Whatever was replayed stands in several
receipts and counts once: a record by the earliest of them; an event as delivered if any of them says so, else by the
earliest. So the sum is the same in whatever order, and however often, receipts are read.

Two tries of fan-out may choose by different settings, and the queue keeps the jobs of the first. So what a record
brought is the size of its jobs by deliver, who had them in hand, and by fan-out only as long as deliver is silent. In
the same way an event that a replay sent was created if it has an outcome, whoever noted that it was.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from msgspec import Struct

from penstock.domain.job import record_of, replay_of

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

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many events each of its jobs got, one job or none included."""
        sent = self.accepted - self.filtered
        return self.chunks or ((sent,) if sent else ())


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

    `again` marks a job that was received before: an earlier row may tell of the same events. `left` counts its events
    behind those told of.
    """

    first: int
    codes: str
    again: bool = False
    left: int = 0

    @property
    def size(self) -> int:
        return self.first + len(self.codes) + self.left


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
    at: str,
    fates: Mapping[str, tuple[int, Sequence[str]]],
    again: Set[str] = frozenset(),
    left: Mapping[str, int] = {},
    **more: Any,
) -> DeliverReceipt:
    """The receipt for jobs: by job id, the index of the first event that was settled and the fates from there on.

    A fate is `DELIVERED`, the reason of a discard, or `DEAD` and the reason. `again` are the ids of jobs that were
    received before; `left` says how many events are behind those, where there are any.
    """
    reasons = sorted({fate for _, theirs in fates.values() for fate in theirs if fate != DELIVERED})
    codes = {reason: _code(number) for number, reason in enumerate(reasons)} | {DELIVERED: DELIVERED}
    jobs = {
        job_id: JobReceipt(first, "".join(codes[fate] for fate in theirs), job_id in again, left.get(job_id, 0))
        for job_id, (first, theirs) in fates.items()
    }
    return DeliverReceipt(at, jobs, {codes[reason]: reason for reason in reasons}, **more)


def _code(number: int) -> str:
    return _LETTERS[number] if number < len(_LETTERS) else chr(0x100 + number)


def names_in(receipts: Iterable[Receipt]) -> set[str]:
    """The records that receipts tell of, and the jobs that come of none."""
    names: set[str] = set()
    for receipt in receipts:
        names |= receipt.records.keys() if isinstance(receipt, FanoutReceipt) else {_name(job) for job in receipt.jobs}
    return names


def about(names: Set[str], receipt: Receipt) -> Receipt | None:
    """What a receipt tells of these, as far as the books go; None if nothing."""
    if isinstance(receipt, FanoutReceipt):
        records = {record_id: counts for record_id, counts in receipt.records.items() if record_id in names}
        return FanoutReceipt(receipt.at, records) if records else None
    jobs: dict[str, Any] = {job_id: job for job_id, job in receipt.jobs.items() if _name(job_id) in names}
    if not jobs:
        return None
    if isinstance(receipt, CreatedReceipt):
        return CreatedReceipt(receipt.at, jobs)
    return DeliverReceipt(receipt.at, jobs, receipt.reasons)


def _name(job_id: str) -> str:
    return record_of(job_id) or job_id


def add_up(receipts: Iterable[Receipt], is_proof: Callable[[str, str], bool] | None = None) -> Books:
    """The books of one destination from all its receipts, in any order and however often repeated.

    `is_proof`, of a replay's job and when an outcome of it was told, says whether that proves its creation, as else
    each does.
    """
    records: dict[str, set[tuple[str, RecordReceipt]]] = {}
    sizes: dict[str, dict[str, int]] = {}
    created: dict[str, int] = {}
    events: dict[tuple[str, int], tuple[bool, str, str]] = {}
    for receipt in receipts:
        if isinstance(receipt, FanoutReceipt):
            for record_id, counts in receipt.records.items():
                records.setdefault(record_id, set()).add((receipt.at, counts))
        elif isinstance(receipt, CreatedReceipt):
            created |= receipt.jobs
        else:
            for job_id, job in receipt.jobs.items():
                record = record_of(job_id)
                if record is not None:
                    theirs = sizes.setdefault(record, {})
                    theirs[job_id] = max(theirs.get(job_id, 0), job.size)
                elif replay_of(job_id) and (is_proof is None or is_proof(job_id, receipt.at)):
                    created.setdefault(job_id, 1)
            for event, fate in _fates(receipt):
                events[event] = min(events.get(event, fate), fate)
    reasons = Counter(reason for is_other, _, reason in events.values() if is_other)
    books = Books(
        delivered=len(events) - reasons.total(),
        discarded=Counter({reason: count for reason, count in reasons.items() if not reason.startswith(DEAD)}),
        created=sum(created.values()),
        dead=Counter({why.removeprefix(DEAD): count for why, count in reasons.items() if why.startswith(DEAD)}),
    )
    for record_id, said in records.items():
        _enter(books, record_id, sorted(said, key=_when_and_what), sizes.get(record_id, {}))
    return books


def _enter(books: Books, record_id: str, said: Sequence[tuple[str, RecordReceipt]], sizes: Mapping[str, int]) -> None:
    """A record by its receipts in the order of time, and the sizes of those of its jobs that deliver tells of."""
    jobs: dict[str, int] = {}
    for _, counts in reversed(said):
        jobs |= {f"{record_id}-{chunk}": size for chunk, size in enumerate(counts.sizes)}
    _, first = said[0]
    brought = sum({**jobs, **sizes}.values())
    books.accepted += first.accepted
    books.duplicates += first.duplicates
    books.filtered += max(first.accepted - brought, 0)
    books.created += max(brought - first.accepted, 0)  # two tries sent the same events in jobs of different ids


def _when_and_what(said: tuple[str, RecordReceipt]) -> tuple[str, int, int, int, str, tuple[int, ...]]:
    at, counts = said
    return at, counts.accepted, counts.filtered, counts.duplicates, counts.taken, counts.chunks


def _fates(receipt: DeliverReceipt) -> Iterable[tuple[tuple[str, int], tuple[bool, str, str]]]:
    """((job, index), (was not delivered, when, why)): the least of an event's fates is the one that counts."""
    for job_id, job in receipt.jobs.items():
        for index, code in enumerate(job.codes, job.first):
            yield (job_id, index), (code != DELIVERED, receipt.at, receipt.reasons.get(code, ""))
