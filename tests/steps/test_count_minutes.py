"""Counting by minutes gives the books, however often, by whom and with what crashes it is done."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.domain import minutes
from penstock.domain.audit import iso
from penstock.domain.books import (
    DELIVERED,
    Books,
    CreatedReceipt,
    FanoutReceipt,
    Receipt,
    RecordReceipt,
    add_up,
    deliver_receipt,
)
from penstock.domain.minutes import Figures, Minute, Total
from penstock.domain.named import named
from penstock.domain.replays import new_id
from penstock.steps import read_health
from penstock.steps.read_health import roll_forward
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.fakes_health import MemoryMinutes

BEGIN = datetime(2026, 11, 23, 15, 58, tzinfo=UTC).timestamp()
OF = (WORKSPACE, DESTINATION)


class Crash(BaseException):
    """The Lambda is gone: nothing of ours catches this."""


@dataclass
class LateReceipts:
    """Receipts that can be read only from the moment on at which they were written."""

    clock: Callable[[], float]
    rows: list[tuple[float, Receipt]] = field(default_factory=list)

    def read(self, workspace: str, destination: str, begin: str, end: str) -> Iterator[Receipt]:
        found = [row for written, row in self.rows if written <= self.clock() and begin <= row.at < end]
        yield from sorted(found, key=lambda row: row.at)


@dataclass
class World:
    now: float = BEGIN
    receipts: LateReceipts = field(init=False)
    minutes: MemoryMinutes = field(default_factory=MemoryMinutes)

    def __post_init__(self) -> None:
        self.receipts = LateReceipts(lambda: self.now)

    @property
    def books(self) -> read_health.Books:
        return read_health.Books(self.receipts, self.minutes, lambda: self.now)

    def write(self, second: float, receipt: Receipt, late_s: float = 0.0) -> None:
        self.receipts.rows.append((BEGIN + second + late_s, receipt))

    def all(self) -> list[Receipt]:
        return [row for _, row in self.receipts.rows]


def at(second: float) -> str:
    return iso(BEGIN + second)


def as_figures(books: Books) -> Figures:
    return Figures(
        accepted=books.accepted,
        created=books.created,
        duplicates=books.duplicates,
        filtered=books.filtered,
        delivered=books.delivered,
        discarded=dict(books.discarded),
        dead=dict(books.dead),
    )


def without_notes(figures: Figures) -> Figures:
    counts = {name: getattr(figures, name) for name in ("accepted", "created", "duplicates", "filtered", "delivered")}
    return Figures(**counts, discarded=figures.discarded, dead=figures.dead)


FATES = st.sampled_from([DELIVERED, DELIVERED, "http_400", "http_404", "dead:http_503"])
SECONDS = st.integers(0, 40 * 60)
CREATED = st.sampled_from(["src_a-change-1", "src_a-change-2", f"r-1-0.0.{new_id(BEGIN, 'aaaa')}"])


@st.composite
def receipts(draw: Any) -> tuple[float, Receipt, float]:
    """(second, receipt, how late it is written) of few records and jobs, so that most are told of again and again."""
    second, number = draw(SECONDS), draw(st.integers(0, 3))
    late = float(draw(st.integers(0, 119)))
    kind = draw(st.sampled_from(["fanout", "fanout", "created", "replayed", "deliver", "deliver"]))
    if kind == "fanout":
        sizes = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
        counts = RecordReceipt(6, 6 - sum(sizes), draw(st.integers(0, 1)), "", sizes if len(sizes) > 1 else ())
        return second, FanoutReceipt(at(second), {f"r-{number}": counts}), late
    if kind == "created":
        return second, CreatedReceipt(at(second), {draw(CREATED): 1}), late
    fates = draw(st.lists(FATES, min_size=1, max_size=3))
    if kind == "replayed":
        return second, deliver_receipt(at(second), {draw(CREATED): (0, fates[:1])}), late
    job_id, left = f"r-{number}-{draw(st.integers(0, 1))}", draw(st.integers(0, 2))
    return second, deliver_receipt(at(second), {job_id: (draw(st.integers(0, 2)), fates)}, left={job_id: left}), late


STEPS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["count", "crash before", "crash after", "another first"])),
    max_size=20,
)


def count(world: World, how: str) -> None:
    """One call, in which the first attempt to keep something goes as `how` says."""
    roll = world.minutes.roll

    def keep(*given: Any) -> None:
        world.minutes.roll = roll  # type: ignore[method-assign]
        if how == "crash before":
            raise Crash
        if how == "another first":
            roll_forward(*OF, world.books)
        roll(*given)
        if how == "crash after":
            raise Crash

    world.minutes.roll = keep  # type: ignore[method-assign]
    try:
        roll_forward(*OF, world.books)
    except Crash:
        pass
    finally:
        world.minutes.roll = roll  # type: ignore[method-assign]


@given(st.lists(receipts(), max_size=25), STEPS, st.integers(1, 4))
def test_whoever_counts_whenever_and_crashes_the_minutes_add_up_to_the_books(
    told: list[tuple[float, Receipt, float]], steps: list[tuple[int, str]], most: int
) -> None:
    world = World(minutes=MemoryMinutes(most))
    for second, receipt, late in told:
        world.write(second, receipt, late)
    for seconds, how in steps:
        world.now += seconds
        count(world, how)
    world.now = BEGIN + 3_600
    total = roll_forward(*OF, world.books).total.figures
    kept = list(world.minutes.minutes(*OF, "0", ":"))
    assert without_notes(total) == without_notes(minutes.summed(kept)) == as_figures(add_up(world.all()))


ONE_SIZE_AND_THEN_ANOTHER = [
    (0.0, FanoutReceipt(at(0), {"r-0": RecordReceipt(6, 3, 0, "", ())}), 0.0),
    (60.0, deliver_receipt(at(60), {"r-0-0": (0, [DELIVERED])}), 0.0),
    (120.0, deliver_receipt(at(120), {"r-0-0": (1, [DELIVERED] * 2)}), 0.0),
]


@example(ONE_SIZE_AND_THEN_ANOTHER, 120)
@given(st.lists(receipts(), max_size=25), st.integers(0, 3_000))
def test_what_is_open_still_is_in_the_answer_at_once(told: list[tuple[float, Receipt, float]], seconds: int) -> None:
    world = World()
    for second, receipt, _ in told:
        world.write(second, receipt)
    world.now += seconds
    total = roll_forward(*OF, world.books).total.figures
    assert without_notes(total) == as_figures(add_up(list(world.receipts.read(*OF, "0", ":"))))


def test_an_event_that_was_delivered_after_all_is_corrected_in_the_minute_that_says_so() -> None:
    world = World()
    world.write(10, deliver_receipt(at(10), {"j": (0, ["http_409"])}))
    world.write(200, deliver_receipt(at(200), {"j": (0, [DELIVERED])}, {"j"}))
    world.now += 1_000
    total = roll_forward(*OF, world.books).total.figures
    first, second = world.minutes.minutes(*OF, "0", ":")
    assert (first.figures.discarded, second.figures.discarded) == ({"http_409": 1}, {"http_409": -1})
    assert (second.figures.delivered, total.delivered, total.discarded) == (1, 1, {})


def test_what_is_said_again_after_an_hour_counts_twice_and_before_that_once() -> None:
    for seconds, delivered in ((59 * 60, 1), (62 * 60, 2)):
        world = World()
        world.write(0, deliver_receipt(at(0), {"j": (0, [DELIVERED])}))
        world.write(seconds, deliver_receipt(at(seconds), {"j": (0, [DELIVERED])}, {"j"}))
        world.now += 300
        roll_forward(*OF, world.books)
        world.now += 7_200
        assert roll_forward(*OF, world.books).total.figures.delivered == delivered


def test_of_more_than_is_looked_through_the_last_minutes_are_and_what_is_said_again_of_the_rest_counts_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for most, delivered in ((7, 3), (6, 3), (4, 4), (1, 4)):
        monkeypatch.setattr(read_health, "MOST_NAMED", most)
        world = World()
        for seconds, name in ((0, "j"), (60, "k"), (120, "l")):
            world.write(seconds, deliver_receipt(at(seconds), {f"{name}-job": (0, [DELIVERED]), "more": (0, [])}))
        world.now += 600
        roll_forward(*OF, world.books)
        world.write(800, deliver_receipt(at(800), {"j-job": (0, [DELIVERED])}, {"j-job"}))
        for later in (600, 86_400):
            world.now += later
            found = roll_forward(*OF, replace(world.books, minutes=deepcopy(world.minutes)))
            assert found.total.figures.delivered == delivered, (most, later)


def test_no_more_receipts_of_earlier_minutes_are_read_for_one_than_so_many_and_the_last_of_them_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for most, delivered in ((2, 2), (1, 3)):
        monkeypatch.setattr(read_health, "MOST_BEFORE", most)
        world = World()
        for seconds, job in ((0, "j"), (60, "k"), (120, "j"), (120, "k")):
            world.write(seconds, deliver_receipt(at(seconds), {job: (0, [DELIVERED])}))
        world.now += 600
        assert roll_forward(*OF, world.books).total.figures.delivered == delivered


def test_what_an_hour_has_named_is_looked_through_as_it_is_kept() -> None:
    """As objects, six bytes of a digest take ninety: of an hour with 650 runs a second more than a Lambda has."""
    world = World(now=BEGIN + 3_600)
    minute_of = [minutes.moved("2026-11-23T15:58", timedelta(minutes=number)) for number in range(60)]
    hour = {each: Minute(each, Figures(), random.randbytes(6 * 5_000)) for each in minute_of}
    world.minutes.kept[OF] = hour
    world.minutes.totals[OF] = Total(minutes.after(minute_of[-1]))
    world.write(3_600, deliver_receipt(at(3_600), {"j": (0, [DELIVERED])}))
    assert held_at_once(lambda: roll_forward(*OF, world.books)) < 1_000_000
    assert roll_forward(*OF, world.books).total.figures.delivered == 1


def test_of_an_earlier_minute_that_is_read_only_what_is_told_again_is_kept() -> None:
    these = [deliver_receipt(at(200), {"r-1-0": (0, [DELIVERED])}, {"r-1-0"})]
    before = (deliver_receipt(at(0), {f"r-{number}-0": (0, [DELIVERED])}) for number in range(5_000))
    assert held_at_once(lambda: minutes.counted(these, before)) < 300_000


def held_at_once(act: Callable[[], object]) -> int:
    """How many bytes more than before."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_job_that_is_not_as_fan_out_says_is_put_right_in_the_minute_that_tells_of_it() -> None:
    world = World()
    world.write(10, FanoutReceipt(at(10), {"r-1": RecordReceipt(5, 4)}))
    world.write(200, deliver_receipt(at(200), {"r-1-0": (0, [DELIVERED])}, left={"r-1-0": 2}))
    world.now += 1_000
    total = roll_forward(*OF, world.books).total.figures
    first, second = world.minutes.minutes(*OF, "0", ":")
    assert (first.figures.filtered, second.figures.filtered, total.filtered) == (4, -2, 2)


