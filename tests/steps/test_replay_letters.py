"""Replaying letters: in order for each user, each once, through crashes at any point, beside the live events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain import letters
from penstock.domain.job import decode_job, group_of
from penstock.domain.letter_index import LetterFilter
from penstock.domain.letters import Letter, encode_letter
from penstock.domain.replays import Replay, Ticket, moved
from penstock.domain.webhook import request_for
from penstock.errors import QueueUnavailable, StoreUnavailable
from penstock.steps import replay_letters as step
from penstock.steps.replay_letters import Outcome, replay_letters
from tests.builders_letters import AT, LATER, REPLAY, letter, replay
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, route, url_of, webhook
from tests.fakes_control import Crash, Faults
from tests.replay_hub import OTHER, TICKET, Hub, in_order

LETTERS = st.lists(
    st.builds(
        letter,
        number=st.integers(1, 12),
        index=st.integers(0, 3),
        key=st.sampled_from(["ada", "bob", "cyd"]),
        turn=st.integers(0, 2),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda each: letters.in_first_turn(each.place),
)


@settings(max_examples=80)
@given(
    found=LETTERS,
    page=st.integers(1, 7),
    at_once=st.integers(1, 5),
    steps=st.integers(1, 4),
    refusals=st.integers(0, 2),
)
def test_a_replay_keeps_each_users_order_whatever_the_sizes_of_its_pages(
    found: list[Letter], page: int, at_once: int, steps: int, refusals: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step, "SENT_AT_ONCE", at_once)
        hub = Hub(found, page=page)
        hub.queues.refusals = refusals
        hub.to_its_end(steps_per_ticket=steps)
    assert hub.sent() == in_order(found)
    assert (hub.state.state, hub.state.total, hub.state.sent) == ("done", len(found), len(found))
    assert hub.created() == len(found)


EFFECTS = [(at, after) for at in range(1, 30) for after in (False, True)]


@pytest.mark.parametrize("wrong", [Crash, lambda: StoreUnavailable("injected")], ids=["crash", "outage"])
@pytest.mark.parametrize(("at", "after"), EFFECTS)
def test_a_fault_between_any_two_effects_loses_nothing_and_sends_nothing_twice(
    at: int, after: bool, wrong: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "SENT_AT_ONCE", 2)
    found = [letter(number, key="ada" if number % 3 else "bob") for number in range(1, 7)]
    hub = Hub(found, page=4)
    faults = Faults(at, wrong, after)
    hub.to_its_end(first=hub.ports(faults), steps_per_ticket=2)
    assert hub.sent() == in_order(found)
    assert (hub.state.state, hub.state.total, hub.state.sent) == ("done", 6, 6)
    assert hub.created() == 6
    assert all(row.replay == REPLAY for row in hub.index.rows[WORKSPACE, DESTINATION].values())
    assert hub.replays.entered(WORKSPACE) == []


def test_the_faults_reach_beyond_the_last_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or some effect would never have been tried."""
    monkeypatch.setattr(step, "SENT_AT_ONCE", 2)
    hub = Hub([letter(number, key="ada" if number % 3 else "bob") for number in range(1, 7)], page=4)
    faults = Faults(EFFECTS[-1][0], Crash, False)
    hub.to_its_end(first=hub.ports(faults), steps_per_ticket=2)
    assert not faults.struck


def test_what_was_marked_is_not_sent_again_however_late_a_step_is_repeated() -> None:
    hub = Hub([letter(1), letter(2)])
    with pytest.raises(Crash):
        hub.run(
            hub.ports(Faults(8, Crash, False))
        )  # counted; claimed, read, sent twice, noted, marked: no cursor moved
    hub.clock.now += 3_600  # the queue has long forgotten what it knows
    hub.to_its_end()
    assert {key: len(sent) for key, sent in hub.sent().items()} == {"ada": 2}
    assert (hub.state.state, hub.state.sent) == ("done", 2)


def test_a_replay_is_beside_the_live_lane_and_keeps_the_idempotency_key() -> None:
    origin = letter(1)
    hub = Hub([origin])
    hub.to_its_end()
    (held,) = hub.queues.queues[url_of(DESTINATION)].held
    job = decode_job(held.body)
    assert held.group != group_of(SOURCE, origin.run.key)
    at = datetime(2026, 11, 23, tzinfo=UTC)
    live = request_for(origin.run, origin.event, webhook(), at)
    again = request_for(job.run, job.run.events[0], webhook(), at)
    assert live is not None
    assert again is not None
    assert (again.headers["Idempotency-Key"], again.body) == (live.headers["Idempotency-Key"], live.body)


