"""Deduplication: each messageId of a source is sent by exactly one record, whatever crashes, repeats or comes late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.books import add_up
from penstock.domain.dedup import Claims, Known, Owner, Wanted, claimant, day_of, short_hash
from penstock.domain.job import decode_job
from penstock.domain.run import Run, decode_run
from penstock.errors import StoreUnavailable
from penstock.steps.claim import Arrived, arrived, claim, look
from penstock.steps.fan_out import Ports, Record, fan_out
from penstock.steps.spill import Spill
from tests.builders_pipeline import (
    ARRIVED_AT,
    DESTINATION,
    SHARD,
    SOURCE,
    WORKSPACE,
    event,
    plain,
    record_of,
    route,
    run_of,
    url_of,
)
from tests.fakes_dedup import MemoryDedup
from tests.fakes_homes import order
from tests.fakes_overflow import MemoryOverflow
from tests.fakes_pipeline import Clock, Inline, MemoryImports, MemoryParked, MemoryPlans, MemoryQueues, MemoryReceipts

HOUR_S, DAY_S = 3_600.0, 86_400.0
SHARDS = (SHARD, f"b-{SHARD}")


class Crash(BaseException):
    """The Lambda is gone: nothing of ours catches this."""


@dataclass
class Fuse:
    """Burns down with each effect, before and after it; where it ends, the Lambda does."""

    left: int | None = None

    def around(self, port: Any, *names: str) -> Any:
        fuse = self

        class Guarded:
            def __getattr__(self, name: str) -> Any:
                method = getattr(port, name)
                return (lambda *given: fuse.burn(lambda: method(*given))) if name in names else method

        return Guarded()

    def burn(self, act: Callable[[], Any]) -> Any:
        self._once()
        done = act()
        self._once()
        return done

    def _once(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash


class Sent(NamedTuple):
    """An event as a client sent it; the number is its own, the id may be another's too."""

    number: int
    id: int
    key: str
    arrived_at: float


@dataclass
class World:
    """Two streams of the same keys, each read in order, and what fan-out makes of them."""

    dedup: MemoryDedup = field(default_factory=MemoryDedup)
    queues: MemoryQueues = field(default_factory=lambda: MemoryQueues(Clock()))
    receipts: MemoryReceipts = field(default_factory=MemoryReceipts)
    now: float = ARRIVED_AT
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queues.make(url_of(DESTINATION))
        self.streams: tuple[list[Record], ...] = ([], [])
        self.reached = [0, 0]

    def accept(self, stream: int, arrived_at: float, key: str, ids: Sequence[int]) -> None:
        first = len(self.sent)
        self.sent += [Sent(first + place, id_, key, arrived_at) for place, id_ in enumerate(ids)]
        events = [event(first + place, messageId=f"{key}-{id_}") for place, id_ in enumerate(ids)]
        number = len(self.streams[stream])
        self.streams[stream].append(record_of(run_of(*events, key=key), number, SHARDS[stream], arrived_at))

    def fan_out(self, stream: int, size: int, fuse: int | None = None, lag_s: float = 0.0) -> None:
        """A batch, read again unless it is done."""
        records = self.streams[stream][self.reached[stream] :][:size]
        if not records:
            return
        self.now = max(self.now, *(record.arrived_at for record in records)) + lag_s
        with suppress(Crash):
            assert fan_out(records, self.ports(Fuse(fuse))).failed == frozenset()
            self.reached[stream] += len(records)

    def ports(self, fuse: Fuse) -> Ports:
        return Ports(
            dedup=fuse.around(self.dedup, "read", "claim"),
            routes=self,
            queues=fuse.around(self.queues, "send"),
            imports=MemoryImports(self.queues),
            spill=Spill(MemoryOverflow(Clock()), self.queues, Clock()),
            receipts=fuse.around(self.receipts, "keep_fanout"),
            parked=MemoryParked(),
            plans=MemoryPlans(),
            order=order(),
            measure=lambda _: None,
            note_lag=lambda *_: None,
            threads=Inline(),
            now=lambda: datetime.fromtimestamp(self.now, UTC).isoformat(),
            sleep=lambda _: None,
        )

    def get(self, _: str) -> Any:
        return (route(),)

    def finish(self) -> None:
        for stream in (0, 1):
            while self.reached[stream] < len(self.streams[stream]):
                self.fan_out(stream, 3)

    def went_on(self) -> list[int]:
        jobs = [decode_job(held.body) for held in self.queues.queues[url_of(DESTINATION)].held]
        return [plain(raw)["properties"]["n"] for job in jobs for raw in job.run.events]

    def check(self) -> None:
        went_on = self.went_on()
        assert len(set(went_on)) == len(went_on)
        by_id = defaultdict(list)
        for each in self.sent:
            by_id[each.key, each.id].append(each)
        for alike in by_id.values():
            moments = sorted(each.arrived_at for each in alike if each.number in set(went_on))
            assert moments, "lost"
            assert all(later - earlier >= DAY_S for earlier, later in pairwise(moments)), "twice"
        books = add_up(self.receipts.read(WORKSPACE, DESTINATION))
        assert (books.accepted, books.accepted + books.duplicates) == (len(went_on), len(self.sent))


