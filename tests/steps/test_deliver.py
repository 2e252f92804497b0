"""Deliver: in order within a user, users at once, every outcome noted, nothing repeated that need not be."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.domain.books import Books
from penstock.domain.delivery import Answer, Trouble
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.job import decode_job
from penstock.domain.progress import Progress
from penstock.errors import StoreUnavailable
from penstock.steps.deliver import DELETED_DELAY_S
from penstock.steps.lane import STORE_DELAY_S
from penstock.steps.settle import Outcome
from tests.builders_pipeline import DESTINATION, WORKSPACE, event, job_of, message, run_of, webhook
from tests.deliver_works import NOW, Works, job, reached
from tests.fakes_pipeline import RecordingTool


def test_every_event_is_one_request_in_order_and_one_receipt_in_all() -> None:
    works = Works()
    first, second = message(job(1, 2)), message(job(3, id_=2))
    outcome = works.deliver(first, second)
    assert (works.numbers, outcome) == ([1, 2, 3], Outcome((), 3, ()))
    assert works.books.delivered == 3
    assert len(works.receipts.read(WORKSPACE, DESTINATION)) == 1


def test_success_reads_and_writes_no_note_and_hides_nothing() -> None:
    works = Works()
    works.deliver(message(job(1)))
    assert (works.progress.reads, works.progress.notes, works.queue.calls) == (0, {}, [])


def test_after_a_failure_everything_behind_it_waits_and_other_users_flow() -> None:
    works = Works(tool=RecordingTool(200, 503))
    ada, later, grace = message(job(1, 2, 3)), message(job(4, id_=2)), message(job(5, key="grace", id_=3))
    outcome = works.deliver(ada, later, grace)
    assert works.numbers == [1, 2, 5]
    assert outcome.failed == (ada.id, later.id)
    assert reached(works.note(job(1, 2, 3))) == (1, 1, "http_503")
    assert works.note(job(4, id_=2)) == Progress(returns=1)


def test_the_failing_job_is_hidden_first_and_those_behind_it_no_longer() -> None:
    works = Works(tool=RecordingTool(Answer(429, "7")))
    ada, later, last = (message(job(n, id_=n)) for n in (1, 2, 3))
    works.deliver(ada, later, last)
    assert works.queue.calls == [[(ada.receipt, 7)], [(later.receipt, 7), (last.receipt, 7)]]


def test_a_part_of_a_second_is_a_whole_one_so_that_nothing_comes_early() -> None:
    works = Works(tool=RecordingTool(*[503]), chance=0.6)
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, Progress(0, 2, "http_503", NOW.timestamp()))
    works.deliver(message(job(1), receives=2))
    assert works.queue.calls[0][0][1] == 3  # 0.6 of 4 seconds


def test_a_retry_goes_on_where_it_failed_and_counts_its_attempts() -> None:
    works = Works(tool=RecordingTool(200, 500))
    works.deliver(message(job(1, 2, 3)))
    works.tool.answers = [Answer(500)]
    works.deliver(message(job(1, 2, 3), receives=2))
    assert reached(works.note(job(1, 2, 3))) == (1, 2, "http_500")
    works.tool.answers = [Answer(200), Answer(500)]
    works.deliver(message(job(1, 2, 3), receives=3))
    assert reached(works.note(job(1, 2, 3))) == (2, 1, "http_500")
    works.deliver(message(job(1, 2, 3), receives=4))
    assert works.numbers == [1, 2, 2, 2, 3, 3]
    assert works.books.delivered == 3


def test_receives_are_no_attempts() -> None:
    works = Works(tool=RecordingTool(500))
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, Progress(returns=49))
    works.deliver(message(job(1), receives=50))
    assert reached(works.note(job(1))) == (0, 1, "http_500")


@pytest.mark.parametrize("status", [400, 404, 410, 422, 501])
def test_what_no_retry_can_mend_is_discarded_with_its_reason_and_holds_up_nothing(status: int) -> None:
    works = Works(tool=RecordingTool(status))
    outcome = works.deliver(message(job(1, 2)))
    assert (works.numbers, outcome.failed, outcome.delivered) == ([1, 2], (), 1)
    assert works.books == Books(delivered=1, discarded=works.books.discarded)
    assert works.books.discarded == {f"http_{status}": 1}
    assert [(each.place, each.reason) for each in outcome.troubles] == [(0, f"http_{status}")]


@pytest.mark.parametrize(
    ("answer", "shortest"),
    [
        (Answer(401), 30),
        (Answer(403), 30),
        (Answer(302), 30),
        (Answer(None, trouble=Trouble.BLOCKED_ADDRESS), 30),
        (Answer(None, trouble=Trouble.DNS), 1),
        (Answer(None, trouble=Trouble.TLS), 1),
        (Answer(None, trouble=Trouble.TIMEOUT), 1),
    ],
)
def test_what_a_person_can_mend_waits_for_that_person(answer: Answer, shortest: int) -> None:
    works = Works(tool=RecordingTool(answer), chance=0.0)
    outcome = works.deliver(message(job(1)))
    assert len(outcome.failed) == 1
    assert works.queue.calls[0][0][1] == shortest
    assert works.books.discarded == {}


def test_a_destination_that_is_off_gets_nothing() -> None:
    works = Works(settings=webhook(enabled=False))
    assert works.deliver(message(job(1, 2))).failed == ()
    assert (works.numbers, works.books.discarded) == ([], {"destination_disabled": 2})


def test_what_comes_for_a_destination_that_is_gone_is_given_back_to_be_buried() -> None:
    works = Works(settings=None)
    first, second = message(job(1, 2)), message(job(3, id_=2), receives=2)
    works.progress.write(WORKSPACE, DESTINATION, job(3, id_=2).id, Progress(0, 4, "http_500"))
    outcome = works.deliver(first, second)
    assert outcome.failed == (first.id, second.id)
    assert works.queue.calls == [[(first.receipt, DELETED_DELAY_S)], [(second.receipt, DELETED_DELAY_S)]]
    assert (works.numbers, works.books) == ([], Books())
    assert reached(works.note(job(3, id_=2))) == (0, 4, "http_500")
    assert {each.reason for each in outcome.troubles} == {"destination_deleted"}


def test_without_its_settings_a_job_waits_and_nothing_is_lost() -> None:
    works = Works(settings=StoreUnavailable("injected"))
    first, second = message(job(1)), message(job(2, id_=2))
    assert works.deliver(first, second).failed == (first.id, second.id)
    assert works.queue.calls == [[(first.receipt, STORE_DELAY_S)], [(second.receipt, STORE_DELAY_S)]]
    assert (works.numbers, set(works.progress.notes.values())) == ([], {Progress(returns=1)})


@pytest.mark.parametrize("body", ["", "{", "5", "[" * 5000, '{"v":1}', '{"v":1,"id":"x","destination":"d","run":{}}'])
def test_a_job_that_nobody_can_read_is_kept_aside_and_blocks_nobody(body: str) -> None:
    works = Works()
    odd, good = message(body, group="g"), message(job(1), group="g")
    outcome = works.deliver(odd, good)
    assert (outcome.failed, works.numbers) == ((), [1])
    assert works.receipts.unreadable == {DESTINATION: {odd.id: body.encode()}}
    assert [each.reason for each in outcome.troubles] == ["unreadable"]


def test_a_job_of_another_destination_is_never_sent() -> None:
    works = Works()
    stray = message(job_of(run_of(event(1)), destination="dst_bbbbbbbbbbbb"))
    assert works.deliver(stray).failed == ()
    assert (works.numbers, list(works.receipts.unreadable[DESTINATION])) == ([], [stray.id])


def test_an_event_that_nobody_can_read_is_discarded_alone() -> None:
    works = Works()
    works.deliver(message(job_of(run_of(event(1), b"5", event(3)))))
    assert (works.numbers, works.books.delivered, works.books.discarded) == ([1, 3], 2, {"unreadable": 1})


def test_when_time_runs_out_the_rest_comes_back_at_once_and_no_attempt_is_counted() -> None:
    works = Works()
    left = iter([True, True, False])
    first, second = message(job(1, 2, 3)), message(job(4, id_=2))
    outcome = works.deliver(first, second, has_time=lambda: next(left))
    assert (works.numbers, outcome.failed) == ([1, 2], (first.id, second.id))
    assert works.queue.calls == [[(first.receipt, 0)], [(second.receipt, 0)]]
    assert reached(works.note(job(1, 2, 3))) == (2, 0, "")


def test_without_time_for_even_one_event_an_earlier_note_stands() -> None:
    works = Works()
    works.progress.write(WORKSPACE, DESTINATION, job(1, 2).id, Progress(1, 4, "http_500"))
    works.deliver(message(job(1, 2), receives=2), has_time=lambda: False)
    assert reached(works.note(job(1, 2))) == (1, 4, "http_500")


class Meeting:
    """A tool that answers only when it has been asked by so many at once."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        self._barrier.wait(30)
        return Answer(200)