def test_letters_go_to_another_destination_and_stay_marked_where_they_are() -> None:
    hub = Hub([letter(1), letter(2)], replay(target=OTHER))
    hub.to_its_end()
    assert (hub.sent(), hub.created()) == ({}, 0)
    assert (hub.sent(OTHER), hub.created(OTHER)) == (in_order([letter(1), letter(2)]), 2)
    assert {row.replayed_at for row in hub.index.rows[WORKSPACE, DESTINATION].values()} == {LATER}


def test_a_filter_replays_what_it_means_and_nothing_twice() -> None:
    hub = Hub([letter(1, reason="timeout"), letter(2), letter(3, key="bob")], replay(filter=LetterFilter(user="ada")))
    hub.to_its_end()
    assert hub.sent() == {"ada": [letter(1).place, letter(2).place]}


def test_what_another_replay_has_replayed_is_left_out() -> None:
    hub = Hub([letter(1), letter(2)])
    hub.index.mark(WORKSPACE, DESTINATION, [letter(1).place], "rpl_bbbbbbbbbbbb", AT)
    hub.to_its_end()
    assert hub.sent() == {"ada": [letter(2).place]}
    assert (hub.state.total, hub.state.sent) == (1, 1)


def test_one_letter_is_replayed_by_its_id_though_it_was_before() -> None:
    wanted = LetterFilter(letter=letters.id_of(letter(2).place))
    hub = Hub([letter(1), letter(2)], replay(filter=wanted))
    hub.index.mark(WORKSPACE, DESTINATION, [letter(2).place], "rpl_bbbbbbbbbbbb", AT)
    hub.to_its_end()
    assert hub.sent() == {"ada": [letter(2).place]}
    assert (hub.state.total, hub.state.sent) == (1, 1)


def test_what_fails_again_while_a_replay_runs_is_not_replayed_by_it_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "SENT_AT_ONCE", 1)
    hub = Hub([letter(1), letter(2)])
    put = hub.tickets.put

    def failing(ticket: Ticket, delay_s: int) -> None:
        again = [letters.job_from(letter(number), REPLAY, DESTINATION).id for number in (1, 2)]
        hub.keep([letter(number, job=job, index=0) for number, job in enumerate(again, 1)])
        put(ticket, delay_s)

    monkeypatch.setattr(hub.tickets, "put", failing)
    hub.to_its_end(steps_per_ticket=2)
    assert (hub.state.state, hub.state.sent) == ("done", 2)
    assert len(hub.index.rows[WORKSPACE, DESTINATION]) == 4


def test_an_event_that_became_a_letter_twice_is_sent_once() -> None:
    again = letters.job_from(letter(1), "rpl_bbbbbbbbbbbb", DESTINATION).id
    found = [letter(1), letter(1, job=again, index=0)]
    hub = Hub(found, replay(filter=LetterFilter(include_replayed=True)))
    hub.to_its_end()
    assert hub.sent() == {"ada": [letter(1).place]}
    assert (hub.state.sent, hub.created()) == (2, 1)


def test_a_letter_whose_body_is_gone_is_counted_and_stops_nothing() -> None:
    hub = Hub([letter(2)])
    hub.bodies.objects.clear()
    hub.keep([letter(1)])
    hub.to_its_end()
    assert hub.sent() == {"ada": [letter(1).place]}
    assert (hub.state.state, hub.state.total, hub.state.sent, hub.state.missing) == ("done", 2, 1, 1)


def test_a_cancelled_replay_goes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "SENT_AT_ONCE", 1)
    hub = Hub([letter(number) for number in range(1, 5)])
    left = iter([True, True])
    assert hub.run(has_time=lambda: next(left, False)) is Outcome.GOES_ON
    hub.replays.change(hub.state, moved(hub.state, LATER, "tok", state="cancelled"))
    assert hub.run() is Outcome.ENDED
    assert len(hub.sent()["ada"]) == 1


