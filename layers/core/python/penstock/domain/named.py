"""What a minute's receipts name, as digests: by these it is known which earlier minutes speak of the same.

Two minutes have to be read together where both tell of a record, or both of its jobs. Where one has fan-out's word of a
record and the other deliver's, which is so for every event, they have to be only if they do not agree on how many
events a job has. So each job is named once more with its size, by both. Where deliver has spoken first, which is rare,
they always are: it may have had more jobs in hand than fan-out tells of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from penstock.domain import replays
from penstock.domain.books import CreatedReceipt, FanoutReceipt, Receipt
from penstock.domain.job import record_of, replay_of
from penstock.domain.timestamps import instant

DIGEST_BYTES = 6  # of a hundred thousand ids two are alike once in fifty thousand: it costs a look at one minute more
YOUNG_S = 3_000.0  # the notes of what a replay sent are not older than that and still looked for

Digests: TypeAlias = frozenset[bytes]


class Named(NamedTuple):
    """`digests` are kept with the minute; `same` finds what tells of the same again.

    `others` has for each record what the other side's word of it is named by, and what it is as well if both agree.
    """

    digests: Digests
    same: Digests
    others: Mapping[bytes, Digests]

    def among(self, minutes: Mapping[str, Digests]) -> list[str]:
        """Those of the minutes that have to be read with this one, in the order of time."""
        wanted, others = set(self.same), frozenset(self.others)
        for theirs in minutes.values():
            for other in others & theirs:
                agreed = self.others[other]
                if not agreed or not agreed <= theirs:
                    wanted.add(other)
        return [at for at, theirs in sorted(minutes.items()) if not theirs.isdisjoint(wanted)]


def named(receipts: Iterable[Receipt]) -> Named:
    same: set[bytes] = set()
    records: dict[str, set[str]] = {}
    jobs: dict[str, set[str]] = {}
    sizes: dict[str, set[int]] = {}
    for receipt in receipts:
        if isinstance(receipt, FanoutReceipt):
            for record_id, counts in receipt.records.items():
                theirs = records.setdefault(record_id, set())
                for chunk, size in enumerate(counts.sizes):
                    theirs.add(f"{record_id}-{chunk}")
                    sizes.setdefault(f"{record_id}-{chunk}", set()).add(size)
        elif isinstance(receipt, CreatedReceipt):
            same |= {_digest(f"created {job_id}") for job_id in receipt.jobs}
        else:
            for job_id, job in receipt.jobs.items():
                record = record_of(job_id)
                if record is not None:
                    jobs.setdefault(record, set()).add(job_id)
                    sizes.setdefault(job_id, set()).add(job.size)
                    continue
                same.add(_digest(f"job {job_id}"))
                if proves_its_creation(job_id, receipt.at):
                    same.add(_digest(f"created {job_id}"))
    agreed = {job_id: _digest(f"{job_id} {sorted(theirs)}") for job_id, theirs in sizes.items()}
    others: dict[bytes, Digests] = {}
    for told, own, other in ((records, "record", "job"), (jobs, "job", "record")):
        for record_id, job_ids in told.items():
            same.add(_digest(f"{own} {record_id}"))
            is_whole = told is jobs  # deliver may know of jobs that fan-out's word leaves out
            others[_digest(f"{other} {record_id}")] = frozenset(agreed[each] for each in job_ids if is_whole)
    return Named(frozenset(same) | frozenset(agreed.values()), frozenset(same), others)


def proves_its_creation(job_id: str, at: str) -> bool:
    """As in the books, but for a replay that began so long ago that its note may not be looked for any more."""
    replay = replay_of(job_id)
    told_at = instant(at) if replay else None
    return replay is not None and told_at is not None and told_at.timestamp() - replays.begun_at(replay) < YOUNG_S


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=DIGEST_BYTES).digest()