def test_a_minute_reads_no_earlier_one_for_jobs_that_are_as_fan_out_said() -> None:
    fanned_out = [FanoutReceipt(at(10), {f"r-{number}": RecordReceipt(3, 1)}) for number in range(5)]
    delivered = [deliver_receipt(at(200), {f"r-{number}-0": (0, [DELIVERED] * 2)}) for number in range(5)]
    earlier = {"2026-11-23T15:58": named(fanned_out).digests}
    assert named(delivered).among(earlier) == []
    assert named(fanned_out).among({"2026-11-23T16:01": named(delivered).digests}) == ["2026-11-23T16:01"]
    assert named(delivered).among({"2026-11-23T16:01": named(delivered[:1]).digests}) == ["2026-11-23T16:01"]
    other = deliver_receipt(at(200), {"r-4-0": (0, [DELIVERED])})
    assert named([*delivered, other]).among(earlier) == ["2026-11-23T15:58"]


def test_where_two_tries_were_told_of_both_are_read_as_soon_as_one_is_in_doubt() -> None:
    world = World()
    world.write(0, FanoutReceipt(at(0), {"r-1": RecordReceipt(5, 2)}))
    world.write(100, FanoutReceipt(at(100), {"r-1": RecordReceipt(5, 0)}))
    world.write(200, deliver_receipt(at(200), {"r-1-0": (0, [DELIVERED] * 3)}))
    world.now += 1_000
    assert roll_forward(*OF, world.books).total.figures == Figures(accepted=5, filtered=2, delivered=3)


