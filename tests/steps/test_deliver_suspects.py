"""Jobs that may have killed their function, and jobs that come back as new messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.domain.books import DeliverReceipt
from penstock.domain.delivery import Answer
from penstock.domain.job import Job
from penstock.domain.progress import Progress
from tests.builders_pipeline import DESTINATION, WORKSPACE, message
from tests.deliver_works import NOW, Works, job, reached
from tests.fakes_pipeline import RecordingTool


def test_a_job_that_was_received_twice_without_a_word_runs_alone_and_is_noted_before_each_event() -> None:
    noted: list[Progress | None] = []
    works = Works()

    class Watching(RecordingTool):
        def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
            noted.append(works.note(job(1, 2)))
            return super().post(url, headers, body)

    works.tool = Watching()
    odd, behind, other = message(job(1, 2), receives=3), message(job(3, id_=2)), message(job(4, key="grace", id_=3))
    outcome = works.deliver(odd, behind, other)
    assert works.numbers == [1]
    assert set(outcome.failed) == {odd.id, behind.id, other.id}
    assert (works.books.delivered, reached(works.note(job(1, 2)))) == (1, (1, 0, ""))  # kept before the next is marked
    assert works.deliver(odd._replace(receives=4), behind._replace(receives=2)).failed == (behind.id,)
    assert noted == [Progress(0, is_alone=True), Progress(1, returns=1, is_alone=True)]
    assert {seconds for call in works.queue.calls for _, seconds in call} == {0}


def test_an_event_that_kills_its_function_while_alone_is_dead_and_the_rest_goes_on() -> None:
    works = Works()
    works.progress.write(WORKSPACE, DESTINATION, job(1, 2, 3).id, Progress(1, is_alone=True))
    odd = message(job(1, 2, 3), receives=4)
    assert works.deliver(odd).failed == (odd.id,)
    assert works.deliver(odd._replace(receives=5)).failed == ()
    assert works.numbers == [3]
    assert (works.books.dead, works.books.delivered) == ({"crash": 1}, 1)
    assert [(each.reason, each.index) for each in works.letters.letters] == [("crash", 1)]


def parked(reached: Progress) -> Job:
    return msgspec.structs.replace(job(1, 2, 3), reached=reached)


def test_a_job_that_was_parked_goes_on_where_it_was_though_its_message_is_new_and_its_note_is_forgotten() -> None:
    works = Works(tool=RecordingTool(200, 200, 503))
    works.deliver(message(job(1, 2, 3)))
    reached = works.note(job(1, 2, 3))
    works.progress.notes.clear()
    works.tool.posted.clear()
    works.tool.answers = [Answer(503)]
    works.deliver(message(parked(reached)))
    assert works.note(job(1, 2, 3)).done == 2
    works.progress.notes.clear()
    works.deliver(message(parked(reached), receives=2))
    assert works.numbers == [3, 3]
    assert (works.books.delivered, works.books.dead) == (3, {})
    rows = [row for row in works.receipts.read(WORKSPACE, DESTINATION) if isinstance(row, DeliverReceipt) and row.jobs]
    assert [each.again for row in rows for each in row.jobs.values()] == [False, True]


def test_a_parked_job_that_was_only_given_back_since_keeps_what_it_had_reached() -> None:
    works = Works()
    works.progress.give_back(WORKSPACE, DESTINATION, [job(1).id])
    works.deliver(message(parked(Progress(2, 1, "http_503", first_at=NOW.timestamp())), receives=2))
    assert works.numbers == [3]


def test_a_parked_job_that_kills_its_function_is_found_out_as_any_other() -> None:
    class Deadly(RecordingTool):
        def post(self, *request: Any) -> Answer:
            marks.append(works.note(job(1)))
            return super().post(*request)

    marks: list[Progress | None] = []
    works = Works(tool=Deadly(503))
    works.deliver(message(parked(Progress(1)), receives=3))
    assert marks == [Progress(1, is_alone=True)]


def test_what_deliver_gave_back_itself_is_no_crash() -> None:
    works = Works()
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, Progress(returns=30))
    works.deliver(message(job(1), receives=31), message(job(2, key="grace", id_=2)))
    assert works.numbers == [1, 2]
