"""One destination's rate: what is leased, what a 429 teaches, and how a limit is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.domain import rate
from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy
from penstock.domain.rate import FORGOTTEN_AFTER_S, LEASE_S, LEAST, SLOT_S, Lease, RateState, leased, settled

NOW = 1_764_000_000.0
TEN = DeliveryPolicy(requests_per_s=10)
ONE_AT_ONCE = DeliveryPolicy(concurrency=1)


def taught(limit: float, **fields: object) -> RateState:
    known = {"limit": limit, "ceiling": 2 * limit, "tokens": 0.0, "at": NOW, "lowered_at": NOW, "raised_at": NOW}
    return RateState(**(known | {"busy_at": NOW} | fields))  # type: ignore[arg-type]


def of(since: float = NOW, granted: int | None = 5, policy: DeliveryPolicy = STANDARD, **fields: object) -> Lease:
    return Lease(granted, None, since=since, policy=policy, **fields)  # type: ignore[arg-type]


def test_what_nothing_limits_is_free() -> None:
    assert rate.is_free(RateState(), STANDARD, NOW)
    for policy in (TEN, ONE_AT_ONCE):
        assert not rate.is_free(RateState(), policy, NOW)
    assert not rate.is_free(taught(5), STANDARD, NOW)
    assert not rate.is_free(RateState(pause_until=NOW + 1), STANDARD, NOW)


def test_a_second_of_tokens_is_there_at_first_and_comes_again_by_the_limit() -> None:
    first, state = leased(RateState(), NOW, 100, 10, TEN, "a")
    assert first.granted == 10
    none, same = leased(state, NOW + 0.05, 100, 10, TEN, "b")
    assert (none.granted, none.wait_s, same) == (0, pytest.approx(0.45), state)
    again, _ = leased(state, NOW + 0.5, 100, 10, TEN, "b")
    assert again.granted == 5


@given(
    asks=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 30), st.integers(0, 30)), max_size=60),
    limit=st.floats(0.1, 50),
)
def test_no_more_is_ever_leased_than_comes_in(asks: list[tuple[float, int, int]], limit: float) -> None:
    """Whatever the clocks of those who ask say of the order, and whoever gives what back."""
    policy, state, now, spent, latest = DeliveryPolicy(requests_per_s=limit), RateState(), NOW, 0, NOW
    for after, wanted, sent in asks:
        now += after - 1
        latest = max(latest, now)
        lease, state = leased(state, now, wanted, 1, policy, "x")
        if lease.granted:
            used = min(sent, lease.granted)
            spent += used
            state = settled(state, lease, now, used, 0)
    assert spent <= limit * (latest - NOW + 1) + max(1.0, limit) + 1e-6


def test_what_a_lease_did_not_use_is_there_for_others_while_it_is_good() -> None:
    lease, state = leased(RateState(), NOW, 10, 1, TEN, "a")
    assert leased(settled(state, lease, NOW, 4, 0), NOW, 10, 1, TEN, "b")[0].granted == 6
    late = NOW + LEASE_S + 1
    assert settled(replace(state, at=late, tokens=0.0), lease, late, 4, 0).tokens == 0


def test_a_slot_is_had_by_one_until_it_is_given_back_or_its_holder_must_be_dead() -> None:
    lease, state = leased(RateState(), NOW, 3, 3, ONE_AT_ONCE, "a")
    assert (lease.granted, lease.slots) == (None, 1)
    assert leased(state, NOW + 1, 3, 3, ONE_AT_ONCE, "b")[0].slots == 0
    assert leased(settled(state, lease, NOW + 1, 3, 0), NOW + 1, 3, 3, ONE_AT_ONCE, "b")[0].slots == 1
    assert leased(state, NOW + SLOT_S - 1, 3, 3, ONE_AT_ONCE, "b")[0].slots == 0
    assert leased(state, NOW + SLOT_S, 3, 3, ONE_AT_ONCE, "b")[0].slots == 1


def test_slots_are_shared_by_as_many_as_there_are() -> None:
    five = DeliveryPolicy(concurrency=5)
    first, state = leased(RateState(), NOW, 10, 3, five, "a")
    second, state = leased(state, NOW, 10, 10, five, "b")
    assert (first.slots, second.slots, leased(state, NOW, 10, 1, five, "c")[0].slots) == (3, 2, 0)


def test_a_lease_that_grants_nothing_holds_no_slot() -> None:
    both = DeliveryPolicy(requests_per_s=1, concurrency=1)
    lease, state = leased(taught(1), NOW, 1, 1, both, "a")
    assert (lease.granted, lease.slots, state.slots) == (0, 0, ())


def test_a_429_halves_the_limit_once_for_all_that_was_under_way() -> None:
    state = settled(taught(8, lowered_at=NOW - 60), of(since=NOW - 1), NOW, 5, 2)
    assert (state.limit, state.ceiling, state.tokens) == (4, 8, 0)
    assert settled(state, of(since=NOW - 1), NOW + 1, 5, 5).limit == 4
    assert settled(state, of(since=NOW + 1), NOW + 2, 5, 1).limit == 2


def test_while_nothing_is_taken_429s_do_not_tell_how_much_is_too_much() -> None:
    state, now = taught(8, lowered_at=NOW - 60), NOW
    for limit in (4, 2, 1, 0.5):
        now += 5
        state = settled(state, of(since=now - 1), now, 2, 2)
        assert (state.limit, state.ceiling) == (limit, 8)
    for nothing_taken in (of(since=now - 1), 2, 0, 0.0, 0), (of(since=now + 1), 2, 0, 0.0, 2):
        lease, *counts = nothing_taken
        assert settled(state, lease, now + 2, *counts).is_refusing, "before that, or neither taken nor refused"
    state = settled(state, of(since=now + 1), now + 2, 2, 1)
    assert (state.limit, state.ceiling) == (0.25, 0.5), "one was taken, and the other was too much"


def test_the_first_429_is_measured_by_what_was_sent() -> None:
    assert settled(RateState(), of(NOW - 2, None), NOW, 60, 3).limit == 30
    assert settled(RateState(), of(NOW - 0.001, None), NOW, 10, 3).limit == rate.MOST
    assert settled(RateState(), of(NOW - 2, 20, TEN), NOW, 20, 1).limit == 5


def test_no_limit_falls_below_the_least() -> None:
    state = taught(0.15, lowered_at=NOW - 60)
    assert settled(state, of(since=NOW - 1), NOW, 1, 1).limit == LEAST


@pytest.mark.parametrize(("asked_s", "paused_s"), [(0.0, 0.0), (7.0, 7.0), (86_400.0, rate.LONGEST_PAUSE_S)])
def test_what_a_429_asks_for_holds_for_all_up_to_a_bound(asked_s: float, paused_s: float) -> None:
    state = settled(RateState(), of(granted=None), NOW, 10, 1, asked_s)
    lease, _ = leased(state, NOW + 0.001, 1, 1, STANDARD, "a")
    assert max(state.pause_until - NOW, 0.0) == paused_s
    assert lease.granted == 0
    assert lease.wait_s >= paused_s - 1
    assert leased(state, NOW + paused_s + 1, 1, 1, STANDARD, "a")[0].granted == 1


def test_a_limit_in_demand_rises_fast_at_first_slowly_near_where_it_failed_and_faster_past_it() -> None:
    """Seconds from half of the limit at which the 429 came to nine tenths of it, to it, and to twice as much."""
    state, now, reached = taught(10), NOW, {}
    while state.limit is not None and state.limit < 40:
        now += 1
        before = state.limit
        state = settled(replace(state, busy_at=now), of(since=now - 0.5), now, 5, 0)
        assert state.limit is not None
        for mark in (18, 20, 40):
            if before < mark <= state.limit:
                reached[mark] = now - NOW
    assert reached == {18: pytest.approx(4, abs=1), 20: pytest.approx(24, abs=2), 40: pytest.approx(51, abs=3)}


def test_a_limit_that_is_not_in_demand_stays_and_is_forgotten_after_minutes() -> None:
    state = taught(10)
    later = NOW + FORGOTTEN_AFTER_S - 1
    assert settled(state, of(since=later), later, 1, 0).limit == 10
    later += 2
    assert settled(state, of(since=later), later, 1, 0).limit is None


def test_what_was_taught_gives_way_to_the_policy_once_it_is_above_it() -> None:
    state = taught(9.9, ceiling=5.0, lowered_at=NOW - 9, raised_at=NOW - 9)
    assert settled(state, of(since=NOW, policy=TEN), NOW, 5, 0).limit is None
    assert settled(state, of(since=NOW), NOW, 5, 0).limit > 10  # type: ignore[operator]


def test_a_clock_that_is_behind_gains_nothing() -> None:
    state = taught(10, tokens=3.0)
    assert leased(state, NOW - 60, 10, 1, STANDARD, "a")[0].granted == 3
    _, after = leased(state, NOW - 60, 10, 1, STANDARD, "a")
    assert after.at == NOW