ACCEPTED = st.tuples(
    st.integers(0, 1),
    st.sampled_from([0.0, 0.1, 3.0, 8.5, 20.0, 26.0]),
    st.sampled_from(["ada", "grace"]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
READ = st.tuples(
    st.integers(0, 1), st.integers(1, 5), st.one_of(st.none(), st.integers(0, 14)), st.sampled_from([0.0, 5.0, 30.0])
)


def lived(world: World, accepted: Sequence[Any], reads: Sequence[Any]) -> World:
    moment = ARRIVED_AT
    for stream, hours, key, ids in accepted:
        moment += hours * HOUR_S
        world.accept(stream, moment, key, ids)
    for stream, size, fuse, lag_h in reads:
        world.fan_out(stream, size, fuse, lag_h * HOUR_S)
    world.finish()
    return world


@settings(max_examples=400)
@given(accepted=st.lists(ACCEPTED, min_size=1, max_size=12), reads=st.lists(READ, max_size=15))
def test_each_messageid_goes_on_once_in_a_day_and_nothing_is_lost(accepted: Any, reads: Any) -> None:
    lived(World(), accepted, reads).check()


class DropsItsWrites(MemoryDedup):
    def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
        return claims


class ForgetsYesterday(MemoryDedup):
    def read(self, wanted: Sequence[Wanted]) -> dict[Owner, Known]:
        return super().read([each._replace(days=frozenset()) for each in wanted])


class LetsTheLastClaim(MemoryDedup):
    def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
        self.claims[owner, day] |= claims
        return claims


@pytest.mark.parametrize("faulty", [DropsItsWrites, ForgetsYesterday, LetsTheLastClaim])
def test_a_planted_fault_is_seen(faulty: type[MemoryDedup]) -> None:
    again = [(0, 0.0, "ada", [1, 2]), (0, 1.0, "ada", [2, 3]), (0, 8.0, "ada", [3, 4])]
    lived(World(), again, [(0, 1, None, 0.0)] * 3).check()
    with pytest.raises(AssertionError, match="twice"):
        lived(World(faulty()), again, [(0, 1, None, 0.0)] * 3).check()


# Two that read at the same moment: the claims alone decide.


@dataclass
class Racer:
    """One record on its way: it looks, claims, and goes on; it may crash and begin anew."""

    run: Arrived
    store: MemoryDedup
    known: Any = None
    kept: tuple[int, ...] | None = None

    def step(self, today: str) -> None:
        if self.known is None:
            self.known = look([self.run], today, self.store)
        elif self.kept is None:
            ((_, self.kept, _),) = claim([self.run], self.known, self.store, Inline())

    def crash(self) -> None:
        self.known = None if self.kept is None else self.known


@settings(max_examples=300)
@given(
    days=st.lists(st.integers(0, 3), min_size=2, max_size=5),
    turns=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 1)), max_size=30),
)
def test_of_those_who_race_one_goes_on_whoever_crashes(days: list[int], turns: Any) -> None:
    store = MemoryDedup()
    racers = [
        Racer(arrived(f"{SHARD}-{number}", ARRIVED_AT + day * DAY_S, run_of(event(1))), store)
        for number, day in enumerate(days)
    ]
    goal = max(days)
    for number, crashes, late in turns:
        racer = racers[number % len(racers)]
        racer.crash() if crashes else racer.step(day_of(ARRIVED_AT + (goal + late) * DAY_S))
    for racer in racers:
        for _ in range(2):
            racer.step(day_of(ARRIVED_AT + goal * DAY_S))
    went_on = [racer.run.day for racer in racers if racer.kept]
    assert went_on, "lost"
    assert len(set(went_on)) == len(went_on), "twice on one day"


# What it costs, and what it hands on.


def read_in(*records: Record) -> list[Arrived]:
    return [arrived(record.id, record.arrived_at, decode_run(record.data)) for record in records]


def test_a_batch_is_read_once_and_each_key_written_once() -> None:
    store = MemoryDedup()
    runs = read_in(*[record_of(run_of(event(n), event(-n), key=f"user-{n % 10}"), n) for n in range(1, 101)])
    found = claim(runs, look(runs, "2026-11-23", store), store, Inline())
    assert (store.reads, store.writes) == (1, 10)
    assert [each.of.record_id for each in found] == [each.record_id for each in runs]


def test_where_nothing_is_new_nothing_is_written() -> None:
    store = MemoryDedup()
    runs = read_in(record_of(run_of(event(1))))
    claim(runs, look(runs, "2026-11-23", store), store, Inline())
    later = read_in(
        record_of(run_of(event(1)), 2, arrived_at=ARRIVED_AT + 9 * HOUR_S),
        record_of(Run(1, WORKSPACE, SOURCE, "grace", "", []), 3),
    )
    assert [each.kept for each in claim(later, look(later, "2026-11-24", store), store, Inline())] == [(), ()]
    assert store.writes == 1
    assert claim([], look([], "2026-11-23", store), store, Inline()) == []
    assert store.reads == 2


def test_a_claim_says_which_record_and_event_went_on() -> None:
    store = MemoryDedup()
    runs = read_in(record_of(run_of(event(1), event(2)), 7))
    claim(runs, look(runs, "2026-11-23", store), store, Inline())
    assert claimant(store.claims[runs[0].owner, "2026-11-23"][short_hash("m-2")]) == (runs[0].record_id, 1)


def test_no_thread_claims_on_when_the_replay_has_begun() -> None:
    class DownOnce(MemoryDedup):
        def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
            if self.writes == 0:
                self.writes += 1
                raise StoreUnavailable("down for one")
            return super().claim(owner, day, claims)

    store = DownOnce()
    runs = read_in(*[record_of(run_of(event(n), key=f"user-{n}"), n) for n in range(30)])
    with ThreadPoolExecutor(4) as threads:
        with pytest.raises(StoreUnavailable):
            claim(runs, look(runs, "2026-11-23", store), store, threads)
        written = store.writes
    assert store.writes == written == 30
