"""For how long deliver tries an event that fails, and when it gives it up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from itertools import count

import pytest

from penstock.domain.delivery import Answer, Trouble
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.event import iso
from penstock.domain.gate import Gate
from penstock.domain.job import Job
from penstock.domain.progress import Progress
from penstock.domain.rate import Lease
from tests.builders_pipeline import DESTINATION, WORKSPACE, message, webhook
from tests.deliver_works import NOW, PATIENCE, Rates, Works, job
from tests.fakes_pipeline import RecordingTool


def test_no_probe_gives_an_event_up_and_its_age_begins_anew() -> None:
    works = Works(tool=RecordingTool(503))
    began_at = NOW.timestamp() - 14_400
    old = Progress(0, 9, "http_503", first_at=began_at, returns=9, kind="trouble", kind_at=began_at)
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, old)
    works.deliver(message(job(1), receives=10), is_probe=True)
    note = works.note(job(1))
    assert note is not None
    assert (note.attempts, note.first_at, note.kind_at) == (10, NOW.timestamp(), NOW.timestamp())
    assert works.letters.letters == []


def test_an_event_is_waited_for_less_in_its_first_two_tries_than_later() -> None:
    works = Works(tool=RecordingTool(*[Answer(None, trouble=Trouble.TIMEOUT)] * 4, 200))
    for receives in range(1, 6):
        works.deliver(message(job(1), receives=receives))
    waited = [each.timeout_s for each in works.tool.posted]
    assert waited == [PATIENCE.early_s, PATIENCE.early_s, PATIENCE.later_s, PATIENCE.later_s, PATIENCE.later_s]


def test_each_event_of_a_job_has_first_tries_of_its_own() -> None:
    works = Works(tool=RecordingTool(503, 503, 200, 503))
    for receives in range(1, 4):
        works.deliver(message(job(1, 2), receives=receives))
    waited = [each.timeout_s for each in works.tool.posted]
    assert waited == [PATIENCE.early_s, PATIENCE.early_s, PATIENCE.later_s, PATIENCE.early_s]


def test_a_probe_is_waited_for_as_long_as_anybody() -> None:
    works = Works()
    works.deliver(message(job(1)), is_probe=True)
    assert [each.timeout_s for each in works.tool.posted] == [PATIENCE.later_s]


def test_an_event_that_was_tried_for_as_long_as_its_policy_says_is_dead_and_kept_whole() -> None:
    works = Works(
        tool=RecordingTool(Answer(503, headers={"X-Why": "tired"}, body=b"later"), 200),
        settings=webhook(policy=DeliveryPolicy(max_age_s=60), headers={"Authorization": "Bearer x"}),
    )
    began_at = NOW.timestamp() - 60
    note = Progress(0, 6, "http_500", first_at=began_at, returns=6, kind="trouble", kind_at=began_at)
    works.progress.write(WORKSPACE, DESTINATION, job(1, 2).id, note)
    old, behind = message(job(1, 2), receives=7), message(job(3, id_=2))
    assert works.deliver(old, behind).failed == (old.id, behind.id)
    assert works.numbers == [1]  # what is dead is kept before anything behind it is sent
    assert works.deliver(old._replace(receives=8)).failed == ()
    (letter,) = works.letters.letters
    assert (letter.kind, letter.reason, letter.attempts, letter.index) == ("dead", "http_503", 7, 0)
    assert letter.request is not None and letter.response is not None
    assert json.loads(letter.request.body)["properties"] == {"n": 1}
    assert letter.request.headers["Authorization"] == "********"
    assert (letter.response.status, letter.response.body, letter.response.headers) == (503, "later", {"X-Why": "tired"})
    assert (works.books.dead, works.books.delivered) == ({"http_503": 1}, 1)


@pytest.mark.parametrize("status", [401, 302])
def test_what_stops_a_destination_never_kills_an_event(status: int) -> None:
    works = Works(tool=RecordingTool(status), settings=webhook(policy=DeliveryPolicy(max_age_s=60)))
    note = Progress(0, 6, "http_500", first_at=NOW.timestamp() - 6_000, returns=6)
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, note)
    assert len(works.deliver(message(job(1), receives=7)).failed) == 1
    assert works.doors.reports[0].stop == {401: "credentials", 302: "address"}[status]


def test_a_first_failure_never_kills_however_short_the_policy() -> None:
    works = Works(tool=RecordingTool(503), settings=webhook(policy=DeliveryPolicy(max_age_s=60)))
    assert len(works.deliver(message(job(1))).failed) == 1


@pytest.mark.parametrize(("status", "dead"), [(429, {}), (503, {"http_503": 1})])
def test_who_asks_for_later_is_asked_for_longer(status: int, dead: dict[str, int]) -> None:
    works = Works(tool=RecordingTool(status, status))
    works.deliver(message(job(1)))
    works.now += timedelta(seconds=20_000)
    works.deliver(message(job(1), receives=2))
    assert works.books.dead == dead


@pytest.mark.parametrize(
    ("before", "after", "policy"),
    [
        (429, 503, DeliveryPolicy(throttled_max_age_s=28_800)),
        (503, 429, DeliveryPolicy(max_age_s=28_800, throttled_max_age_s=14_400)),
    ],
)
def test_each_kind_of_failure_has_an_age_of_its_own(before: int, after: int, policy: DeliveryPolicy) -> None:
    works = Works(tool=RecordingTool(before, after, after, after), settings=webhook(policy=policy))
    works.deliver(message(job(1)))
    for receives, hours in ((2, 3), (3, 3)):
        works.now += timedelta(hours=hours)
        assert len(works.deliver(message(job(1), receives=receives)).failed) == 1
    works.now += timedelta(hours=1)
    assert works.deliver(message(job(1), receives=4)).failed == ()
    (letter,) = works.letters.letters
    assert (letter.reason, letter.attempts) == (f"http_{after}", 4)
    assert letter.first_at == iso(NOW)


@pytest.mark.parametrize("before", [401, 302])
@pytest.mark.parametrize("after", [429, 503])
def test_what_a_person_took_to_mend_a_destination_is_nobodys_age(before: int, after: int) -> None:
    policy = DeliveryPolicy(throttled_max_age_s=14_400)
    works = Works(tool=RecordingTool(before, after, after), settings=webhook(policy=policy))
    works.deliver(message(job(1)))
    works.now += timedelta(days=3)
    assert len(works.deliver(message(job(1), receives=2)).failed) == 1
    works.now += timedelta(hours=4)
    assert works.deliver(message(job(1), receives=3)).failed == ()
    (letter,) = works.letters.letters
    assert (letter.reason, letter.attempts) == (f"http_{after}", 3)
    assert letter.first_at == iso(NOW + timedelta(days=3))


def test_a_tool_that_fails_now_in_one_way_and_now_in_another_is_given_up_after_the_longer_time() -> None:
    works = Works(tool=RecordingTool(*[503, 429] * 20))
    receives = 1
    while works.deliver(message(job(1), receives=receives)).failed:
        works.now += timedelta(hours=1)
        receives += 1
    assert works.now - NOW == timedelta(hours=24)  # what a 429 may take, unless a destination says otherwise
    assert [letter.attempts for letter in works.letters.letters] == [25]


def test_a_note_of_before_kinds_had_an_age_of_their_own_gives_up_no_sooner() -> None:
    works = Works(tool=RecordingTool(503, 503))
    old = Progress(0, 3, "http_503", first_at=NOW.timestamp() - 60, returns=3, kind="trouble")
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, old)
    assert len(works.deliver(message(job(1), receives=4)).failed) == 1
    works.now += timedelta(hours=4)
    assert works.deliver(message(job(1), receives=5)).failed == ()
    assert works.books.dead == {"http_503": 1}


NOT_MADE = Answer(None, trouble=Trouble.NO_ROOM)


def test_a_request_that_was_not_made_is_no_attempt_and_speaks_against_nobody() -> None:
    works = Works(tool=RecordingTool(200, NOT_MADE))
    first, behind = message(job(1, 2)), message(job(3, id_=2))
    assert works.deliver(first, behind).failed == (first.id, behind.id)
    assert works.queue.calls == [[(first.receipt, 5)], [(behind.receipt, 5)]]
    assert works.note(job(1, 2)) == Progress(1, returns=1)
    (report,) = works.doors.reports
    assert (report.groups_failed, report.requests, report.delivered) == (frozenset(), 1, 1)
    assert (works.books.delivered, works.books.outcomes) == (1, 1)


def test_a_suspect_whose_request_was_not_made_was_not_tried() -> None:
    works = Works(tool=RecordingTool(NOT_MADE, 200))
    works.deliver(message(job(1), receives=3))
    assert works.note(job(1)) == Progress(returns=1)
    works.deliver(message(job(1), receives=4))
    assert (works.books.dead, works.books.delivered) == ({}, 1)


def lived_through(works: Works, job: Job, longest_wait_s: float) -> float:
    """Days until the message of a job is done with; between two tries it is hidden so long at most."""
    for receives in count(1):
        if not works.deliver(message(job, receives=receives)).failed:
            return (works.now - NOW) / timedelta(days=1)
        works.now += timedelta(seconds=min(works.queue.calls[-1][0][1], longest_wait_s) or 1)
    raise AssertionError


class Hopeless(RecordingTool):
    """Never takes anything, and asks for hours of rest."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        super().post(url, headers, body, timeout_s)
        return Answer(503, "40000")


