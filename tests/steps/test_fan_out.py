"""Fan-out: order per user within a queue, no queue held up by another, nothing taken for sent that was not."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.books import FanoutReceipt, RecordReceipt, add_up
from penstock.domain.dedup import Owner
from penstock.domain.home import fence_for, key_of
from penstock.domain.job import decode_job, group_of
from penstock.domain.overflow import LaneKey, Limits
from penstock.domain.subscription import parse
from penstock.errors import QueueUnavailable, StoreUnavailable, StreamUnavailable
from penstock.steps.fan_out import LARGEST_CALL, MOST_QUEUES_AT_ONCE, PAUSES_S, Message, Outcome, Record
from tests.builders_pipeline import (
    ARRIVED_AT,
    DESTINATION,
    SHARD,
    SOURCE,
    WORKSPACE,
    event,
    record_of,
    route,
    run_of,
    url_of,
)
from tests.builders_plans import compiled, rule
from tests.fakes_dedup import MemoryDedup
from tests.fakes_overflow import ANY_SIZE, MemoryOverflow
from tests.fakes_pipeline import Clock, MemoryPlans, MemoryQueues, MemoryReceipts
from tests.fan_out_works import AT, OTHER, Works, decoded, planned


class Refusing(MemoryQueues):
    """Refuses by a plan: for each call the places of the entries that it does not take, or an error instead."""

    def __init__(self, plan: Sequence[Sequence[int] | Exception], only: str = DESTINATION) -> None:
        super().__init__(Clock())
        self._plan = list(plan)
        self._only = url_of(only)

    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        if queue_url != self._only or not self._plan:
            return super().send(queue_url, messages)
        turn = self._plan.pop(0)
        if isinstance(turn, Exception):
            raise turn
        refused = {messages[place].id for place in turn if place < len(messages)}
        super().send(queue_url, [message for message in messages if message.id not in refused])
        return refused


def test_each_destination_gets_its_own_events_on_its_own_queue() -> None:
    works = Works((route(), route(OTHER, subscription=parse("properties.n > 1"))))
    outcome = works.fan_out(record_of(run_of(event(1), event(2))))
    assert (works.sent(), works.sent(OTHER)) == ([1, 2], [2])
    assert outcome == Outcome(frozenset(), (), 2)


def test_a_job_carries_its_record_in_its_id_and_its_user_in_its_group() -> None:
    works = Works()
    works.fan_out(record_of(run_of(*[event(n) for n in range(150)]), 7))
    (_, first), (_, second) = works.queues.calls
    assert [first[0].id, second[0].id] == [f"{SHARD}-{7:056d}-0", f"{SHARD}-{7:056d}-1"]
    assert len(first[0].group) == 32
    assert len(first[0].id) <= 128


def test_a_destination_of_another_source_is_not_even_counted() -> None:
    works = Works((route(source_ids=frozenset({"src_other0000000"})),))
    works.fan_out(record_of(run_of()))
    assert works.receipts.rows == {}


def test_no_call_carries_two_jobs_of_one_user() -> None:
    works = Works()
    works.fan_out(*[record_of(run_of(event(n), key=f"user-{n % 3}"), n) for n in range(40)])
    assert all(len({message.group for message in call}) == len(call) <= 10 for _, call in works.queues.calls)
    for user in range(3):
        assert works.sent(key=f"user-{user}") == list(range(user, 40, 3))


def test_a_call_keeps_to_ten_jobs_and_to_sqs_size() -> None:
    works = Works()
    pad = "x" * 30_000
    runs = [run_of(*[event(n, pad=pad) for n in range(8)], key=f"user-{user}") for user in range(30)]
    works.fan_out(*[record_of(run, number) for number, run in enumerate(runs)])
    sizes = [sum(len(message.body.encode()) for message in call) for _, call in works.queues.calls]
    assert max(sizes) <= LARGEST_CALL < 1024 * 1024
    assert sum(len(call) for _, call in works.queues.calls) == 30


def test_a_refused_job_holds_back_those_behind_it_and_nobody_else() -> None:
    works = Works(queues=Refusing([[0]]))
    outcome = works.fan_out(
        record_of(run_of(event(1), key="ada"), 1),
        record_of(run_of(event(2), key="grace"), 2),
        record_of(run_of(event(3), key="ada"), 3),
    )
    assert works.sent() == [2, 1, 3]
    assert outcome.failed == frozenset()
    assert works.pauses == [PAUSES_S[0]]


def test_what_stays_refused_is_replayed_and_so_is_what_waits_behind_it() -> None:
    works = Works(queues=Refusing([[0], [0], [0], [0]]))
    records = [record_of(run_of(event(n), key="ada" if n != 2 else "grace"), n) for n in (1, 2, 3)]
    outcome = works.fan_out(*records)
    assert works.sent() == [2]
    assert outcome.failed == {records[0].id, records[2].id}
    assert works.pauses == list(PAUSES_S)
    assert works.receipts.read(WORKSPACE, DESTINATION) == [FanoutReceipt(AT, {records[1].id: RecordReceipt(1, 0)})]


def test_a_record_whose_second_job_was_refused_is_replayed_whole_and_the_queue_absorbs_the_first() -> None:
    queues = Refusing([[], *[[0]] * 4])
    works = Works(queues=queues)
    record = record_of(run_of(*[event(n) for n in range(150)]))
    assert works.fan_out(record).failed == {record.id}
    assert works.sent() == list(range(100))
    assert works.fan_out(record).failed == frozenset()
    assert works.sent() == list(range(150))


def test_a_call_without_an_answer_is_made_again_and_absorbed() -> None:
    class Mute(MemoryQueues):
        def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
            super().send(queue_url, messages)
            if len(self.calls) == 1:
                raise QueueUnavailable("no answer, though taken")
            return set()

    works = Works(queues=Mute(Clock()))
    works.fan_out(record_of(run_of(event(1)), 1), record_of(run_of(event(2)), 2))
    assert works.sent() == [1, 2]


def test_a_queue_that_never_answers_is_left_after_a_few_tries_however_many_users_wait() -> None:
    works = Works(queues=Refusing([QueueUnavailable("injected")] * 1_000))
    records = [record_of(run_of(event(n), key=f"user-{n}"), n) for n in range(200)]
    assert works.fan_out(*records).failed == {record.id for record in records}
    assert len(works.pauses) == len(PAUSES_S)


def test_a_queue_that_is_gone_takes_nothing_and_counts_nothing() -> None:
    works = Works((route(), route(OTHER)))
    del works.queues.queues[url_of(OTHER)]
    outcome = works.fan_out(record_of(run_of()))
    assert (outcome.failed, works.sent()) == (frozenset(), [1])
    assert works.receipts.read(WORKSPACE, OTHER) == []


def test_receipts_say_what_was_accepted_and_what_filtered() -> None:
    works = Works((route(subscription=parse("properties.n = 2")), route(OTHER, enabled=False)))
    record = record_of(run_of(event(1), event(2), event(3)))
    works.fan_out(record)
    assert works.receipts.read(WORKSPACE, DESTINATION) == [
        FanoutReceipt(AT, {record.id: RecordReceipt(3, 2, taken="010")})
    ]
    assert works.receipts.read(WORKSPACE, OTHER) == [FanoutReceipt(AT, {record.id: RecordReceipt(3, 3, taken="000")})]


def test_a_receipt_that_cannot_be_kept_replays_the_batch_and_counts_once() -> None:
    class Full(MemoryReceipts):
        full = True

        def keep_fanout(self, workspace: str, destination: str, receipt: FanoutReceipt) -> None:
            super().keep_fanout(workspace, destination, receipt)
            if self.full:
                self.full = False
                raise StoreUnavailable("no answer, though kept")

    works = Works(receipts=Full())
    with pytest.raises(StoreUnavailable):
        works.fan_out(record_of(run_of()))
    works.fan_out(record_of(run_of()))
    assert works.sent() == [1]
    assert add_up(works.receipts.read(WORKSPACE, DESTINATION)).accepted == 1


@pytest.mark.parametrize("data", [b"", b"{", b"5", b"\xff", b"[" * 5000, b'{"v":1}', b'{"v":1,"workspace":5}'])
def test_a_record_that_nobody_can_read_is_parked_and_blocks_nobody(data: bytes) -> None:
    works = Works()
    outcome = works.fan_out(Record("odd", data, ARRIVED_AT), record_of(run_of()))
    assert (outcome.unreadable, outcome.failed) == (("odd",), frozenset())
    assert works.parked.records == {"odd": data}
    assert works.sent() == [1]


def test_a_run_with_an_event_that_is_no_object_is_parked_whole() -> None:
    works = Works()
    record = record_of(run_of(event(1), b"5"))
    assert works.fan_out(record).unreadable == (record.id,)
    assert works.sent() == []


class Gate(MemoryQueues):
    """One queue hangs until it is let go; the others say when all of them have been served."""

    def __init__(self, hanging: str, others: int) -> None:
        super().__init__(Clock())
        self._hanging = url_of(hanging)
        self._left = others
        self.others_done, self.let_go = threading.Event(), threading.Event()

    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        if queue_url == self._hanging:
            assert self.let_go.wait(30)
            return super().send(queue_url, messages)
        refused = super().send(queue_url, messages)
        self._left -= 1
        if not self._left:
            self.others_done.set()
        return refused


def test_a_queue_that_hangs_delays_no_other_queue() -> None:
    ids = [f"dst_{number:012d}" for number in range(MOST_QUEUES_AT_ONCE * 2)]
    gate = Gate(ids[0], len(ids) - 1)
    with ThreadPoolExecutor(MOST_QUEUES_AT_ONCE) as threads:
        works = Works(tuple(route(id_) for id_ in ids), queues=gate, threads=threads)
        running = threading.Thread(target=works.fan_out, args=(record_of(run_of()),))
        running.start()
        assert gate.others_done.wait(30), "the others waited for the one that hangs"
        gate.let_go.set()
        running.join(30)
    assert not running.is_alive()


def test_with_one_thread_a_hanging_queue_would_delay_the_others() -> None:
    gate = Gate(DESTINATION, 1)
    with ThreadPoolExecutor(1) as threads:
        works = Works((route(), route(OTHER)), queues=gate, threads=threads)
        running = threading.Thread(target=works.fan_out, args=(record_of(run_of()),))
        running.start()
        assert not gate.others_done.wait(0.2)
        gate.let_go.set()
        running.join(30)


def test_a_throttled_queue_fails_alone() -> None:
    works = Works((route(), route(OTHER)), queues=Refusing([QueueUnavailable("throttled")] * 9))
    outcome = works.fan_out(record_of(run_of()))
    assert works.sent(OTHER) == [1]
    assert len(outcome.failed) == 1


PLANS = st.lists(st.one_of(st.lists(st.integers(0, 9), max_size=9), st.just(QueueUnavailable("injected"))), max_size=12)


@settings(max_examples=200)
@given(plan=PLANS, users=st.lists(st.integers(0, 3), min_size=1, max_size=25), replays=st.integers(0, 3))
def test_whatever_is_refused_and_replayed_each_user_stays_in_order(plan: Any, users: list[int], replays: int) -> None:
    works = Works(queues=Refusing(plan))
    records = [record_of(run_of(event(n), key=f"user-{user}"), n) for n, user in enumerate(users)]
    left = records
    for _ in range(replays + len(plan) + 1):
        failed = works.fan_out(*left).failed
        left = left[next((n for n, each in enumerate(left) if each.id in failed), len(left)) :]
    works.fan_out(*records)
    for user in set(users):
        assert works.sent(key=f"user-{user}") == [n for n, each in enumerate(users) if each == user]
    assert add_up(works.receipts.read(WORKSPACE, DESTINATION)).accepted == len(users)


def test_what_a_plan_blocks_is_filtered_for_every_destination_and_the_books_say_so() -> None:
    works = Works(routes=(route(), route(OTHER)))
    planned(works, violation="block")
    works.fan_out(record_of(run_of(event(1), event(2, properties={"n": "two"}), event(3))))
    for destination in (DESTINATION, OTHER):
        assert works.sent(destination) == [1, 3]
        books = add_up(works.receipts.read(WORKSPACE, destination))
        assert (books.accepted, books.filtered) == (3, 1)


def test_what_a_plan_forwards_begins_anew_at_the_other_source_in_order() -> None:
    works = Works()
    planned(works, violation="forward", forward_to="src_bbbbbbbbbbbb")
    runs = [run_of(event(n, properties={"n": str(n)})) for n in range(3)]
    works.fan_out(*[record_of(run, n) for n, run in enumerate(runs, 1)])
    assert works.sent() == []
    assert [decoded(run.events[0])["properties"]["n"] for run in works.stream.runs] == ["0", "1", "2"]
    assert {(run.source, run.forwarded) for run in works.stream.runs} == {("src_bbbbbbbbbbbb", True)}


def test_a_batch_is_not_done_before_what_it_forwards_is_in_the_stream() -> None:
    works = Works()
    planned(works, violation="forward", forward_to="src_bbbbbbbbbbbb")
    works.stream.down = True
    with pytest.raises(StreamUnavailable):
        works.fan_out(record_of(run_of(event(1, properties={"n": "x"}))))
    assert works.sent() == []


def test_an_outage_of_the_store_is_no_absence_of_a_plan() -> None:
    class Down(MemoryPlans):
        def get(self, of: tuple[str, str]) -> Any:
            raise StoreUnavailable("down")

    works = Works(plans=Down())
    with pytest.raises(StoreUnavailable):
        works.fan_out(record_of(run_of(event(1))))
    assert works.sent() == []


def test_a_destination_is_told_what_its_events_did_against_the_plan() -> None:
    works = Works()
    planned(works)
    works.fan_out(record_of(run_of(event(1, properties={"n": "x"}))))
    [held] = works.queues.queues[url_of(DESTINATION)].held
    [sent] = decode_job(held.body).run.events
    assert [each["rule"] for each in decoded(sent)["context"]["violations"]] == ["track/Counted:properties.n:type"]


def test_events_of_one_record_that_share_different_contexts_stay_in_order_and_count_once() -> None:
    schema = {"properties": {"context": {"properties": {"app": {}}, "additionalProperties": False}}}
    works = Works()
    works.plans.plans[WORKSPACE, SOURCE] = compiled(
        rule(schema, "Closed"), rule({}, "Counted"), unplanned_property="omit"
    )
    events = [event(n, event="Closed" if n % 3 else "Counted") for n in range(9)]
    record = record_of(run_of(*events, context={"app": 1, "ip": "203.0.113.9"}))
    assert works.fan_out(record).failed == frozenset()
    works.fan_out(record)
    assert works.sent() == list(range(9))
    jobs = [decode_job(held.body) for held in works.queues.queues[url_of(DESTINATION)].held]
    assert len({job.id for job in jobs}) == len(jobs) == 6
    assert [b"203" in bytes(job.run.context) for job in jobs] == [True, False] * 3
    books = add_up(works.receipts.read(WORKSPACE, DESTINATION))
    assert (books.accepted, books.filtered) == (9, 0)


def test_a_run_of_a_source_that_came_back_goes_behind_what_the_bulk_stream_still_holds() -> None:
    works = Works()
    works.fan_out(record_of(run_of(event(1), turn=2), 1), record_of(run_of(event(2), turn=2), 2))
    assert works.sent() == []
    assert [run.origin for run in works.bulk.runs] == [f"{SHARD}-{1:056d}", f"{SHARD}-{2:056d}"]
    for number, run in enumerate(works.bulk.runs, 1):
        works.fan_out(record_of(run, number, f"b-{SHARD}"))
    works.fan_out(record_of(run_of(event(3), turn=2), 3))
    assert works.sent() == [1, 2, 3]
    jobs = [decode_job(held.body) for held in works.queues.queues[url_of(DESTINATION)].held]
    assert [job.id for job in jobs] == [f"{SHARD}-{number:056d}-0" for number in (1, 2, 3)]


def test_a_run_of_a_source_above_its_quota_waits_until_the_live_stream_has_come_to_its_fence() -> None:
    works = Works()
    waiting = record_of(run_of(event(2), turn=1), 1, f"b-{SHARD}")
    assert works.fan_out(waiting).failed == {waiting.id}
    (fence,) = works.stream.runs
    works.fan_out(record_of(run_of(event(1)), 1), record_of(fence, 2))
    assert works.fan_out(waiting).failed == frozenset()
    assert works.sent() == [1, 2]


def test_a_batch_of_bulk_tells_how_late_it_is_before_anything_of_it_can_fail() -> None:
    class Down(MemoryDedup):
        def read(self, *_: Any) -> Any:
            raise StoreUnavailable("down")

    works, bulk = Works(dedup=Down()), f"b-{SHARD}"
    batch = [record_of(run_of(event(n), bulk=True), n, bulk, ARRIVED_AT + n) for n in (1, 2)]
    for records in (batch, [record_of(run_of(event(3)))]):
        with pytest.raises(StoreUnavailable):
            works.fan_out(*records)
    assert works.lags == [(bulk, ARRIVED_AT + 1)]


def test_a_fence_behind_a_refused_run_is_not_come_to() -> None:
    works = Works(queues=Refusing([[0], [0], [0], [0]]))
    fence = fence_for(run_of(event(2), turn=1))
    first, second = record_of(run_of(event(1)), 1), record_of(fence, 2)
    assert works.fan_out(first, second).failed == {first.id}
    assert works.homes.items == {}


def test_past_a_thousand_jobs_of_a_user_in_a_deep_queue_the_rest_waits_outside_it_and_others_go_on() -> None:
    works = Works(limits=Limits(deep=3, asked_every=0, most_waiting=2))
    records = [record_of(run_of(event(n), key="ada" if n % 10 else "grace"), n) for n in range(1, 21)]
    for record in records:
        assert works.fan_out(record).failed == frozenset()
    sent = works.sent(key="ada")
    ada = LaneKey(WORKSPACE, DESTINATION, group_of(SOURCE, "ada"))
    stored = [
        decoded(decode_job(each.body).run.events[0])["properties"]["n"]
        for each in works.overflow.stored(ada, 99, ANY_SIZE)
    ]
    assert 2 <= len(sent) <= 5
    assert sent + stored == [n for n in range(1, 21) if n % 10]
    assert works.sent(key="grace") == [10, 20]
    assert add_up(works.receipts.read(WORKSPACE, DESTINATION)).accepted == 20


def test_imports_overflow_by_themselves() -> None:
    works = Works(limits=Limits(deep=3, asked_every=0, most_waiting=2))
    for number in range(12):
        works.fan_out(record_of(run_of(event(number), bulk=True), number, f"b-{SHARD}"))
    works.fan_out(record_of(run_of(event(99)), 99))
    assert works.sent() == [99]
    lane = LaneKey(WORKSPACE, f"{DESTINATION}-import", group_of(SOURCE, "ada"))
    sent = len(works.queues.queues[url_of(f"{DESTINATION}-import")].held)
    assert list(works.overflow.states) == [lane]
    assert sent + works.overflow.count(*lane[:2], 99) == 12


def test_of_a_batch_that_spills_nothing_is_sent_where_the_overflow_does_not_answer() -> None:
    class Down(MemoryOverflow):
        def append(self, lane: LaneKey, jobs: Sequence[Any]) -> bool:
            raise StoreUnavailable("down")

    works = Works(limits=Limits(deep=0, asked_every=0, most_waiting=0), overflow=Down(Clock()))
    with pytest.raises(StoreUnavailable):
        works.fan_out(record_of(run_of()))
    assert works.sent() == []


def test_a_lane_that_was_released_meanwhile_has_its_jobs_sent_directly() -> None:
    works = Works()
    lane = LaneKey(WORKSPACE, DESTINATION, group_of(SOURCE, "ada"))
    works.overflow.marks[Owner(WORKSPACE, SOURCE, lane.group)].add(DESTINATION)
    works.fan_out(record_of(run_of()))
    assert (works.sent(), works.overflow.marks[Owner(WORKSPACE, SOURCE, lane.group)]) == ([1], set())


def test_imports_know_no_homes() -> None:
    works = Works()
    works.homes.move(key_of(run_of()), 2)
    works.fan_out(record_of(run_of(event(1), bulk=True), 1, f"b-{SHARD}"))
    assert (works.sent(f"{DESTINATION}-import"), works.looks) == ([1], [])


def test_an_import_has_a_queue_of_its_own_and_one_book() -> None:
    works = Works()
    works.fan_out(record_of(run_of(event(1)), 1), record_of(run_of(event(2), bulk=True), 2))
    assert (works.sent(), works.sent(f"{DESTINATION}-import")) == ([1], [2])
    assert add_up(works.receipts.read(WORKSPACE, DESTINATION)).accepted == 2
