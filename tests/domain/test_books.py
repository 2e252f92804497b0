"""The books: whatever is said twice counts once, in whatever order it is read."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.books import (
    DEAD,
    DELIVERED,
    Books,
    CreatedReceipt,
    DeliverReceipt,
    FanoutReceipt,
    RecordReceipt,
    add_up,
    deliver_receipt,
)

AT = "2026-11-23T16:00:00.000Z"
FATES = st.sampled_from([DELIVERED, DELIVERED, "http_400", "http_404", "dead:http_503", "dead:timeout"])


def test_receipts_add_up() -> None:
    receipts = [
        FanoutReceipt(AT, {"r-1": RecordReceipt(5, 1), "r-2": RecordReceipt(3, 3)}),
        deliver_receipt(AT, {"r-1-0": (0, [DELIVERED, "http_400", DELIVERED]), "r-1-1": (0, [DELIVERED])}),
    ]
    books = add_up(receipts)
    assert books == Books(8, 4, 3, Counter({"http_400": 1}))
    assert books.outcomes == books.accepted


def test_what_the_hub_made_itself_counts_once_however_often_it_is_said() -> None:
    said = [CreatedReceipt(AT, {"src_a-change-1": 1, "src_a-change-2": 1}), CreatedReceipt(AT, {"src_a-change-2": 1})]
    books = add_up([*said, deliver_receipt(AT, {"src_a-change-1": (0, [DELIVERED])})])
    assert (books.created, books.delivered, books.accepted) == (2, 1, 0)


def test_an_event_that_was_delivered_at_all_is_delivered() -> None:
    refused = deliver_receipt("2026-11-23T16:00:00.000Z", {"j": (0, ["http_409"])})
    taken = deliver_receipt("2026-11-23T16:00:09.000Z", {"j": (0, [DELIVERED])})
    assert add_up([refused, taken]) == add_up([taken, refused]) == Books(delivered=1)


def test_a_discard_said_twice_counts_by_its_first_reason() -> None:
    first = deliver_receipt("2026-11-23T16:00:00.000Z", {"j": (3, ["http_410"])})
    second = deliver_receipt("2026-11-23T16:00:09.000Z", {"j": (0, [DELIVERED, DELIVERED, DELIVERED, "http_400"])})
    assert add_up([second, first]).discarded == {"http_410": 1}


def test_a_receipt_has_a_character_for_every_reason() -> None:
    fates = [f"http_{number}" for number in range(400, 500)] + [f"reason {number}" for number in range(100)]
    assert add_up([deliver_receipt(AT, {"j": (0, fates)})]).discarded == Counter(fates)


def test_what_the_queue_kept_of_another_try_is_no_more_filtered() -> None:
    """The first try has sent three of five events and died; the second wanted one, which the queue absorbed."""
    books = add_up(
        [FanoutReceipt(AT, {"r-1": RecordReceipt(5, 4)}), deliver_receipt(AT, {"r-1-0": (0, [DELIVERED] * 3)})]
    )
    assert books == Books(accepted=5, filtered=2, delivered=3)


def test_an_event_that_the_second_try_alone_wanted_does_not_wait_for_ever() -> None:
    books = add_up(
        [FanoutReceipt(AT, {"r-1": RecordReceipt(5, 0)}), deliver_receipt(AT, {"r-1-0": (0, [DELIVERED] * 3)})]
    )
    assert books == Books(accepted=5, filtered=2, delivered=3)


def test_a_job_that_is_half_done_brings_all_of_its_events() -> None:
    told = deliver_receipt(AT, {"r-1-0": (1, [DELIVERED])}, left={"r-1-0": 2})
    books = add_up([FanoutReceipt(AT, {"r-1": RecordReceipt(5, 0)}), told])
    assert books == Books(accepted=5, filtered=1, delivered=1)


def test_a_job_that_only_the_try_without_a_receipt_has_sent_counts_too() -> None:
    said = FanoutReceipt(AT, {"r-1": RecordReceipt(150, 60)})
    jobs = {"r-1-0": (0, [DELIVERED] * 100), "r-1-1": (0, [DELIVERED] * 50)}
    assert add_up([said, deliver_receipt(AT, jobs)]) == Books(accepted=150, filtered=0, delivered=150)


def test_events_that_two_tries_sent_in_jobs_of_different_ids_are_no_less_than_none_filtered() -> None:
    said = FanoutReceipt(AT, {"r-1": RecordReceipt(4, 0, chunks=(2, 2))})
    books = add_up([said, deliver_receipt(AT, {"r-1-0": (0, [DELIVERED] * 3), "r-1-1": (0, [DELIVERED] * 2)})])
    assert books == Books(accepted=4, created=1, delivered=5)


REPLAYED = "r-1-0.3.rpl_abcdefghijkl"


def test_a_replayed_event_with_an_outcome_was_created_whether_that_was_noted_or_not() -> None:
    outcome, note = deliver_receipt(AT, {REPLAYED: (0, [DELIVERED])}), CreatedReceipt(AT, {REPLAYED: 1})
    for receipts in ([outcome], [outcome, note], [note, outcome], [note, outcome, outcome]):
        assert add_up(receipts) == Books(created=1, delivered=1)
    assert add_up([note]) == Books(created=1)


@st.composite
def tries(draw: Any) -> tuple[int, list[Any]]:
    """(events that have an outcome, receipts) of a record that several tries of fan-out have chosen from differently.

    The queue keeps the first job of an id. All but the last try may have died before their receipts.
    """
    kept: dict[str, int] = {}
    receipts: list[Any] = []
    count = draw(st.integers(1, 3))
    for number in range(count):
        sizes = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
        for chunk, size in enumerate(sizes):
            kept.setdefault(f"r-1-{chunk}", size)
        if number == count - 1 or draw(st.booleans()):
            said = RecordReceipt(9, 9 - sum(sizes), chunks=sizes if len(sizes) > 1 else ())
            receipts.append(FanoutReceipt(f"2026-11-23T16:00:0{draw(st.integers(0, 9))}.000Z", {"r-1": said}))
    for job_id, size in kept.items():
        done = draw(st.integers(1, size))
        receipts.append(deliver_receipt(AT, {job_id: (0, [DELIVERED] * done)}, left={job_id: size - done}))
        receipts.append(deliver_receipt(AT, {job_id: (done - 1, [DELIVERED] * (size - done + 1))}))
    again = draw(st.lists(st.sampled_from(receipts), max_size=5))
    return sum(kept.values()), draw(st.permutations(receipts + again))


@given(tries())
def test_the_books_balance_whatever_each_try_of_fan_out_chose(told: tuple[int, list[Any]]) -> None:
    events, receipts = told
    books = add_up(receipts)
    assert (books.accepted, books.delivered) == (9, events)
    assert books.accepted + books.created == books.outcomes
    assert min(books.filtered, books.created) == 0


@st.composite
def lives(draw: Any) -> tuple[dict[str, RecordReceipt], dict[str, list[str]], list[Any]]:
    """(records, jobs with their events' fates, receipts): each life told whole at least once, with replays and gaps."""
    records = draw(
        st.dictionaries(st.sampled_from([f"r-{n}" for n in range(5)]), st.just(RecordReceipt(3, 1)), max_size=5)
    )
    jobs = draw(st.dictionaries(st.sampled_from([f"j-{n}" for n in range(5)]), st.lists(FATES, min_size=1, max_size=6)))
    receipts: list[FanoutReceipt | DeliverReceipt] = [
        FanoutReceipt(AT, {id_: counts}) for id_, counts in records.items()
    ]
    for id_, fates in jobs.items():
        first = draw(st.integers(0, len(fates) - 1))
        receipts.append(deliver_receipt(AT, {id_: (first, fates[first:])}))
        last = draw(st.integers(first, len(fates)))  # a part that was done, crashed and done again
        receipts.append(deliver_receipt(AT, {id_: (0, fates[:last])}))
    again = draw(st.lists(st.sampled_from(receipts), max_size=5)) if receipts else []
    return records, jobs, draw(st.permutations(receipts + again))


@given(lives())
def test_any_order_repetition_and_overlap_of_receipts_adds_up_the_same(life: Any) -> None:
    records, jobs, receipts = life
    fates = [fate for theirs in jobs.values() for fate in theirs]
    books = add_up(receipts)
    assert books.accepted == sum(each.accepted for each in records.values())
    assert books.filtered == sum(each.filtered for each in records.values())
    assert books.delivered == fates.count(DELIVERED)
    assert books.discarded == Counter(fate for fate in fates if fate.startswith("http"))
    assert books.dead == Counter(fate.removeprefix(DEAD) for fate in fates if fate.startswith(DEAD))
    assert books.duplicates == sum(each.duplicates for each in records.values())


@given(lives(), lives())
def test_adding_up_is_the_same_for_rows_read_in_any_two_parts(one: Any, other: Any) -> None:
    assert add_up([*one[2], *other[2]]) == add_up([*other[2], *one[2]]) == add_up([*one[2], *other[2], *one[2]])
