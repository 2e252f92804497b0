"""Jobs that may have killed their function, and jobs that come back as new messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.books import DeliverReceipt
from penstock.domain.delivery import Answer
from penstock.domain.job import Job, encode_job, group_of
from penstock.domain.progress import Progress
from penstock.errors import StoreUnavailable
from penstock.steps.lane import Message
from tests.builders_pipeline import DESTINATION, WORKSPACE, message
from tests.deliver_works import NOW, Works, job, reached
from tests.fakes_pipeline import Fifo, MemoryProgress, RecordingTool


class Died(BaseException):
    """The function is gone: nothing of ours catches this."""


class Deadly(RecordingTool):
    """Kills whoever sends it this event; each of some others it refuses once."""

    def __init__(self, deadly: int, refused: Iterable[int] = ()) -> None:
        super().__init__()
        self._deadly = deadly
        self._refused = set(refused)

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        answer = super().post(url, headers, body, timeout_s)
        number = json.loads(body)["properties"]["n"]
        if number == self._deadly:
            raise Died
        if number in self._refused:
            self._refused.remove(number)
            return Answer(503)
        return answer


class Mapped:
    """A queue and what empties it. `throttled` says of each batch whether no function is to be had for it."""

    def __init__(self, works: Works, jobs: Iterable[Job], throttled: Iterable[bool] = ()) -> None:
        self.works = works
        self.queue = Fifo(lambda: works.now.timestamp())
        self.invocations = self.deaths = 0
        self._throttled = iter(throttled)
        for each in jobs:
            self.queue.take(group_of(each.run.source, each.run.key), each.id, encode_job(each))

    def empty(self) -> None:
        while self.queue.held:
            messages = self.queue.receive()
            if not messages:
                self.works.now = datetime.fromtimestamp(self.queue.wakes_at() or 0.0, UTC)
            elif not next(self._throttled, False):
                self._invoke(messages)

    def _invoke(self, messages: Sequence[Message]) -> None:
        self.invocations += 1
        try:
            outcome = self.works.deliver(*messages)
        except Died:
            self.deaths += 1
            return
        for receipt, seconds in chain.from_iterable(self.works.queue.calls):
            self.queue.hide(receipt, seconds)
        self.works.queue.calls.clear()
        for each in messages:
            if each.id not in outcome.failed:
                self.queue.delete(each.receipt)


def jobs_of(users: int, events: int) -> list[Job]:
    """One job a user; the events of all are numbered in a row."""
    return [job(*range(user * events, (user + 1) * events), key=f"u{user}", id_=user) for user in range(users)]


def test_jobs_for_which_no_function_was_to_be_had_are_sent_as_if_they_were_new() -> None:
    mapped = Mapped(Works(), jobs_of(10, 10), throttled=[True, True])
    mapped.empty()
    assert (mapped.invocations, mapped.works.books.delivered) == (1, 100)
    assert len(mapped.works.progress.notes) == 10


def test_a_job_costs_no_note_before_its_third_receive() -> None:
    mapped = Mapped(Works(), jobs_of(10, 10), throttled=[True])
    mapped.empty()
    assert (mapped.invocations, mapped.works.progress.notes) == (1, {})


@pytest.mark.parametrize(("throttles", "deaths"), [(0, 4), (1, 3), (2, 2), (9, 2)])
def test_an_event_that_kills_its_function_is_found_after_four_deaths_at_most(throttles: int, deaths: int) -> None:
    mapped = Mapped(Works(tool=Deadly(7)), jobs_of(10, 2), throttled=[True] * throttles)
    mapped.empty()
    assert mapped.deaths == deaths
    assert (mapped.works.books.dead, mapped.works.books.delivered) == ({"crash": 1}, 19)
    assert [(each.reason, bytes(each.event).count(b"m-7")) for each in mapped.works.letters.letters] == [("crash", 1)]


def test_who_was_beside_a_killer_pays_an_invocation_for_each_of_its_events_at_most() -> None:
    mapped = Mapped(Works(tool=Deadly(39)), jobs_of(10, 4))
    mapped.empty()
    assert mapped.works.books.delivered == 39
    assert mapped.invocations - mapped.deaths == 10 * 4  # all ten were begun with when it struck


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=12), st.integers(0, 11), st.sets(st.integers(0, 11), max_size=4))
def test_a_killer_is_found_whatever_is_throttled_and_fails_beside_it(
    throttled: list[bool], deadly: int, refused: set[int]
) -> None:
    adas = [job(0, 1, 2, 3), job(4, 5, id_=2)]
    others = [job(6, 7, 8, key="grace", id_=3), job(9, 10, 11, key="joan", id_=4)]
    mapped = Mapped(Works(tool=Deadly(deadly, refused - {deadly})), [*adas, *others], throttled)
    mapped.empty()
    assert mapped.deaths <= 4
    assert (mapped.works.books.dead, mapped.works.books.delivered) == ({"crash": 1}, 11)


class Watching(RecordingTool):
    """Looks at the note of a job when its events are sent."""

    def __init__(self, works: Works, watched: Job, *answers: Answer | int) -> None:
        super().__init__(*answers)
        self.noted: list[Progress | None] = []
        self._note = lambda: works.note(watched)

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        self.noted.append(self._note())
        return super().post(url, headers, body, timeout_s)


def test_a_job_that_was_received_twice_without_a_word_is_noted_as_begun_before_its_first_event() -> None:
    works = Works()
    works.tool = Watching(works, job(1, 2), 200, 503)
    odd, other = message(job(1, 2), receives=3), message(job(4, key="grace", id_=3))
    assert works.deliver(odd, other).failed == (odd.id,)
    assert works.numbers == [1, 2, 4]
    assert works.tool.noted[:2] == [Progress(is_started=True)] * 2
    assert works.note(job(4, key="grace", id_=3)) is None


def test_a_job_that_was_begun_with_and_given_back_is_no_suspect() -> None:
    works = Works(tool=RecordingTool(503))
    works.deliver(message(job(1), receives=3), message(job(2, id_=2), receives=3))
    notes = works.note(job(1)), works.note(job(2, id_=2))
    assert [(note.is_suspect, note.returns) for note in notes if note] == [(False, 1), (False, 1)]
    works.deliver(message(job(1), receives=5), message(job(2, id_=2), receives=5))
    assert works.numbers == [1, 1, 2]


def test_a_job_whose_beginning_could_not_be_noted_is_not_tried() -> None:
    class Out(MemoryProgress):
        def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None:
            super().write(workspace, destination, job_id, progress)
            if progress.is_suspect:
                raise StoreUnavailable("done, and nobody heard of it")

    works = Works(progress=Out())
    odd, other = message(job(1), receives=3), message(job(2, key="grace", id_=2))
    assert works.deliver(odd, other).failed == (odd.id,)
    assert (works.numbers, works.note(job(1))) == ([2], Progress(returns=1))
    works.progress.notes[WORKSPACE, DESTINATION, job(1).id] = Progress(is_started=True)
    works.deliver(odd)
    assert (works.numbers, works.note(job(1))) == ([2], Progress(returns=1, is_started=True))


def test_a_suspect_runs_alone_and_is_noted_before_each_event() -> None:
    works = Works()
    works.progress.write(WORKSPACE, DESTINATION, job(1, 2).id, Progress(is_started=True))
    works.tool = Watching(works, job(1, 2))
    odd, behind, other = message(job(1, 2), receives=4), message(job(3, id_=2)), message(job(4, key="grace", id_=3))
    outcome = works.deliver(odd, behind, other)
    assert works.numbers == [1]
    assert set(outcome.failed) == {odd.id, behind.id, other.id}
    assert (works.books.delivered, reached(works.note(job(1, 2)))) == (1, (1, 0, ""))  # kept before the next is marked
    assert works.deliver(odd._replace(receives=5), behind._replace(receives=2)).failed == (behind.id,)
    assert works.tool.noted == [
        Progress(0, is_alone=True, is_started=True),
        Progress(1, returns=1, is_alone=True, is_started=True),
    ]
    assert {seconds for call in works.queue.calls for _, seconds in call} == {0}


def test_a_suspect_that_waits_for_others_or_for_its_next_try_stays_one() -> None:
    works = Works(tool=RecordingTool(200, 503))
    first, second = job(1, key="grace", id_=2), job(2, 3)
    for each in (first, second):
        works.progress.write(WORKSPACE, DESTINATION, each.id, Progress(is_started=True))
    assert works.deliver(message(first, receives=4), message(second, receives=4)).delivered == 1
    assert works.note(second) == Progress(returns=1, is_started=True)
    works.deliver(message(second, receives=5))
    assert works.note(second).is_suspect


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
    works = Works()
    works.tool = Watching(works, job(1), 503, 503)
    works.deliver(message(parked(Progress(1)), receives=3))
    works.deliver(message(parked(Progress(1, is_started=True))))
    assert works.tool.noted == [
        Progress(1, is_started=True),
        Progress(1, is_alone=True, is_started=True),
    ]


def test_what_deliver_gave_back_itself_is_no_crash() -> None:
    works = Works()
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, Progress(returns=30))
    works.deliver(message(job(1), receives=31), message(job(2, key="grace", id_=2)))
    assert works.numbers == [1, 2]
