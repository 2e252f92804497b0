"""Fan-out and what came before: left out of every destination, counted, and told in the receipts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.books import FanoutReceipt, RecordReceipt, add_up
from penstock.domain.job import decode_job
from penstock.domain.subscription import parse
from penstock.errors import StoreUnavailable
from penstock.steps.fan_out import Outcome
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, event, record_of, route, run_of, url_of
from tests.builders_plans import compiled, rule
from tests.fan_out_works import AT, OTHER, Works, planned


def test_what_came_before_goes_nowhere_and_is_counted() -> None:
    works = Works((route(), route(OTHER, subscription=parse("properties.n > 2"))))
    first, second = record_of(run_of(event(1), event(2)), 1), record_of(run_of(event(2), event(3), event(3)), 2)
    works.fan_out(first)
    works.fan_out(second)
    assert (works.sent(), works.sent(OTHER)) == ([1, 2, 3], [3])
    for destination, filtered in ((DESTINATION, 0), (OTHER, 2)):
        books = add_up(works.receipts.read(WORKSPACE, destination))
        assert (books.accepted, books.filtered, books.duplicates) == (3, filtered, 2)
    *_, receipt = works.receipts.read(WORKSPACE, DESTINATION)
    assert receipt == FanoutReceipt(AT, {second.id: RecordReceipt(1, 0, duplicates=2)})


def test_a_run_of_nothing_but_duplicates_is_counted_and_done() -> None:
    works = Works()
    works.fan_out(record_of(run_of(event(1)), 1))
    outcome = works.fan_out(record_of(run_of(event(1)), 2))
    assert (works.sent(), outcome) == ([1], Outcome(frozenset(), (), 0))
    assert add_up(works.receipts.read(WORKSPACE, DESTINATION)).duplicates == 1


def test_another_sources_events_have_ids_of_their_own() -> None:
    both = route(source_ids=frozenset({SOURCE, "src_bbbbbbbbbbbb"}))
    works = Works((both,))
    works.fan_out(record_of(run_of(event(1)), 1), record_of(run_of(event(1), source="src_bbbbbbbbbbbb"), 2))
    assert works.sent() == [1, 1]


def test_without_the_store_of_claims_nothing_is_sent() -> None:
    works = Works()
    planned(works, violation="forward", forward_to="src_bbbbbbbbbbbb")
    works.dedup.down = True
    with pytest.raises(StoreUnavailable):
        works.fan_out(record_of(run_of(event(1), event(2, properties={"n": "x"}))))
    assert (works.sent(), works.stream.runs, works.receipts.rows) == ([], [], {})
    works.dedup.down = False
    works.fan_out(record_of(run_of(event(1), event(2, properties={"n": "x"}))))
    assert works.sent() == [1]


def test_a_record_is_parked_with_nothing_claimed_for_it() -> None:
    works = Works()
    works.fan_out(record_of(run_of(event(1), b"5"), 1))
    works.fan_out(record_of(run_of(event(1)), 2))
    assert works.sent() == [1]


def test_a_duplicate_is_neither_forwarded_nor_held_against_the_plan() -> None:
    works = Works()
    planned(works, violation="forward", forward_to="src_bbbbbbbbbbbb")
    for number in (1, 2):
        works.fan_out(record_of(run_of(event(1, properties={"n": "x"})), number))
    assert len(works.stream.runs) == 1
    assert add_up(works.receipts.read(WORKSPACE, DESTINATION)).duplicates == 1


def test_a_forwarded_event_that_is_told_twice_goes_on_once() -> None:
    works = Works((route(source_ids=frozenset({"src_bbbbbbbbbbbb"})),))
    for number in (1, 2):
        works.fan_out(record_of(run_of(event(1), source="src_bbbbbbbbbbbb", forwarded=True), number))
    assert works.sent() == [1]


def test_a_receipt_says_which_events_of_the_record_went_on_and_in_which_jobs() -> None:
    works = Works((route(subscription=parse("properties.n != 7")),))
    planned(works, violation="block")
    works.fan_out(record_of(run_of(event(0)), 1))
    blocked = event(3, properties={"n": "three"})
    record = record_of(run_of(event(0), event(1), event(2), blocked, *[event(n) for n in range(4, 130)]), 2)
    works.fan_out(record)
    expected = "".join("0" if n in (0, 3, 7) else "1" for n in range(130))
    *_, receipt = works.receipts.read(WORKSPACE, DESTINATION)
    assert receipt == FanoutReceipt(AT, {record.id: RecordReceipt(129, 2, 1, expected, (100, 27))})


@given(
    ids=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    sharing=st.lists(st.sampled_from(["Closed", "Counted"]), min_size=30, max_size=30),
    most=st.integers(0, 30),
)
def test_a_mask_and_its_jobs_agree_with_what_was_sent(ids: list[int], sharing: list[str], most: int) -> None:
    schema = {"properties": {"context": {"properties": {"app": {}}, "additionalProperties": False}}}
    works = Works((route(subscription=parse(f"properties.n < {most}")),))
    works.plans.plans[WORKSPACE, SOURCE] = compiled(
        rule(schema, "Closed"), rule({}, "Counted"), unplanned_property="omit"
    )
    events = [event(n, messageId=f"m-{id_}", event=sharing[n]) for n, id_ in enumerate(ids)]
    record = record_of(run_of(*events, context={"app": 1, "ip": "203.0.113.9"}))
    works.fan_out(record)
    [receipt] = works.receipts.read(WORKSPACE, DESTINATION)
    assert isinstance(receipt, FanoutReceipt)
    found = receipt.records[record.id]
    firsts = [n for n, id_ in enumerate(ids) if ids.index(id_) == n]
    sent = [n for n in firsts if n < most]
    assert works.sent() == sent
    assert (found.accepted, found.filtered, found.duplicates) == (
        len(firsts), len(firsts) - len(sent), len(ids) - len(firsts)
    )  # fmt: skip
    assert found.taken == ("" if sent == firsts else "".join("01"[n in sent] for n in range(len(ids))))
    jobs = [decode_job(held.body) for held in works.queues.queues[url_of(DESTINATION)].held]
    assert found.chunks == (tuple(len(job.run.events) for job in jobs) if len(jobs) > 1 else ())
