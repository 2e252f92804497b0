"""Deliver has to have leave: of the gate, of a rate and of slots; and tells what it has seen."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from penstock.domain.delivery import Answer
from penstock.domain.gate import Gate, GateState
from penstock.domain.rate import Lease
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import message
from tests.deliver_works import NOW, Doors, Rates, Works, job, reached
from tests.fakes_pipeline import RecordingTool


def test_a_closed_gate_lets_nothing_through_and_gives_every_job_back() -> None:
    works = Works(doors=Doors(Gate(GateState.CLOSED, next_probe_at=NOW.timestamp() + 30)))
    first, second = message(job(1)), message(job(2, key="grace", id_=2))
    assert works.deliver(first, second).failed == (first.id, second.id)
    assert works.queue.calls == [[(first.receipt, 30), (second.receipt, 30)]]
    assert (works.numbers, works.rates.asked, works.doors.reports) == ([], [], [])


def test_a_probe_goes_through_a_closed_gate_and_comes_back_soon() -> None:
    works = Works(tool=RecordingTool(Answer(503, "3000")), doors=Doors(Gate(GateState.PROBING)))
    assert len(works.deliver(message(job(1)), is_probe=True).failed) == 1
    assert works.queue.calls == [[(message(job(1)).receipt, 1)]]
    assert works.doors.reports[0].groups_failed


def test_a_probe_of_many_users_hides_no_more_of_their_jobs_in_one_call_than_sqs_takes() -> None:
    works = Works(tool=RecordingTool(*[503] * 25))
    asked = [message(job(number, key=f"user-{number}", id_=number)) for number in range(25)]
    works.deliver(*asked, is_probe=True)
    assert [len(call) for call in works.queue.calls] == [10, 10, 5]


def test_without_tokens_the_rest_waits_for_them_and_that_is_no_attempt() -> None:
    works = Works(rates=Rates(Lease(2, None, 7.0)))
    outcome = works.deliver(message(job(1, 2, 3)))
    assert (works.numbers, len(outcome.failed), works.rates.asked, works.rates.settled) == (
        [1, 2],
        1,
        [(3, 1)],
        [(2, 0)],
    )
    assert (reached(works.note(job(1, 2, 3))), works.queue.calls[0][0][1]) == ((2, 0, ""), 7)
    assert works.books.delivered == 2


def test_leave_that_was_not_used_in_time_is_none_any_more() -> None:
    works = Works(rates=Rates(Lease(3, None, 7.0, good_s=-1.0)))
    assert len(works.deliver(message(job(1, 2, 3))).failed) == 1
    assert (works.numbers, works.rates.settled) == ([], [(0, 0)])


def test_the_longest_wait_that_a_429_asks_for_is_told() -> None:
    works = Works(tool=RecordingTool(Answer(429, "7"), Answer(503, "90"), Answer(429, "30")))
    works.deliver(*[message(job(n, key=f"user-{n}", id_=n)) for n in range(3)])
    assert (works.rates.settled, works.rates.pause_s) == ([(3, 2)], 30.0)


def test_without_a_slot_nothing_is_sent() -> None:
    works = Works(rates=Rates(Lease(None, 0, 2.0)))
    assert len(works.deliver(message(job(1)), message(job(2, key="grace", id_=2))).failed) == 2
    assert works.numbers == []


def test_a_slot_is_for_one_lane_at_a_time() -> None:
    with ThreadPoolExecutor(10) as threads:
        busy, most, lock = 0, 0, threading.Lock()

        class Counting:
            def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
                nonlocal busy, most
                with lock:
                    busy += 1
                    most = max(most, busy)
                threading.Event().wait(0.002)
                with lock:
                    busy -= 1
                return Answer(200)

        works = Works(tool=Counting(), threads=threads, rates=Rates(Lease(None, 2)))
        assert works.deliver(*[message(job(n, key=f"user-{n}", id_=n)) for n in range(10)]).delivered == 10
    assert most <= 2


def test_the_gate_hears_who_failed_and_that_others_got_through() -> None:
    works = Works(tool=RecordingTool(500, 200, 429, 400))
    messages = [message(job(n, key=f"user-{n}", id_=n)) for n in range(4)]
    works.deliver(*messages)
    (evidence,) = works.doors.reports
    assert evidence.groups_failed == {messages[0].group}
    assert (evidence.delivered, evidence.throttled, evidence.requests, evidence.stop) == (2, 1, 4, None)
    assert (works.rates.settled, works.rates.failed) == ([(4, 1)], [1])


def test_a_gate_that_cannot_be_told_changes_nothing_of_the_outcome() -> None:
    works = Works(tool=RecordingTool(500), doors=Doors(trouble=StoreUnavailable("injected")))
    assert len(works.deliver(message(job(1))).failed) == 1