def test_an_outcome_proves_no_creation_by_a_replay_whose_note_is_not_looked_for_any_more() -> None:
    """It may have been counted long ago."""
    job_id = f"r-1-0.0.{new_id(BEGIN, 'aaaa')}"
    for seconds, created in ((40 * 60, 1), (70 * 60, 0)):
        world = World()
        world.write(seconds, deliver_receipt(at(seconds), {job_id: (0, [DELIVERED])}))
        world.now += 7_200
        assert roll_forward(*OF, world.books).total.figures == Figures(created=created, delivered=1)


def test_one_call_counts_so_much_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_health, "MOST_RECEIPTS", 3)
    world = World()
    for number in range(10):
        world.write(60 * number, FanoutReceipt(at(60 * number), {f"r-{number}": RecordReceipt(1, 0)}))
    world.now += 3_600
    answers = [roll_forward(*OF, world.books) for _ in range(3)]
    assert [answer.total.figures.accepted for answer in answers] == [4, 8, 10]
    assert [answer.is_whole for answer in answers] == [False, False, True]


def test_what_was_counted_once_is_read_no_more() -> None:
    world = World()
    world.write(0, FanoutReceipt(at(0), {"r": RecordReceipt(1, 0)}))
    world.now += 600
    assert roll_forward(*OF, world.books).minutes == (Minute("2026-11-23T15:58", Figures(accepted=1)),)
    assert roll_forward(*OF, world.books).minutes == ()
    assert roll_forward(*OF, world.books).total.figures.accepted == 1


def test_a_job_that_failed_waits_until_it_is_told_of_as_done() -> None:
    world = World()
    world.write(0, deliver_receipt(at(0), {}, retried=1, waiting={"j": at(-30), "k": at(-5)}))
    world.write(100, deliver_receipt(at(100), {"j": (0, [DELIVERED])}, {"j"}))
    assert dict(roll_forward(*OF, world.books).total.waiting) == {"j": at(-30), "k": at(-5)}
    world.now += 100
    assert dict(roll_forward(*OF, world.books).total.waiting) == {"k": at(-5)}


def test_jobs_that_fan_out_did_not_tell_of_are_counted_though_it_spoke_last_and_agrees_on_the_others() -> None:
    world = World()
    world.write(0, deliver_receipt(at(0), {"r-1-0": (0, ["d", "d", "d"]), "r-1-1": (0, ["d"])}))
    world.write(60, FanoutReceipt(at(60), {"r-1": RecordReceipt(6, 3)}))
    world.now = BEGIN + 3_600
    total = roll_forward(*OF, world.books).total.figures
    assert (total.accepted, total.filtered, total.delivered) == (6, 2, 4)