@pytest.mark.parametrize(("events", "max_age_s"), [(1, 13 * 86_400), (2, 13 * 86_400), (100, 14_400), (100, 60)])
def test_no_job_outlives_its_queue_however_many_of_its_events_fail(events: int, max_age_s: int) -> None:
    works = Works(tool=Hopeless(), settings=webhook(policy=DeliveryPolicy(max_age_s=max_age_s)))
    assert lived_through(works, job(*range(events)), 43_000.0) < 13.75
    assert [(letter.index, letter.reason) for letter in works.letters.letters] == [
        (index, "http_503") for index in range(events)
    ]
    assert works.books.dead == {"http_503": events}
    assert all(letter.attempts and letter.request for letter in works.letters.letters)


@pytest.mark.parametrize("status", [503, 429, 401, 302])
def test_on_its_last_days_a_job_waits_for_nothing(status: int) -> None:
    works = Works(tool=RecordingTool(200, status, 200), now=NOW + timedelta(days=13))
    old = message(job(1, 2, 3))
    assert works.deliver(old).failed == (old.id,)  # what is dead is kept before anything behind it is sent
    assert works.deliver(old._replace(receives=2)).failed == ()
    assert (works.books.dead, works.books.delivered) == ({f"http_{status}": 1}, 2)
    assert works.numbers == [1, 2, 3]


