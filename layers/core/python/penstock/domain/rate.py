"""How many requests a destination may get, kept by all functions that send to it as one token bucket.

The limit is the destination's own policy, or what it has taught by answering 429, whichever is less. A 429 halves it.
It rises again while it is in demand: fast to where the last 429 came from, slowly about there, faster and faster past
it. Where nothing was taken between two 429s, the second says nothing of how much is too much: the limit falls, and what
it rises to stays. A limit that was taught and that nobody needs any more is forgotten. Tokens are leased for a few
seconds, slots (requests at the same time) until they are given back or whoever had them must be dead.

Over any window of w seconds, no more requests are begun than limit · (w + 2 · LEASE_S) + burst: what was leased and not
yet sent when the window opened, or given back since, is at most that of the seconds for which a lease holds.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy

BURST_S = 1.0  # seconds whose tokens may pile up, and one token at least
LEASE_S = 5.0
SLOT_S = 130.0  # longer than any function runs that sends
LEAST = 0.1  # requests a second
MOST = 100.0  # that are believed of a destination whose limit is not known yet
LOWERED = 0.5

NEAR, PAST = 0.9, 1.1  # parts of the limit at which the last 429 came
FAST, SLOW = 0.1, 0.005  # of that limit, a second
FASTER = 0.1  # of the present limit, a second
RAISED_EVERY_S = 1.0
LONGEST_STEP_S = 5.0

BUSY_S = 5.0  # for so long after it has run out of tokens a limit counts as in demand
FORGOTTEN_AFTER_S = 180.0
LONGEST_PAUSE_S = 300.0
SLOT_WAIT_S = 1.0
LONGEST_TURN_S = 60.0  # for which a job is hidden while a limit is only guessed; a better guess may come soon
LONGEST_SURE_TURN_S = 300.0
SHARES = 4  # of a slot's time, between those that want it


class Lease(NamedTuple):
    """Leave for `granted` requests, `slots` of them at the same time; None is no limit.

    What got no leave is hidden for `wait_s` seconds. Leave that is not used within `good_s` is none any more. `id` and
    `since` say whose it is and of when, `policy` under which.
    """

    granted: int | None
    slots: int | None
    wait_s: float = 0.0
    good_s: float = LEASE_S
    id: str = ""
    since: float = 0.0
    policy: DeliveryPolicy = STANDARD


class Slot(NamedTuple):
    """Requests at the same time that somebody has leave for until then."""

    holder: str
    lanes: int
    until: float


class RateState(Struct, frozen=True):
    """Times are epoch seconds; `version` counts the changes.

    `limit` is the one that was taught, None where there is none, and `ceiling` where the last 429 came from that tells
    how much is too much. The tool `is_refusing` that has taken nothing since its last 429. There were `tokens` at `at`.
    `busy_at` is when tokens last ran out, `pace` how many requests a second were seen to pass slots.
    """

    limit: float | None = None
    ceiling: float = 0.0
    is_refusing: bool = False
    tokens: float | None = None
    at: float = 0.0
    pause_until: float = 0.0
    lowered_at: float = 0.0
    raised_at: float = 0.0
    busy_at: float = 0.0
    slots: tuple[Slot, ...] = ()
    pace: float = 10.0
    version: int = 0


def is_free(state: RateState, policy: DeliveryPolicy, now: float) -> bool:
    """Whether nothing limits a destination, so that nothing has to be leased or written."""
    has_policy = policy.requests_per_s is not None or policy.concurrency is not None
    return not has_policy and state.limit is None and state.pause_until <= now


def limit_of(state: RateState, policy: DeliveryPolicy) -> float | None:
    """Requests a second, by policy or as taught."""
    known = [limit for limit in (policy.requests_per_s, state.limit) if limit is not None]
    return min(known, default=None)


def longest_turn_s(policy: DeliveryPolicy) -> float:
    return LONGEST_TURN_S if policy.requests_per_s is None else LONGEST_SURE_TURN_S


def turn_s(state: RateState, policy: DeliveryPolicy, wanted: int) -> float:
    """Seconds after which another lease can be had, where this many requests wait for one.

    Rather too few than too many: others take what has come back too early, but what comes back late leaves tokens
    unused, and slots empty.
    """
    limit = limit_of(state, policy)
    return _worth(wanted, limit) / limit if limit is not None else wanted / state.pace / SHARES


def leased(
    state: RateState, now: float, wanted: int, groups: int, policy: DeliveryPolicy, holder: str
) -> tuple[Lease, RateState]:
    """A lease of up to `wanted` requests in `groups` at the same time. Where it grants nothing, the state stays."""
    limit, fresh = limit_of(state, policy), _refilled(state, policy, now)
    free = None if policy.concurrency is None else policy.concurrency - sum(slot.lanes for slot in fresh.slots)
    wait_s = _wait_s(fresh, limit, free, wanted, now)
    if wait_s > 0:
        return Lease(0, 0, wait_s), state
    slots = None if free is None else min(free, max(groups, 1))
    if slots is not None:
        fresh = replace(fresh, slots=(*fresh.slots, Slot(holder, slots, now + SLOT_S)))
    granted, wait_s = None, 0.0
    if limit is not None and fresh.tokens is not None:
        granted = min(wanted, int(fresh.tokens))
        left = fresh.tokens - granted
        wait_s = max(0.0, _worth(wanted - granted, limit) - left) / limit
        fresh = replace(fresh, tokens=left, busy_at=fresh.at if granted < wanted or left < 1 else fresh.busy_at)
    return Lease(granted, slots, wait_s, LEASE_S, holder, now, policy), fresh


def settled(
    state: RateState, lease: Lease, now: float, sent: int, throttled: int, pause_s: float = 0.0, failed: int = 0
) -> RateState:
    """The state after a lease: its slots are free, what it did not use is there again, and its 429s have taught.

    `failed` got no answer of use: neither taken, nor refused for good, nor 429.
    """
    fresh = _refilled(state, lease.policy, now)
    fresh = replace(fresh, slots=tuple(slot for slot in fresh.slots if slot.holder != lease.id))
    if lease.slots and sent:
        shares = (lease.policy.concurrency or lease.slots) / lease.slots
        fresh = replace(fresh, pace=max(LEAST, sent / _lasted_s(lease, now) * shares))
    if sent > throttled + failed and lease.since > fresh.lowered_at:
        fresh = replace(fresh, is_refusing=False)
    if throttled:
        return _lowered(fresh, lease, now, sent, pause_s)
    if lease.granted is not None and fresh.tokens is not None and now - lease.since <= lease.good_s:
        given_back = fresh.tokens + max(lease.granted - sent, 0)
        fresh = replace(fresh, tokens=min(given_back, _burst(limit_of(fresh, lease.policy))))
    return _raised(fresh, lease, now) if sent > failed else fresh


def _refilled(state: RateState, policy: DeliveryPolicy, now: float) -> RateState:
    """With the tokens of the time since; a clock that is behind gains none, and takes none twice."""
    slots = tuple(slot for slot in state.slots if slot.until > now)
    limit, at = limit_of(state, policy), max(now, state.at)
    if limit is None:
        return replace(state, tokens=None, at=at, slots=slots)
    gained = state.tokens + (at - state.at) * limit if state.tokens is not None else _burst(limit)
    return replace(state, tokens=min(gained, _burst(limit)), at=at, slots=slots)


def _burst(limit: float | None) -> float:
    return max(1.0, (limit or 0.0) * BURST_S)


def _worth(wanted: int, limit: float) -> float:
    """The tokens that are worth waiting for: half of what can pile up, so that one lease serves several requests."""
    return max(1.0, min(wanted, _burst(limit) / 2))


def _wait_s(fresh: RateState, limit: float | None, free: int | None, wanted: int, now: float) -> float:
    """Where nothing at all can be granted now: for how long not to ask again."""
    waits = [fresh.pause_until - now]
    if free is not None and free <= 0:
        waits.append(SLOT_WAIT_S)
    if limit is not None and fresh.tokens is not None and fresh.tokens < 1:
        waits.append((_worth(wanted, limit) - fresh.tokens) / limit)
    return min(max(waits), LONGEST_PAUSE_S)


def _lasted_s(lease: Lease, now: float) -> float:
    return max(now - lease.since, 0.05)


def _lowered(fresh: RateState, lease: Lease, now: float, sent: int, pause_s: float) -> RateState:
    """Once for all the 429s that were under way when the first of them came."""
    until = max(fresh.pause_until, now + min(pause_s, LONGEST_PAUSE_S) if pause_s > 0 else 0.0)
    paused = replace(fresh, pause_until=until, busy_at=now)
    if fresh.limit is not None and lease.since <= fresh.lowered_at:
        return paused
    seen = min(max(sent / _lasted_s(lease, now), 1.0), MOST) / LOWERED
    failed = limit_of(fresh, lease.policy) or seen
    ceiling = fresh.ceiling if fresh.is_refusing else failed
    limit = max(failed * LOWERED, LEAST)
    return replace(paused, limit=limit, ceiling=ceiling, is_refusing=True, tokens=0.0, lowered_at=now, raised_at=now)


def _raised(fresh: RateState, lease: Lease, now: float) -> RateState:
    """More while it is in demand, but not for what was leased before the last 429; forgotten when nobody needs it."""
    if fresh.limit is None:
        return fresh
    if now - max(fresh.busy_at, fresh.lowered_at) > FORGOTTEN_AFTER_S:
        return replace(fresh, limit=None, ceiling=0.0)
    since_s = now - fresh.raised_at
    if lease.since <= fresh.lowered_at or now - fresh.busy_at > BUSY_S or since_s < RAISED_EVERY_S:
        return fresh
    limit = fresh.limit + _step(fresh.limit, fresh.ceiling) * min(since_s, LONGEST_STEP_S)
    if fresh.limit < NEAR * fresh.ceiling:
        limit = min(limit, max(NEAR * fresh.ceiling, fresh.limit))
    own = lease.policy.requests_per_s
    if own is not None and limit >= own:
        return replace(fresh, limit=None, ceiling=0.0, raised_at=now)
    return replace(fresh, limit=limit, raised_at=now)


def _step(limit: float, ceiling: float) -> float:
    """By how much a limit rises, a second."""
    if limit < NEAR * ceiling:
        return FAST * ceiling
    return SLOW * ceiling if limit < PAST * ceiling else FASTER * limit
