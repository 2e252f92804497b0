"""Claim: of the runs that arrived, which events are the first of their messageId and go on.

One read for the whole batch, then a write for each run of an ordering key, or for several of its runs at once. Whatever
is sent was claimed before; a record that is replayed finds its own claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, wait
from itertools import groupby
from typing import NamedTuple, Protocol

from penstock.domain import dedup
from penstock.domain.dedup import Claims, KeyState, Known, Owner, Wanted
from penstock.domain.job import group_of
from penstock.domain.run import Run


class Dedup(Protocol):
    """The claims of ordering keys. Raises `StoreUnavailable`."""

    def read(self, wanted: Sequence[Wanted]) -> Mapping[Owner, Known]:
        """What is known of each; nothing that was ever claimed is missing."""

    def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
        """Claim what nobody has claimed on that day; who holds each from now on."""


class Arrived(NamedTuple):
    """A run in a record of the stream; `day` is that of its arrival, `ids` has a hash for each event."""

    record_id: str
    day: str
    run: Run
    ids: tuple[str, ...]
    owner: Owner


class Firsts(NamedTuple):
    """Which events of a run go on, by their indices, and what is known of its key."""

    of: Arrived
    kept: tuple[int, ...]
    key: KeyState


def arrived(record_id: str, arrived_at: float, run: Run) -> Arrived:
    """Raises what `msgspec` raises where an event is no JSON object."""
    ids = tuple(dedup.hash_of(event) for event in run.events)
    owner = Owner(run.workspace, run.source, group_of(run.source, run.key))
    return Arrived(record_id, dedup.day_of(arrived_at), run, ids, owner)


def look(runs: Sequence[Arrived], today: str, store: Dedup) -> Mapping[Owner, Known]:
    """What is known of the keys of the runs. Raises `StoreUnavailable`."""
    wanted = []
    for owner, theirs in _by_owner(runs).items():
        days = frozenset(day for each in theirs for day in dedup.days_to_read(each.day, today))
        wanted.append(Wanted(owner, days, frozenset(id_ for each in theirs for id_ in each.ids)))
    return store.read(wanted) if wanted else {}


def claim(runs: Sequence[Arrived], known: Mapping[Owner, Known], store: Dedup, threads: Executor) -> list[Firsts]:
    """Claim the events of the runs, each key's in order; in the order of the runs. Raises `StoreUnavailable`."""
    begun = [threads.submit(_claim_key, theirs, known[owner], store) for owner, theirs in _by_owner(runs).items()]
    wait(begun)  # for all of them, before any trouble is raised: nothing may be claimed once the replay has begun
    found = {first.of.record_id: first for each in begun for first in each.result()}
    return [found[each.record_id] for each in runs]


def _claim_key(runs: Sequence[Arrived], known: Known, store: Dedup) -> list[Firsts]:
    """The runs of one key, as many at once as arrived on one day. What they claim, those of the next day know of."""
    days = {day: dict(claims) for day, claims in known.days.items()}
    firsts = []
    for day, group in groupby(runs, key=lambda each: each.day):
        theirs = [(each, dedup.claims_of(each.record_id, len(each.ids))) for each in group]
        events = (pair for each, claims in theirs for pair in zip(each.ids, claims, strict=True))
        free = dedup.unclaimed(events, day, days)
        if free:
            days.setdefault(day, {}).update(store.claim(runs[0].owner, day, free))
        firsts += [Firsts(each, dedup.kept(each.ids, claims, day, days), known.key) for each, claims in theirs]
    return firsts


def _by_owner(runs: Iterable[Arrived]) -> dict[Owner, list[Arrived]]:
    found: dict[Owner, list[Arrived]] = {}
    for each in runs:
        found.setdefault(each.owner, []).append(each)
    return found
