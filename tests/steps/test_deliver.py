"""Deliver: in order within a user, users at once, every outcome noted, nothing repeated that need not be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec
import pytest

from penstock.domain.books import Books, Cause, DeliverReceipt, add_up
from penstock.domain.delivery import Answer, Trouble
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.evidence import Evidence
from penstock.domain.gate import Gate, GateState
from penstock.domain.job import Job, decode_job
from penstock.domain.letters import Letter
from penstock.domain.progress import Progress
from penstock.domain.rate import Lease
from penstock.domain.webhook import Webhook
from penstock.errors import QueueGone, QueueUnavailable, StoreUnavailable
from penstock.steps.deliver import DELETED_DELAY_S, Ports, deliver
from penstock.steps.lane import STORE_DELAY_S, Message
from penstock.steps.settle import Outcome
from tests.builders_pipeline import DESTINATION, WORKSPACE, batch, event, job_of, message, run_of, url_of, webhook
from tests.fakes_pipeline import Inline, MemoryProgress, MemoryReceipts, RecordingTool

NOW = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)


class Hidden:
    """Remembers what was hidden for how long, call by call."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.calls: list[list[tuple[str, int]]] = []
        self._trouble = trouble

    def hide(self, queue_url: str, waits: Any) -> None:
        assert queue_url == url_of(DESTINATION)
        self.calls.append(list(waits))
        if self._trouble is not None:
            raise self._trouble


@dataclass
class Doors:
    """The gate, and what it is told."""

    gate: Gate = field(default_factory=Gate)
    reports: list[Evidence] = field(default_factory=list)
    trouble: Exception | None = None

    def get(self, key: tuple[str, str]) -> Gate:
        assert key == (WORKSPACE, DESTINATION)
        return self.gate

    def report(self, workspace: str, destination: str, evidence: Evidence) -> None:
        assert (workspace, destination) == (WORKSPACE, DESTINATION)
        self.reports.append(evidence)
        if self.trouble is not None:
            raise self.trouble


@dataclass
class Rates:
    """Leases what it is told to, and remembers what was asked and settled."""

    granted: Lease = Lease(None, None)  # noqa: RUF009 - a tuple
    asked: list[tuple[int, int]] = field(default_factory=list)
    settled: list[tuple[int, int]] = field(default_factory=list)
    pause_s: float = 0.0

    def lease(self, workspace: str, destination: str, policy: DeliveryPolicy, wanted: int, groups: int) -> Lease:
        self.asked.append((wanted, groups))
        return self.granted

    def settle(self, workspace: str, destination: str, lease: Lease, sent: int, throttled: int, pause_s: float) -> None:
        assert lease is self.granted
        self.settled.append((sent, throttled))
        self.pause_s = pause_s


class KeptLetters:
    def __init__(self) -> None:
        self.letters: list[Letter] = []

    def keep(self, workspace: str, destination: str, letters: Sequence[Letter]) -> None:
        self.letters += letters


@dataclass
class Works:
    """Deliver's ports in memory."""

    tool: Any = field(default_factory=RecordingTool)
    settings: Webhook | Exception | None = field(default_factory=webhook)
    progress: MemoryProgress = field(default_factory=MemoryProgress)
    queue: Hidden = field(default_factory=Hidden)
    receipts: MemoryReceipts = field(default_factory=MemoryReceipts)
    doors: Doors = field(default_factory=Doors)
    rates: Rates = field(default_factory=Rates)
    letters: KeptLetters = field(default_factory=KeptLetters)
    threads: Executor = field(default_factory=Inline)
    chance: float = 0.5
    now: datetime = NOW

    def get(self, key: tuple[str, str]) -> Webhook | None:
        if isinstance(self.settings, Exception):
            raise self.settings
        return self.settings if key == (WORKSPACE, DESTINATION) else None

    def deliver(
        self, *messages: Message, has_time: Callable[[], bool] = lambda: True, is_probe: bool = False
    ) -> Outcome:
        ports = Ports(
            destinations=self,
            gates=self.doors,
            watch=self.doors,
            rate=self.rates,
            tool=self.tool,
            progress=self.progress,
            queue=self.queue,
            letters=self.letters,
            receipts=self.receipts,
            threads=self.threads,
            now=lambda: self.now,
            seconds=lambda: 0.0,
            chance=lambda: self.chance,
        )
        return deliver(batch(*messages), ports, has_time, is_probe)

    @property
    def books(self) -> Books:
        return add_up(self.receipts.read(WORKSPACE, DESTINATION))

    @property
    def numbers(self) -> list[int]:
        return [json.loads(each.body)["properties"]["n"] for each in self.tool.posted]

    def note(self, job: Job) -> Progress | None:
        return self.progress.notes.get((WORKSPACE, DESTINATION, job.id))


