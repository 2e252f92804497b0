"""When a gate closes, when it is tried again, and which pool a destination is in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.evidence import VERY_SLOW_S, Evidence, is_news, is_struck_out, rested, timed
from penstock.domain.gate import Gate, GateState, Mapped, Pool
from penstock.domain.gate_moves import Probed

NOW = 1_790_000_000.0
DAY_S = 86_400.0


def evidence(*failed: str, **fields: Any) -> Evidence:
    return Evidence(**({"groups_failed": frozenset(failed), "delivered": 0, "requests": 1, "mean_s": 0.1} | fields))


def struck(count: int, struck_at: float = NOW - 30) -> Gate:
    return Gate(strikes=frozenset(f"g-{number}" for number in range(count)), struck_at=struck_at)


def slow(**fields: Any) -> Gate:
    return Gate(pool=Pool.SLOW, **fields)


def closed(**fields: Any) -> Gate:
    return replace(moves.closed(Gate(), gates.FAILING, NOW), **fields)


def test_three_groups_that_failed_strike_a_gate_out_and_two_do_not() -> None:
    assert is_struck_out(struck(3), NOW)
    assert not is_struck_out(struck(2), NOW)


def test_a_blip_strikes_nothing_out() -> None:
    assert not is_struck_out(struck(10, struck_at=NOW - 1), NOW)


def test_a_gate_that_is_not_open_cannot_be_struck_out() -> None:
    assert not is_struck_out(replace(struck(9), state=GateState.PAUSED), NOW)


def test_an_open_gate_holds_nothing() -> None:
    assert Gate().hold_s(NOW) is None


@given(
    state=st.sampled_from([GateState.CLOSED, GateState.PAUSED, GateState.PROBING]),
    due_in=st.floats(-1e6, 1e6) | st.none(),
)
def test_whatever_is_held_is_seen_again_within_a_minute(state: GateState, due_in: float | None) -> None:
    gate = Gate(state=state, next_probe_at=None if due_in is None else NOW + due_in)
    assert 1 <= (gate.hold_s(NOW) or 0) <= 60


def test_probes_come_after_15_s_and_then_twice_as_late_each_time_but_at_most_60_s_apart() -> None:
    gate = closed()
    assert gate.next_probe_at == NOW + 15
    waits = []
    for _ in range(4):
        gate = moves.after_probe(moves.probing(gate, NOW), Probed(1, 1, 0, 0), NOW)
        waits.append((gate.next_probe_at or 0) - NOW)
    assert waits == [30, 60, 60, 60]


@pytest.mark.parametrize(
    ("probed", "state", "reason"),
    [
        (Probed(received=10, failed=9, delivered=1, waiting=0), GateState.OPEN, "delivered"),
        (Probed(received=2, failed=0, delivered=0, waiting=0), GateState.OPEN, "delivered"),
        (Probed(received=0, failed=0, delivered=0, waiting=0), GateState.OPEN, "empty"),
        (Probed(received=3, failed=3, delivered=0, waiting=0), GateState.CLOSED, "failing"),
        (Probed(received=0, failed=0, delivered=0, waiting=4), GateState.CLOSED, "failing"),
    ],
)
def test_what_a_probe_found_says_whether_the_gate_opens(probed: Probed, state: GateState, reason: str) -> None:
    after = moves.after_probe(moves.probing(closed(untold=()), NOW), probed, NOW + 1)
    assert after.state is state
    assert (after.untold[-1].reason if after.untold else after.reason) == reason


def test_a_probe_that_found_only_hidden_jobs_does_not_make_the_next_one_later() -> None:
    after = moves.after_probe(moves.probing(closed(probes=3), NOW), Probed(0, 0, 0, 5), NOW)
    assert (after.probes, after.next_probe_at) == (3, NOW + 15)


def test_a_probe_that_nobody_ended_is_due_again() -> None:
    gate = moves.probing(closed(), NOW)
    assert not gate.is_probe_due(NOW + 30)
    assert gate.is_probe_due(NOW + moves.PROBE_TAKES_S)


def test_a_paused_gate_is_never_due_for_a_probe() -> None:
    gate = moves.paused(closed(), "holiday", "tok_a", NOW)
    assert not gate.is_probe_due(NOW + 1e9)
    assert gate.hold_s(NOW + 1e9) == 60


def test_a_parked_gate_that_is_resumed_waits_for_whoever_is_parking_and_for_nobody_else() -> None:
    parked = Gate(state=GateState.PAUSED, mapped=Mapped(False), park_at=NOW + 3_600)
    assert moves.resumed(parked, "tok_a", NOW + 5).may_park(NOW + 5)
    begun = moves.parking(parked, NOW + 5)
    resumed = moves.resumed(begun, "tok_a", NOW + 6)
    assert not resumed.may_park(NOW + 70)
    assert resumed.may_park(NOW + 5 + moves.PARKING_TAKES_S)
    assert moves.left_off(begun, resumed, NOW + 7).may_park(NOW + 7)


def test_who_left_off_parking_says_nothing_of_who_parks_after_that() -> None:
    first = moves.parking(closed(), NOW)
    second = moves.parking(first, NOW + moves.PARKING_TAKES_S)
    assert moves.left_off(first, second, NOW + 80) == second


def test_the_workspace_is_told_of_what_opens_closes_and_is_paused_and_not_of_probes() -> None:
    gate = moves.closed(Gate(), gates.CREDENTIALS, NOW)
    gate = moves.after_probe(moves.probing(gate, NOW + 15), Probed(1, 0, 1, 0), NOW + 16)
    gate = moves.paused(gate, "holiday", "tok_a", NOW + 20)
    gate = moves.resumed(gate, "tok_a", NOW + 30)
    told = [(change.before, change.after, change.reason, change.actor) for change in gate.untold]
    assert told == [
        ("open", "closed", "credentials", "gatekeeper"),
        ("closed", "open", "delivered", "gatekeeper"),
        ("open", "paused", "holiday", "tok_a"),
        ("paused", "open", "resumed", "tok_a"),
    ]


def test_resuming_a_gate_that_closed_by_itself_has_it_probed_at_once() -> None:
    gate = moves.resumed(closed(probes=5, next_probe_at=NOW + 60), "tok_a", NOW + 1)
    assert (gate.state, gate.probes, gate.is_probe_due(NOW + 1)) == (GateState.CLOSED, 0, True)


def test_resuming_an_open_gate_changes_nothing() -> None:
    assert moves.resumed(struck(2), "tok_a", NOW) == struck(2)


@pytest.mark.parametrize("state", list(GateState))
def test_only_an_open_gates_mapping_is_on(state: GateState) -> None:
    assert Gate(state=state).wanted.on is (state is GateState.OPEN)


def test_a_batch_is_worth_a_report_if_something_failed_or_was_struck_or_its_time_is_news() -> None:
    assert not is_news(Gate(), evidence(delivered=10), NOW)
    assert is_news(Gate(), evidence("g"), NOW)
    assert is_news(Gate(), evidence(stop=gates.ADDRESS), NOW)
    assert is_news(struck(1), evidence(delivered=1), NOW)
    assert is_news(Gate(), evidence(delivered=1, mean_s=1.5), NOW)
    assert not is_news(slow(), evidence(delivered=1, mean_s=1.5), NOW)


def test_throttled_requests_show_neither_life_nor_failure() -> None:
    throttled = evidence(requests=5, throttled=5)
    assert not throttled.shows_life
    assert not is_news(Gate(), throttled, NOW)


def test_a_refusal_for_good_shows_life() -> None:
    assert evidence(requests=2).shows_life
    assert not evidence("g", requests=2).shows_life
    assert evidence("g", requests=2, delivered=1).shows_life


def test_a_destination_is_slow_at_the_second_sight_within_a_minute() -> None:
    once = timed(Gate(), evidence(mean_s=1.5), NOW)
    assert once.pool is Pool.FAST
    assert timed(once, evidence(mean_s=1.5), NOW + 30).pool is Pool.SLOW
    assert timed(once, evidence(mean_s=1.5), NOW + 90).pool is Pool.FAST


def test_a_destination_that_takes_seconds_is_slow_at_once() -> None:
    assert timed(Gate(), evidence(mean_s=10.0), NOW).pool is Pool.SLOW


def test_a_destination_is_fast_again_after_three_minutes_well_under_a_second() -> None:
    gate = timed(slow(), evidence(mean_s=0.2), NOW)
    assert gate.pool is Pool.SLOW
    assert timed(gate, evidence(mean_s=0.2), NOW + 179).pool is Pool.SLOW
    assert timed(gate, evidence(mean_s=0.2), NOW + 180).pool is Pool.FAST
    assert rested(gate, NOW + 180).pool is Pool.FAST


def test_a_slow_destination_gets_nothing_in_the_fast_pool_until_it_is_moved() -> None:
    found_slow = timed(Gate(), evidence(mean_s=VERY_SLOW_S), NOW)
    assert found_slow.hold_s(NOW + 30) == gates.MOVING_HOLD_S
    assert replace(found_slow, mapped=Mapped(True, Pool.SLOW)).hold_s(NOW + 30) is None


def test_a_destination_that_is_never_moved_gets_its_events_all_the_same() -> None:
    found_slow = timed(Gate(), evidence(mean_s=VERY_SLOW_S), NOW)
    assert found_slow.hold_s(NOW + gates.MOVES_WITHIN_S + 1) is None


def test_between_slow_and_quick_a_destination_stays_where_it_is() -> None:
    assert timed(Gate(), evidence(mean_s=0.9), NOW) == Gate()
    calming = slow(calm_since=NOW)
    assert timed(calming, evidence(mean_s=0.9), NOW + 1) == slow()


def test_a_batch_without_requests_says_nothing_of_time() -> None:
    assert timed(slow(), evidence(requests=0, mean_s=0.0), NOW) == slow()


def test_nobody_looks_after_a_common_gate() -> None:
    assert gates.attend_at(Gate(), NOW) is None
    assert gates.attend_at(struck(2), NOW) is None


@pytest.mark.parametrize(
    ("gate", "within_s"),
    [
        (closed(mapped=Mapped(False), untold=()), 15 + gates.OVERDUE_S),
        (closed(), gates.OVERDUE_S),
        (Gate(mapped=Mapped(False)), gates.OVERDUE_S),
        (slow(mapped=Mapped(True, Pool.SLOW), calm_since=NOW), gates.CALM_FOR_S),
        (slow(mapped=Mapped(True, Pool.SLOW)), gates.LOOKED_AFTER_S),
        (Gate(state=GateState.PAUSED, mapped=Mapped(False)), gates.LOOKED_AFTER_S),
    ],
    ids=["closed", "not switched off", "not switched on", "calm", "slow", "paused"],
)
def test_somebody_looks_after_what_is_not_as_it_should_be_before_long(gate: Gate, within_s: float) -> None:
    assert gates.attend_at(gate, NOW) == NOW + within_s


def test_a_view_shows_no_more_than_people_need() -> None:
    assert gates.view(Gate()) == gates.GateView("open", None, None, "fast", 0, None)
    seen = gates.view(closed())
    assert (seen.state, seen.reason, seen.since) == ("closed", "failing", "2026-09-21T14:13:20.000Z")
    assert seen.next_probe_at == "2026-09-21T14:13:35.000Z"


def test_a_gate_that_flaps_is_parked_by_when_it_first_shut_and_not_by_when_it_last_did() -> None:
    gate = closed(mapped=Mapped(False))
    for day in range(1, 12):
        gate = moves.after_probe(moves.probing(gate, NOW), Probed(10, 9, 1, 100), NOW + day * DAY_S)
        gate = moves.closed(replace(gate, mapped=gate.wanted), gates.FAILING, NOW + day * DAY_S + 120)
        assert not gate.is_parking_due(NOW + day * DAY_S + 120)
    assert gate.is_parking_due(NOW + 12 * DAY_S)
    assert gate.parking > NOW + 11 * DAY_S


@given(moved=st.lists(st.sampled_from(["close", "open", "pause", "resume", "seen empty"]), max_size=30))
def test_nothing_waits_in_a_shut_gates_queue_for_more_than_twelve_days_before_it_is_parked(moved: list[str]) -> None:
    gate, oldest_at = Gate(), None
    for day, move in enumerate(moved):
        now = NOW + day * DAY_S
        if move == "seen empty":
            gate, oldest_at = (moves.drained(gate), None) if gate.may_be_drained else (gate, oldest_at)
        elif move == "open":
            gate = moves.after_probe(gate, Probed(1, 0, 1, 1), now) if gate.state is GateState.CLOSED else gate
        elif move == "close":
            gate = moves.closed(gate, gates.FAILING, now) if gate.state is GateState.OPEN else gate
        else:
            gate = moves.paused(gate, "", "ada", now) if move == "pause" else moves.resumed(gate, "ada", now)
        gate = replace(gate, mapped=gate.wanted)
        if gate.state is not GateState.OPEN:
            oldest_at = now if oldest_at is None else oldest_at
            assert gate.is_parking_due(now) is (now - oldest_at >= 12 * DAY_S)