def test_users_are_served_at_once() -> None:
    with ThreadPoolExecutor(10) as threads:
        works = Works(tool=Meeting(10), threads=threads)
        outcome = works.deliver(*[message(job(n, key=f"user-{n}", id_=n)) for n in range(10)])
    assert outcome.delivered == 10


def test_one_user_is_served_one_event_at_a_time() -> None:
    class Jealous:
        busy = False

        def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
            assert not self.busy
            self.busy = True
            threading.Event().wait(0.002)
            self.busy = False
            return Answer(200)

    with ThreadPoolExecutor(10) as threads:
        works = Works(tool=Jealous(), threads=threads)
        assert works.deliver(*[message(job(n, n + 100, id_=n)) for n in range(10)]).delivered == 20


def test_a_job_comes_out_of_its_message_as_it_went_in() -> None:
    odd = job_of(run_of(event(1, name="\ufffe\uffff\x7f é 😀"), context={"ip": "x"}))
    assert decode_job(message(odd).body) == odd


def test_a_discard_is_kept_whole() -> None:
    works = Works(tool=RecordingTool(Answer(422, body=b"no such field")))
    works.deliver(message(job(1)))
    (letter,) = works.letters.letters
    assert (letter.kind, letter.reason) == ("discarded", "http_422")
    assert letter.response is not None and letter.response.body == "no such field"


def test_a_destination_has_verdicts_of_its_own() -> None:
    policy = DeliveryPolicy(verdicts={"404": "retry", "409": "done", "5xx": "discard"})
    works = Works(tool=RecordingTool(409, 500, 404), settings=webhook(policy=policy))
    assert len(works.deliver(message(job(1, 2, 3))).failed) == 1
    assert (works.books.delivered, works.books.discarded) == (1, {"http_500": 1})