def reached(note: Progress | None) -> tuple[int, int, str] | None:
    """What a note says of the job, without times and the hub's own counts."""
    return None if note is None else (note.done, note.attempts, note.last)


def job(*numbers: int, key: str = "ada", id_: int = 1) -> Job:
    return job_of(run_of(*[event(n) for n in numbers], key=key), id_)


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


@dataclass
class Ledger:
    """Remembers in what order the effects of an invocation happened."""

    effects: list[str] = field(default_factory=list)

    def noting(self, port: Any) -> Any:
        ledger = self

        class Noted:
            def __getattr__(self, name: str) -> Any:
                method = getattr(port, name)

                def noted(*given: Any) -> Any:
                    ledger.effects.append(name)
                    return method(*given)

                return noted

        return Noted()


def test_the_receipt_comes_before_the_note_and_the_note_before_the_hiding() -> None:
    ledger, works = Ledger(), Works(tool=RecordingTool(200, 500))
    works.receipts, works.progress, works.queue = (
        ledger.noting(each) for each in (works.receipts, works.progress, works.queue)
    )
    works.deliver(message(job(1, 2)), message(job(3, id_=2)))
    assert ledger.effects == ["keep_deliver", "write", "give_back", "hide", "hide"]


def test_without_a_receipt_nothing_is_noted_and_all_comes_again() -> None:
    class Full(MemoryReceipts):
        def keep_deliver(self, *_: Any) -> None:
            raise StoreUnavailable("injected")

    works = Works(tool=RecordingTool(200, 500), receipts=Full())
    with pytest.raises(StoreUnavailable):
        works.deliver(message(job(1, 2)))
    assert (works.progress.notes, works.queue.calls) == ({}, [])


def test_a_note_that_cannot_be_kept_costs_repeats_and_loses_nothing() -> None:
    class Full(MemoryProgress):
        def write(self, *_: Any) -> None:
            raise StoreUnavailable("injected")

    works = Works(tool=RecordingTool(200, 500), progress=Full())
    works.deliver(message(job(1, 2)))
    works.deliver(message(job(1, 2), receives=2))
    assert (works.numbers, works.books.delivered) == ([1, 2, 1, 2], 2)
    keys = [each.headers["Idempotency-Key"] for each in works.tool.posted]
    assert keys[:2] == keys[2:]


@pytest.mark.parametrize("trouble", [QueueUnavailable("injected"), QueueGone("injected")])
def test_what_cannot_be_hidden_is_reported_all_the_same(trouble: Exception) -> None:
    works = Works(tool=RecordingTool(500), queue=Hidden(trouble))
    assert len(works.deliver(message(job(1))).failed) == 1
    assert reached(works.note(job(1))) == (0, 1, "http_500")


