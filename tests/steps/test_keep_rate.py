"""A destination's rate, kept by several Lambdas with one state between them."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy
from penstock.domain.rate import LEASE_S, LEAST, SLOT_S, Lease, RateState
from penstock.errors import StoreUnavailable
from penstock.steps.keep_rate import KNOWN_S, KeepRate
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.fakes_pipeline import Clock
from tests.fakes_rate import Crowd, LimitedTool, MemoryRates

TEN = DeliveryPolicy(requests_per_s=10)
ENDLESS = 1e6
HERE = (WORKSPACE, DESTINATION)


def keeper(states: MemoryRates, clock: Clock) -> KeepRate:
    ids = iter(range(1000))
    return KeepRate(states, clock, lambda: 0.0, lambda: f"{id(ids)}-{next(ids)}")


def test_what_nothing_limits_costs_one_read_every_few_seconds_and_no_write() -> None:
    states, clock = MemoryRates(), Clock()
    rates = keeper(states, clock)
    for _ in range(100):
        lease = rates.lease(*HERE, STANDARD, 10, 10)
        assert (lease.granted, lease.slots) == (None, None)
        rates.settle(*HERE, lease, 10, 0)
        clock.now += KNOWN_S / 50
    assert (states.reads, states.writes) == (2, 0)


def test_a_limited_batch_costs_one_write() -> None:
    states, clock = MemoryRates(), Clock()
    rates = keeper(states, clock)
    for _ in range(20):
        rates.settle(*HERE, rates.lease(*HERE, TEN, 5, 5), 5, 0)
        clock.now += 1
    assert states.writes == 20


def test_a_429_holds_others_back_as_soon_as_they_look() -> None:
    states, clock = MemoryRates(), Clock()
    one, other = keeper(states, clock), keeper(states, clock)
    leases = [rates.lease(*HERE, STANDARD, 10, 10) for rates in (one, other)]
    clock.now += 1
    one.settle(*HERE, leases[0], 10, 1, 30.0)
    clock.now += KNOWN_S
    assert other.lease(*HERE, STANDARD, 10, 10).granted == 0
    assert other.lease(*HERE, STANDARD, 10, 10).wait_s >= 30 - KNOWN_S - 1


def test_where_there_is_no_leave_nobody_asks_again_before_there_can_be() -> None:
    states, clock = MemoryRates(), Clock()
    rates = keeper(states, clock)
    rates.lease(*HERE, TEN, 10, 10)
    asked = states.reads + states.writes
    waits = [rates.lease(*HERE, TEN, 10, 10).wait_s for _ in range(20)]
    assert waits[0] == pytest.approx(0.5)
    assert waits[10] == pytest.approx(5.5)  # ten leases are before it
    for _ in range(40):
        clock.now += 0.01
        assert rates.lease(*HERE, TEN, 10, 10).granted == 0
    assert states.reads + states.writes <= asked + 1
    clock.now += 0.25
    assert rates.lease(*HERE, TEN, 10, 10).granted == 6


def test_a_slot_that_was_given_back_meanwhile_is_seen() -> None:
    states, clock = MemoryRates(), Clock()
    one, other = keeper(states, clock), keeper(states, clock)
    single = DeliveryPolicy(concurrency=1)
    lease = one.lease(*HERE, single, 10, 10)
    assert other.lease(*HERE, single, 10, 10).slots == 0
    one.settle(*HERE, lease, 10, 0)
    clock.now += 1
    assert other.lease(*HERE, single, 10, 10).slots == 1


def test_who_loses_every_race_waits_a_moment() -> None:
    class Contended(MemoryRates):
        def swap(self, workspace: str, destination: str, before: RateState, after: RateState) -> tuple[bool, RateState]:
            self.writes += 1
            return False, before

    states = Contended()
    lease = keeper(states, Clock()).lease(*HERE, TEN, 10, 10)
    assert (lease.granted, lease.slots, lease.wait_s) == (0, 0, 1.0)
    assert states.writes == 4


def test_where_the_store_is_out_a_policy_is_kept_and_nothing_else_is_held_back() -> None:
    states = MemoryRates()
    states.is_down = True
    rates = keeper(states, Clock())
    for policy in (TEN, DeliveryPolicy(concurrency=1)):
        assert rates.lease(*HERE, policy, 10, 10) == Lease(0, 0, 5.0)
    with pytest.raises(StoreUnavailable):
        rates.lease(*HERE, STANDARD, 10, 10)


def most_in_a_window(begun: list[float], seconds: float) -> int:
    return max(bisect_left(begun, at + seconds) - place for place, at in enumerate(begun))


@settings(max_examples=15, deadline=None)
@given(
    limit=st.floats(0.2, 60),
    lambdas=st.integers(1, 8),
    takes_s=st.sampled_from([0.01, 0.2, 1.0, 6.0]),
    skew_s=st.sampled_from([0.0, 0.5]),
    dies=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)
def test_no_window_has_more_requests_than_the_limit_allows(
    limit: float, lambdas: int, takes_s: float, skew_s: float, dies: float, seed: int
) -> None:
    crowd = Crowd(
        LimitedTool(ENDLESS), DeliveryPolicy(requests_per_s=limit), lambdas, takes_s, skew_s, dies, seed=seed, jobs=2000
    )
    crowd.run(30)
    begun, burst = crowd.tool.begun, max(1.0, limit)
    for seconds in (0.5, 1, 5, 20, 30):
        assert most_in_a_window(begun, seconds) <= limit * (seconds + 2 * LEASE_S + 2 * skew_s) + burst
    assert len(begun) <= limit * (30 + 2 * skew_s) + burst, "over the whole run nothing was leased before"


@pytest.mark.parametrize("limit", [1.0, 10.0, 50.0])
def test_a_limit_is_used_and_shared_fairly(limit: float) -> None:
    crowd = Crowd(LimitedTool(ENDLESS), DeliveryPolicy(requests_per_s=limit), jobs=20_000)
    crowd.run(120)
    shares = [crowd.delivered[number] for number in range(5)]
    assert sum(shares) >= 0.9 * limit * 120
    assert min(shares) >= 0.4 * sum(shares) / 5
    assert crowd.states.writes <= 8 * 120 * max(1.0, limit / 5)


@pytest.mark.parametrize(("per_s", "takes_s"), [(1.0, 0.2), (5.0, 0.05), (20.0, 0.05), (20.0, 1.0), (60.0, 0.05)])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_tool_that_throttles_gets_what_it_takes_and_little_more(per_s: float, takes_s: float, seed: int) -> None:
    crowd = Crowd(LimitedTool(per_s), takes_s=takes_s, seed=seed, jobs=20_000)
    crowd.run(90)
    before, refused = crowd.delivered.total(), len(crowd.tool.refused)
    crowd.run(180)
    delivered, refused = crowd.delivered.total() - before, len(crowd.tool.refused) - refused
    assert delivered >= 0.7 * per_s * 180
    assert refused <= 0.05 * delivered + 3


def test_a_tool_that_says_when_is_left_alone_until_then() -> None:
    crowd = Crowd(LimitedTool(5), retry_after_s=10.0, jobs=20_000)
    crowd.run(120)
    (first, *_) = crowd.tool.refused
    begun = [at for at in crowd.tool.begun if at > first]
    assert max(later - earlier for earlier, later in pairwise(begun)) >= 9


def test_a_tool_that_took_more_again_is_given_more_again() -> None:
    crowd = Crowd(LimitedTool(5), jobs=50_000)
    crowd.run(60)
    crowd.tool.per_s = 50.0
    crowd.run(180)
    before = crowd.delivered.total()
    crowd.run(30)
    assert crowd.delivered.total() - before >= 0.7 * 50 * 30


@pytest.mark.parametrize("fails_every", [0, 10, 2])
@pytest.mark.parametrize("per_s", [1.0, 5.0, 50.0])
def test_a_tool_that_refused_everything_for_minutes_is_used_again_within_a_minute(
    per_s: float, fails_every: int
) -> None:
    crowd = Crowd(LimitedTool(per_s, fails_every=fails_every), jobs=50_000)
    crowd.run(60)
    crowd.tool.per_s = 1e-9
    crowd.run(300)
    assert crowd.states.states[HERE].limit == LEAST
    crowd.tool.per_s = per_s
    crowd.run(60)
    before = crowd.delivered.total()
    crowd.run(30)
    assert crowd.delivered.total() - before >= 0.6 * per_s * 30


@pytest.mark.parametrize("lambdas", [1, 5])
def test_a_tool_that_refused_every_other_request_is_used_again_within_three_minutes(lambdas: int) -> None:
    """429s that have nothing to do with how much is sent teach less and less, and it takes that long to unlearn."""
    crowd = Crowd(LimitedTool(50, is_moody=True), lambdas=lambdas, jobs=50_000)
    crowd.run(300)
    crowd.tool.is_moody = False
    crowd.run(150)
    before = crowd.delivered.total()
    crowd.run(30)
    assert crowd.delivered.total() - before >= 0.7 * 50 * 30


def test_a_limit_that_nobody_needs_any_more_is_forgotten() -> None:
    crowd = Crowd(LimitedTool(5), jobs=200)
    crowd.run(60)
    assert crowd.states.states[HERE].limit is not None
    for _ in range(30):
        crowd.jobs += 1
        crowd.run(10)
    assert crowd.states.states[HERE].limit is None
    writes = crowd.states.writes
    crowd.jobs += 1
    crowd.run(10)
    assert crowd.states.writes == writes


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("takes_s", [0.05, 0.8])
def test_no_more_requests_are_under_way_than_may_be(at_once: int, takes_s: float) -> None:
    crowd = Crowd(LimitedTool(ENDLESS), DeliveryPolicy(concurrency=at_once), takes_s=takes_s, skew_s=0.5, jobs=5000)
    crowd.run(120)
    assert crowd.tool.most_under_way == at_once
    assert len(crowd.tool.begun) >= 0.4 * 120 * at_once / takes_s


def test_slots_of_the_dead_come_back() -> None:
    crowd = Crowd(LimitedTool(ENDLESS), DeliveryPolicy(concurrency=2), lambdas=3, dies=1.0)
    crowd.run(SLOT_S - 5)
    assert len(crowd.tool.begun) == 10, "one had both slots, and died with its batch"
    crowd.run(15)
    assert len(crowd.tool.begun) > 10
    assert crowd.tool.most_under_way <= 2
