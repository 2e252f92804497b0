"""Keep a destination's rate: lease leave to send before a batch, and settle what became of it after.

What nothing limits costs one read every few seconds and no write. What is limited costs one conditional write to lease,
and another to settle where there is something to settle. Where there is no leave, nobody asks again before there can be
some: jobs are hidden until about when their turn comes, as far as one function can know it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penstock.domain import rate
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.rate import Lease, RateState
from penstock.errors import StoreUnavailable

KNOWN_S = 5.0  # for so long it is believed that nothing limits a destination
TRIES = 4  # to lease
TRIES_TO_SETTLE = 10  # a slot that is not given back is missing until it ends by itself
LOST_WAIT_S = 1.0  # after others were faster every time
OUTAGE_WAIT_S = 5.0
MOST_KNOWN = 1_000

Key = tuple[str, str]


class States(Protocol):
    """What is known of destinations' rates. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str) -> RateState: ...

    def swap(self, workspace: str, destination: str, before: RateState, after: RateState) -> tuple[bool, RateState]:
        """Put `after` where `before` still is: whether that was so, and what is there now."""


@dataclass
class _Known:
    """What one function remembers of a destination: its state, and whose turn it has told to come when."""

    state: RateState
    looked_at: float
    shut_until: float = 0.0
    next_turn: float = 0.0


class KeepRate:
    """`clock` gives epoch seconds, `chance` a number in [0, 1), `new_id` the id of a lease."""

    def __init__(
        self, states: States, clock: Callable[[], float], chance: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._states = states
        self._clock = clock
        self._chance = chance
        self._new_id = new_id
        self._known: dict[Key, _Known] = {}

    def lease(self, workspace: str, destination: str, policy: DeliveryPolicy, wanted: int, groups: int) -> Lease:
        """Raises `StoreUnavailable` where no limit is known that could be broken; a policy's own limit is kept."""
        try:
            return self._leased((workspace, destination), policy, wanted, groups)
        except StoreUnavailable:
            if policy.requests_per_s is None and policy.concurrency is None:
                raise
            return Lease(0, 0, OUTAGE_WAIT_S)

    def settle(
        self,
        workspace: str,
        destination: str,
        lease: Lease,
        sent: int,
        throttled: int,
        pause_s: float = 0.0,
        failed: int = 0,
    ) -> None:
        """`throttled` were answered 429, and the longest wait that these asked for is `pause_s`; `failed` got no answer
        of use.
        """
        if not throttled and lease.granted is None and lease.slots is None:
            return
        if lease.granted == 0:
            return  # nothing was had, and nothing was sent
        key = (workspace, destination)
        known = self._looked(key, 0.0 if throttled else KNOWN_S)
        is_left = lease.granted is not None and sent < lease.granted
        for _ in range(TRIES_TO_SETTLE):
            after = rate.settled(known.state, lease, self._clock(), sent, throttled, pause_s, failed)
            if not (is_left or _is_news(known.state, after)) or self._swapped(key, known, after):
                return

    def _leased(self, key: Key, policy: DeliveryPolicy, wanted: int, groups: int) -> Lease:
        now = self._clock()
        known = self._looked(key, KNOWN_S)
        if wanted == 0 or rate.is_free(known.state, policy, now):
            return Lease(None, None, since=now, policy=policy)
        if now < known.shut_until:
            return self._turned_away(known, 0.0, policy, wanted)
        holder = self._new_id()
        for _ in range(TRIES):
            lease, after = rate.leased(known.state, self._clock(), wanted, groups, policy, holder)
            if lease.granted != 0:
                if self._swapped(key, known, after):
                    return self._granted(known, lease, policy, wanted)
            elif known.looked_at < now:
                self._looked(key, 0.0)  # what was leased a few seconds ago may have been given back
            else:
                return self._turned_away(known, lease.wait_s, policy, wanted)
        return self._turned_away(known, LOST_WAIT_S, policy, wanted)

    def _granted(self, known: _Known, lease: Lease, policy: DeliveryPolicy, wanted: int) -> Lease:
        """What is left of a batch that got less than it wanted comes again like one that got nothing."""
        if lease.granted is None or lease.granted >= wanted:
            return lease
        rest = self._turned_away(known, lease.wait_s, policy, wanted - lease.granted)
        return lease._replace(wait_s=rest.wait_s)

    def _turned_away(self, known: _Known, wait_s: float, policy: DeliveryPolicy, wanted: int) -> Lease:
        """Nobody asks again before `wait_s`, and this batch comes again when those before it have had their turn."""
        now = self._clock()
        known.shut_until = max(known.shut_until, now + wait_s * (1 + 0.5 * self._chance()))
        turn = max(known.next_turn, known.shut_until, now)
        next_turn = turn + rate.turn_s(known.state, policy, wanted)
        known.next_turn = min(next_turn, now + rate.longest_turn_s(policy))
        return Lease(0, 0, turn - now)

    def _looked(self, key: Key, believed_s: float) -> _Known:
        known, now = self._known.get(key), self._clock()
        if known is not None and now - known.looked_at < believed_s:
            return known
        state = self._states.read(*key)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[key] = _Known(state, now)
        known.state, known.looked_at = state, now
        return known

    def _swapped(self, key: Key, known: _Known, after: RateState) -> bool:
        done, known.state = self._states.swap(*key, known.state, after)
        known.looked_at = self._clock()
        return done


def _is_news(before: RateState, after: RateState) -> bool:
    """Whether settling a lease changes more than time does."""
    told = [
        (state.limit, state.is_refusing, state.pause_until, tuple(slot.holder for slot in state.slots))
        for state in (before, after)
    ]
    return told[0] != told[1]