def test_a_job_that_was_sent_again_has_all_of_its_days() -> None:
    works = Works(tool=RecordingTool(503), now=NOW + timedelta(days=13))
    assert len(works.deliver(message(job(1), sent_at=works.now.timestamp() - 60)).failed) == 1


def test_what_waited_until_its_queue_would_forget_it_is_kept_untried_and_asks_for_no_token() -> None:
    works = Works(now=NOW + timedelta(days=13.75), rates=Rates(Lease(0, 0, wait_s=60.0)))
    works.progress.write(WORKSPACE, DESTINATION, job(1, 2, 3).id, Progress(1, 4, "http_503", NOW.timestamp()))
    first, behind = message(job(1, 2, 3), receives=5), message(job(4, id_=2), receives=5)
    assert works.deliver(first, behind).failed == (behind.id,)
    assert works.deliver(behind).failed == ()
    found = [(letter.index, letter.reason, letter.attempts) for letter in works.letters.letters]
    assert found == [(1, "too_old", 4), (2, "too_old", 0), (0, "too_old", 0)]
    assert (works.numbers, works.books.dead) == ([], {"too_old": 3})


def test_while_the_gate_is_closed_nobody_gets_older() -> None:
    works = Works(tool=RecordingTool(503, 503, 503, 503))
    works.deliver(message(job(1)))
    works.now += timedelta(hours=5)
    works.doors.gate = Gate(since=works.now.timestamp() - 30)
    assert len(works.deliver(message(job(1), receives=2)).failed) == 1
    works.now += timedelta(hours=3, minutes=59)
    assert len(works.deliver(message(job(1), receives=3)).failed) == 1
    works.now += timedelta(minutes=1)
    assert works.deliver(message(job(1), receives=4)).failed == ()
    assert works.books.dead == {"http_503": 1}