class Meeting:
    """A tool that answers only when it has been asked by so many at once."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
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

        def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
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


def test_no_probe_gives_an_event_up_and_its_age_begins_anew() -> None:
    works = Works(tool=RecordingTool(503))
    old = Progress(0, 9, "http_503", first_at=NOW.timestamp() - 14_400, returns=9, kind="trouble")
    works.progress.write(WORKSPACE, DESTINATION, job(1).id, old)
    works.deliver(message(job(1), receives=10), is_probe=True)
    note = works.note(job(1))
    assert note is not None
    assert (note.attempts, note.first_at, works.letters.letters) == (10, NOW.timestamp(), [])


def test_an_event_that_was_tried_for_as_long_as_its_policy_says_is_dead_and_kept_whole() -> None:
    works = Works(
        tool=RecordingTool(Answer(503, headers={"X-Why": "tired"}, body=b"later"), 200),
        settings=webhook(policy=DeliveryPolicy(max_age_s=60), headers={"Authorization": "Bearer x"}),
    )
    note = Progress(0, 6, "http_500", first_at=NOW.timestamp() - 60, returns=6, kind="trouble")
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


@pytest.mark.parametrize(("before", "after"), [(429, 503), (401, 503), (302, 503), (503, 429), (401, 429)])
def test_each_kind_of_failure_has_an_age_of_its_own(before: int, after: int) -> None:
    policy = DeliveryPolicy(throttled_max_age_s=14_400)
    works = Works(tool=RecordingTool(before, after, after), settings=webhook(policy=policy))
    works.deliver(message(job(1)))
    works.now += timedelta(days=3)
    assert len(works.deliver(message(job(1), receives=2)).failed) == 1
    works.now += timedelta(hours=4)
    assert works.deliver(message(job(1), receives=3)).failed == ()
    (letter,) = works.letters.letters
    assert (letter.reason, letter.attempts) == (f"http_{after}", 3)
    assert letter.first_at == "2026-11-26T16:00:00.000Z"


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

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        super().post(url, headers, body)
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


def test_the_letters_come_before_the_receipt_and_without_them_nothing_is_settled() -> None:
    class Full(KeptLetters):
        def keep(self, *_: Any) -> None:
            raise StoreUnavailable("injected")

    works = Works(tool=RecordingTool(400), letters=Full())
    with pytest.raises(StoreUnavailable):
        works.deliver(message(job(1)))
    assert works.receipts.read(WORKSPACE, DESTINATION) == []


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


def test_a_probe_of_many_users_hides_no_more_of_their_jobs_in_one_call_than_sqs_takes() -> None:
    works = Works(tool=RecordingTool(*[503] * 25))
    asked = [message(job(number, key=f"user-{number}", id_=number)) for number in range(25)]
    works.deliver(*asked, is_probe=True)
    assert [len(call) for call in works.queue.calls] == [10, 10, 5]


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
            def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
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
    assert works.rates.settled == [(4, 1)]


def test_a_gate_that_cannot_be_told_changes_nothing_of_the_outcome() -> None:
    works = Works(tool=RecordingTool(500), doors=Doors(trouble=StoreUnavailable("injected")))
    assert len(works.deliver(message(job(1))).failed) == 1


def test_receipts_tell_of_retries_causes_and_how_long_it_took() -> None:
    works = Works(tool=RecordingTool(200, Answer(503, body=b"busy")))
    works.deliver(message(job(1, 2), receives=2))
    (receipt,) = works.receipts.read(WORKSPACE, DESTINATION)
    assert receipt.retried == 1
    assert receipt.waiting == {job(1, 2).id: job(1, 2).run.received_at}
    assert sum(receipt.delays.values()) == 1
    assert receipt.causes == {"http_503": Cause(1, "m-2", 503, "busy")}
    assert (receipt.jobs[job(1, 2).id].again, receipt.jobs[job(1, 2).id].left) == (True, 1)
    works.now += timedelta(seconds=60)
    works.deliver(message(job(1, 2), receives=3))
    *_, receipt = works.receipts.read(WORKSPACE, DESTINATION)
    assert (receipt.jobs[job(1, 2).id].first, receipt.jobs[job(1, 2).id].left) == (1, 0)
