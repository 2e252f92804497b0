"""Assign: which events of the claimed runs go to which destinations, as which jobs.

The source's tracking plan comes first: what it blocks is filtered for every destination.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import routing
from penstock.domain.books import RecordReceipt
from penstock.domain.dedup import KeyState, Owner
from penstock.domain.destinations import import_name
from penstock.domain.enforcement import Enforced, enforced
from penstock.domain.job import Job
from penstock.domain.routing import Route
from penstock.domain.run import Run
from penstock.domain.tracking_plan import Compiled
from penstock.steps.claim import Firsts

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Routes(Protocol):
    """The destinations of a workspace. Raises `StoreUnavailable`."""

    def get(self, workspace: str) -> Sequence[Route]: ...


class Plans(Protocol):
    """The tracking plan of a (workspace, source), if it has one. Raises `StoreUnavailable`: an outage is no absence."""

    def get(self, of: tuple[str, str]) -> Compiled | None: ...


class Waiting(NamedTuple):
    """A job that waits to be sent; its message is made when its turn comes, so that few are in memory at once."""

    job: Job
    record_id: str


@dataclass
class Share:
    """What one record brings to one destination: the indices of the events that it gets, and how many each job has."""

    firsts: Firsts
    taken: list[int] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)

    @property
    def receipt(self) -> RecordReceipt:
        events, accepted, taken = len(self.firsts.of.ids), len(self.firsts.kept), frozenset(self.taken)
        filtered = accepted - len(taken)
        return RecordReceipt(
            accepted,
            filtered,
            duplicates=events - accepted,
            taken="".join("1" if index in taken else "0" for index in range(events)) if filtered else "",
            chunks=tuple(self.chunks) if len(self.chunks) > 1 else (),
        )


class Key(NamedTuple):
    """Whose jobs a line has, and what is known of that ordering key."""

    owner: Owner
    state: KeyState


@dataclass
class Load:
    """All that one batch of records brings to one destination; `lines` are its groups, each in order, `keys` theirs."""

    workspace: str
    route: Route
    lines: OrderedDict[str, deque[Waiting]] = field(default_factory=OrderedDict)
    keys: dict[str, Key] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    sent: int = 0
    failed: frozenset[str] = frozenset()
    is_import: bool = False

    @property
    def queue(self) -> str:
        """The name of the queue that takes it."""
        return import_name(self.route.id) if self.is_import else self.route.id

    def add(self, firsts: Firsts, part: Run, picks: Mapping[int, int]) -> None:
        """Events of a part of a record's run: the index of each in the part, and in the record."""
        of = firsts.of
        share = self.shares.setdefault(of.record_id, Share(firsts))
        events = [part.events[place] for place in picks]
        jobs = routing.jobs(part, events, self.route.id, of.record_id, len(share.chunks))
        share.taken += picks.values()
        share.chunks += [len(job.run.events) for job in jobs]
        if jobs:
            self.keys[of.owner.group] = Key(of.owner, firsts.key)
            self.lines.setdefault(of.owner.group, deque()).extend(Waiting(job, of.record_id) for job in jobs)


class Assigned(NamedTuple):
    """What a batch brings to each destination, what plans forward, and the ids of records that nobody can read."""

    loads: list[Load]
    forwarded: list[Run]
    unreadable: list[str]


def assign(runs: Sequence[Firsts], routes: Routes, plans: Plans) -> Assigned:
    """Raises `StoreUnavailable`.

    What is configured is asked for once, and holds for the whole batch. Where a change came in between, a user's later
    run could be sent by the new settings, and the earlier one behind it once the batch has to come again.
    """
    loads: dict[tuple[str, bool], Load] = {}
    forwarded, unreadable = [], []
    routes_of, plan_of = cache(routes.get), cache(plans.get)
    for firsts in runs:
        workspace = firsts.of.run.workspace
        try:
            found = _enforced(firsts, plan_of((workspace, firsts.of.run.source)))
            picked = list(_picked(firsts, found, routes_of(workspace)))
        except UNREADABLE:
            unreadable.append(firsts.of.record_id)
            continue
        forwarded += [] if found.forwarded is None else [found.forwarded]
        for part, route, picks in picked:
            load = loads.setdefault((route.id, part.bulk), Load(workspace, route, is_import=part.bulk))
            load.add(firsts, part, picks)
    return Assigned(list(loads.values()), forwarded, unreadable)


def _enforced(firsts: Firsts, plan: Compiled | None) -> Enforced:
    whole = firsts.of.run
    run = msgspec.structs.replace(whole, events=[whole.events[index] for index in firsts.kept])
    return Enforced((run,), None, tuple(range(len(run.events)))) if plan is None else enforced(run, plan)


def _picked(firsts: Firsts, found: Enforced, routes: Sequence[Route]) -> Iterator[tuple[Run, Route, Mapping[int, int]]]:
    """For each part and destination the events that it gets: the index of each in the part, and in the record."""
    before = 0
    for part in found.parts:
        for route, places in routing.wanted(part, routes):
            yield part, route, {place: firsts.kept[found.places[before + place]] for place in places}
        before += len(part.events)
