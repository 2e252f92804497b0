"""What a minute's receipts name, as digests: by these it is known which earlier minutes speak of the same.

Two minutes have to be read together where both tell of a record, or both of its jobs. Where one has fan-out's word of a
record and the other deliver's, which is so for every event, they have to be only if they do not agree on how many
events a job has. So each job is named once more with its size, by both. All that deliver says of a record has to
agree, in whichever minutes: what it said there may have been read with fan-out's word. Where deliver has spoken first,
which is rare, they always are: it may have had more jobs in hand than fan-out tells of.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from penstock.domain import replays
from penstock.domain.books import CreatedReceipt, FanoutReceipt, Receipt
from penstock.domain.job import record_of, replay_of
from penstock.domain.timestamps import instant

DIGEST_BYTES = 6  # of a hundred thousand ids two are alike once in fifty thousand: it costs a look at one minute more
YOUNG_S = 3_000.0  # the notes of what a replay sent are not older than that and still looked for

Packed: TypeAlias = bytes  # digests one behind the other: as objects they take fourteen times as much


class Other(NamedTuple):
    """What the other side's word of a record is named by, and what any minute names as well that agrees."""

    name: bytes
    agreed: tuple[bytes, ...] = ()


class Named(NamedTuple):
    """`digests` are kept with the minute; `same` finds what tells of the same again.

    `others` has, by what a minute may name of a record, what has to be read as well if that minute does not agree.
    """

    digests: Packed
    same: frozenset[bytes]
    others: Mapping[bytes, Other]

    def among(self, minutes: Mapping[str, Packed]) -> list[str]:
        """Those of the minutes that have to be read with this one, in the order of time."""
        mine = frozenset(chain(self.others, _each(self.digests)))
        told = {at: mine.intersection(_each(theirs)) for at, theirs in minutes.items()}
        wanted, others = set(self.same), frozenset(self.others)
        for theirs in told.values():
            for found in others & theirs:
                other = self.others[found]
                if not other.agreed or not theirs.issuperset(other.agreed):
                    wanted.add(other.name)
        return [at for at, theirs in sorted(told.items()) if not theirs.isdisjoint(wanted)]


def named(receipts: Iterable[Receipt]) -> Named:
    same: set[bytes] = set()
    records: set[str] = set()
    jobs: dict[str, tuple[str, ...]] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    for receipt in receipts:
        if isinstance(receipt, FanoutReceipt):
            records |= receipt.records.keys()
            for record_id, counts in receipt.records.items():
                for chunk, size in enumerate(counts.sizes):
                    _add(sizes, f"{record_id}-{chunk}", size)
        elif isinstance(receipt, CreatedReceipt):
            same |= {_digest(f"created {job_id}") for job_id in receipt.jobs}
        else:
            for job_id, job in receipt.jobs.items():
                record = record_of(job_id)
                if record is not None:
                    _add(jobs, record, job_id)
                    _add(sizes, job_id, job.size)
                    continue
                same.add(_digest(f"job {job_id}"))
                if proves_its_creation(job_id, receipt.at):
                    same.add(_digest(f"created {job_id}"))
    agreed = {job_id: _digest(f"{job_id} {sorted(theirs)}") for job_id, theirs in sizes.items()}
    same |= {_digest(f"record {record_id}") for record_id in records}
    same |= {_digest(f"job {record_id}") for record_id in jobs}
    others: dict[bytes, Other] = {}
    for record_id in jobs.keys() - records:
        fanouts = Other(_digest(f"record {record_id}"), tuple(agreed[each] for each in jobs[record_id]))
        others |= {fanouts.name: fanouts, _digest(f"job {record_id}"): fanouts}
    for record_id in records - jobs.keys():
        delivers = Other(_digest(f"job {record_id}"))  # it may know of jobs that are left out
        others[delivers.name] = delivers
    return Named(b"".join(sorted(same.union(agreed.values()))), frozenset(same), others)


def latest(minutes: Mapping[str, Packed], most: int) -> dict[str, Packed]:
    """The last of the minutes that have no more than so many digests together, and the last in any case."""
    found: dict[str, Packed] = {}
    size = 0
    for at in sorted(minutes, reverse=True):
        size += len(minutes[at])
        if found and size > most * DIGEST_BYTES:
            break
        found[at] = minutes[at]
    return found


def _each(packed: Packed) -> Iterator[bytes]:
    return chain.from_iterable(struct.iter_unpack(f"{DIGEST_BYTES}s", packed))


def _add(found: dict[str, tuple[Any, ...]], name: str, value: Any) -> None:
    known = found.get(name, ())
    if value not in known:
        found[name] = (*known, value)


def proves_its_creation(job_id: str, at: str) -> bool:
    """As in the books, but for a replay that began so long ago that its note may not be looked for any more."""
    replay = replay_of(job_id)
    told_at = instant(at) if replay else None
    return replay is not None and told_at is not None and told_at.timestamp() - replays.begun_at(replay) < YOUNG_S


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=DIGEST_BYTES).digest()