def test_a_replay_that_is_cancelled_under_a_steps_hands_is_left_alone() -> None:
    hub = Hub([letter(1)], replay(state="running", total=1))
    read = hub.bodies.read

    def cancelling(entries: Any) -> Any:
        hub.replays.change(hub.state, moved(hub.state, LATER, "tok", state="cancelled"))
        return read(entries)

    hub.bodies.read = cancelling  # type: ignore[method-assign]
    assert hub.run() is Outcome.HANDED_OVER
    assert hub.state.state == "cancelled"
    assert hub.tickets.put_ == []


def test_a_change_whose_answer_was_lost_is_known_as_its_own() -> None:
    hub = Hub([letter(1)])
    change = hub.replays.change
    tries: list[int] = []

    def twice(before: Replay, after: Replay, entry: Any = None) -> None:
        change(before, after)
        tries.append(1)
        if len(tries) == 1:
            change(before, after)  # as botocore does when no answer came

    hub.replays.change = twice  # type: ignore[method-assign]
    assert hub.run() is Outcome.ENDED
    assert hub.state.state == "done"


@pytest.mark.parametrize(
    ("target", "reason"), [(None, "destination_deleted"), (route(enabled=False), "destination_disabled")]
)
def test_a_replay_whose_target_is_gone_or_disabled_fails_and_loses_nothing(target: Any, reason: str) -> None:
    hub = Hub([letter(1)])
    hub.targets.routes = {} if target is None else {DESTINATION: target}
    assert hub.run() is Outcome.ENDED
    assert (hub.state.state, hub.state.reason) == ("failed", reason)
    assert hub.replays.entered(WORKSPACE) == []
    assert [row.replayed_at for row in hub.index.rows[WORKSPACE, DESTINATION].values()] == [None]


def test_a_queue_that_went_away_a_moment_ago_ends_the_replay_too() -> None:
    hub = Hub([letter(1)])
    hub.queues.queues.clear()
    hub.run()
    assert (hub.state.state, hub.state.reason) == ("failed", "destination_deleted")


def test_a_replay_waits_for_a_queue_that_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MOST_WAITING", 1)
    monkeypatch.setattr(step, "SENT_AT_ONCE", 1)
    hub = Hub([letter(number) for number in range(1, 5)])
    assert hub.run() is Outcome.GOES_ON
    assert hub.tickets.put_ == [(TICKET, step.SLOW_DOWN_S)]
    assert hub.state.sent == 2


def test_what_a_queue_keeps_refusing_has_the_ticket_come_again() -> None:
    hub = Hub([letter(1), letter(2)])
    hub.queues.refusals = 99
    with pytest.raises(QueueUnavailable):
        hub.run()
    hub.queues.refusals = 0
    hub.to_its_end()
    assert hub.sent() == in_order([letter(1), letter(2)])


def test_a_ticket_that_comes_before_its_replay_looks_again_a_few_times() -> None:
    hub = Hub([letter(1)])
    ticket = Ticket(WORKSPACE, DESTINATION, "rpl_cccccccccccc")
    hub.replays.enter(WORKSPACE, DESTINATION, ticket.replay, 20)
    for looks in range(step.MOST_LOOKS + 1):
        assert replay_letters(msgspec.structs.replace(ticket, looks=looks), hub.ports(), lambda: True) is Outcome.ABSENT
    assert [each.looks for each, _ in hub.tickets.put_] == list(range(1, step.MOST_LOOKS + 1))
    assert (DESTINATION, ticket.replay) not in hub.replays.entered(WORKSPACE)


def test_a_ticket_of_another_workspace_finds_nothing() -> None:
    hub = Hub([letter(1)])
    stranger = Ticket("ws_bbbbbbbbbbbb", DESTINATION, REPLAY)
    assert replay_letters(stranger, hub.ports(), lambda: True) is Outcome.ABSENT
    assert hub.sent() == {}


def test_no_call_carries_more_than_sqs_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "LARGEST_CALL", 1_500)
    hub = Hub([letter(number, key=f"user-{number}") for number in range(1, 26)])
    hub.to_its_end()
    assert max(len(call) for _, call in hub.queues.calls) < 10
    assert sum(map(len, hub.sent().values())) == 25


def test_letters_are_kept_in_objects_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.steps.keep_letters.MOST_BYTES", 3 * len(encode_letter(letter(1))))
    hub = Hub([letter(number) for number in range(1, 8)])
    assert [len(texts) for texts in hub.bodies.objects.values()] == [3, 3, 1]
    hub.to_its_end()
    assert len(hub.sent()["ada"]) == 7
