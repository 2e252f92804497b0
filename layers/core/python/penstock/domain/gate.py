"""The gate of a destination: whether its events flow, when it closes, and what a probe's outcome means.

It closes when the destination fails for all: groups that failed with no success between are its strikes, and with
enough of them it is asked whether anything was delivered of late. A single user's event that can never be delivered is
one group, and closes nothing. A gate also knows the pool that its destination is in, fast or slow, and what the event
source mapping was last seen to do, so that whoever looks at it sees what is left to be done.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, NamedTuple, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from penstock.domain.audit import iso
from penstock.domain.overflow import PARKED_AFTER_S

ENOUGH_STRIKES = 3
MOST_STRIKES = 20  # that are remembered
BLIP_S = 5.0  # failures within so short a time say nothing yet
JUDGED_OVER_S = 60.0
STOPPED_OVER_S = 10.0  # one event that is forbidden while others get through is that event's own trouble

FIRST_PROBE_S = 15.0
LONGEST_PROBE_S = 60.0
PROBE_TAKES_S = 75.0  # after so long whoever was probing is gone
EARLY_S = 2.0  # by which clocks may differ
LONGEST_HOLD_S = 60.0

SLOW_S = 1.0
VERY_SLOW_S = 5.0
SLOW_AGAIN_WITHIN_S = 60.0
MOVES_WITHIN_S = 180.0  # AWS takes its time to give a queue to another function
MOVING_HOLD_S = 5.0
CALM_S = 0.5
CALM_FOR_S = 180.0

PARKING_TAKES_S = 75.0  # after so long whoever was parking is gone
PARKED_ON_AFTER_S = 15.0  # where there was no time for all of a queue

OVERDUE_S = 20.0  # what a chore should have done by then, the tick does
LOOKED_AFTER_S = 3_600.0

FAILING, CREDENTIALS, ADDRESS = "failing", "credentials", "address"
DELIVERED, EMPTY, RESUMED, PAUSED_BY_HAND = "delivered", "empty", "resumed", "paused"
GATEKEEPER = "gatekeeper"

Key: TypeAlias = tuple[str, str]


class GateState(Enum):
    OPEN = "open"
    PROBING = "probing"
    CLOSED = "closed"
    PAUSED = "paused"


class Pool(Enum):
    """Which of the two deliver functions empties a queue: slow destinations have one of their own."""

    FAST = "fast"
    SLOW = "slow"


class Evidence(NamedTuple):
    """What one batch showed of a destination.

    `groups_failed` had an event that has to be tried again, for another reason than a 429; `stop` is `credentials` or
    `address` where the tool's answer says that a person is needed; `mean_s` is the mean time of a request, and
    `throttled` how many of them were answered 429.
    """

    groups_failed: frozenset[str]
    delivered: int
    stop: str | None = None
    mean_s: float = 0.0
    requests: int = 0
    throttled: int = 0

    @property
    def shows_life(self) -> bool:
        """Whether the destination took something, or refused it for what it was."""
        return self.delivered > 0 or (self.requests > self.throttled and not self.groups_failed and not self.stop)


class Mapped(NamedTuple):
    """What a destination's event source mapping does, or is to do; not settled is one that is being changed."""

    on: bool = True
    pool: Pool = Pool.FAST
    settled: bool = True


class Probed(NamedTuple):
    """What a probe found: jobs that it received, those of them to be tried again, events that were delivered.

    `waiting` are the jobs that are there nevertheless, hidden or outside their queue; zero only where there is none.
    """

    received: int
    failed: int
    delivered: int
    waiting: int


class GateChange(Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A gate that opened, closed or was paused: what the workspace is told."""

    before: str
    after: str
    reason: str
    at: float
    actor: str = GATEKEEPER


class Gate(Struct, frozen=True):
    """Times are epoch seconds; `version` counts the changes that were made under a condition.

    `probes` have failed since it closed, and the next is due at `next_probe_at`. `slow_at` is when the destination was
    last seen slow in the fast pool, `calm_since` since when it is quick in the slow one. `untold` are changes that
    nobody was told of yet. `parking` names what is parked of its queue: by when it was shut, or when jobs were last put
    back for a probe. Once anything is parked under it `park_at` says when somebody goes on with that; `is_parking` if
    somebody is at it now, until then at most.
    """

    state: GateState = GateState.OPEN
    reason: str = ""
    since: float = 0.0
    strikes: frozenset[str] = frozenset()
    struck_at: float | None = None
    probes: int = 0
    next_probe_at: float | None = None
    pool: Pool = Pool.FAST
    slow_at: float | None = None
    calm_since: float | None = None
    mapped: Mapped = Mapped()
    untold: tuple[GateChange, ...] = ()
    parking: float = 0.0
    park_at: float | None = None
    is_parking: bool = False
    version: int = 0

    def hold_s(self, now: float) -> float | None:
        """For how long jobs that come nevertheless are hidden, in seconds; None where they flow."""
        if self.state is GateState.OPEN:
            return MOVING_HOLD_S if self._is_moving(now) else None
        if self.state is GateState.CLOSED and self.next_probe_at is not None:
            return min(max(self.next_probe_at - now, BLIP_S), LONGEST_HOLD_S)
        return FIRST_PROBE_S if self.state is GateState.PROBING else LONGEST_HOLD_S

    def _is_moving(self, now: float) -> bool:
        """Slow, and still in the fast pool: until its queue is moved, its jobs would hold up everybody's."""
        is_in_fast = self.pool is Pool.SLOW and self.mapped.pool is Pool.FAST
        return is_in_fast and self.slow_at is not None and now - self.slow_at <= MOVES_WITHIN_S

    def is_news(self, evidence: Evidence, now: float) -> bool:
        """Whether a batch's evidence is worth a report: most batches of most destinations are not."""
        failed = bool(evidence.groups_failed or evidence.stop)
        return failed or bool(self.strikes) or timed(self, evidence, now) != self

    @property
    def wanted(self) -> Mapped:
        return Mapped(self.state is GateState.OPEN, self.pool)

    def is_probe_due(self, now: float) -> bool:
        """A closed gate's next one, or one that somebody began and never ended."""
        is_shut = self.state in (GateState.CLOSED, GateState.PROBING)
        return is_shut and (self.next_probe_at is None or self.next_probe_at <= now + EARLY_S)

    def is_parking_due(self, now: float) -> bool:
        """Shut for so long that SQS will forget its first jobs soon; who probes it has some of them in hand."""
        is_old = now - (self.parking or self.since) >= PARKED_AFTER_S
        return is_old and self.state in (GateState.CLOSED, GateState.PAUSED) and self.may_park(now)

    def may_park(self, now: float) -> bool:
        """Unless somebody does just now, or has done it of late."""
        return self.park_at is None or self.park_at <= now + EARLY_S

    @property
    def has_parked(self) -> bool:
        """Whether some of its queue may be parked: then all of it has to be before anything flows."""
        return self.park_at is not None

    @property
    def is_flowing(self) -> bool:
        """Whether its mapping was seen on: then jobs may go back, as what is parked later is parked by another name."""
        return self.state is GateState.OPEN and self.mapped.on and not self.has_parked


class GateView(Struct, frozen=True):
    """A destination's gate. `reason` says why it is not open, `next_probe_at` when it is tried again."""

    state: str
    reason: str | None
    since: str | None
    pool: str
    strikes: int
    next_probe_at: str | None


class Pause(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a destination is paused, in a person's words."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


def is_struck_out(gate: Gate, now: float) -> bool:
    """Whether it is time to ask if anything was delivered in the last `JUDGED_OVER_S`; if nothing was, it closes."""
    struck_for_s = now - gate.struck_at if gate.struck_at is not None else 0.0
    return gate.state is GateState.OPEN and len(gate.strikes) >= ENOUGH_STRIKES and struck_for_s >= BLIP_S


def closed(gate: Gate, reason: str, now: float) -> Gate:
    after = _moved(gate, GateState.CLOSED, reason, now)
    return replace(after, probes=0, next_probe_at=now + FIRST_PROBE_S)


def paused(gate: Gate, reason: str, actor: str, now: float) -> Gate:
    """Paused for good, until a person resumes it. Paused again it is what it was, but for its reason."""
    if gate.state is GateState.PAUSED:
        return replace(gate, reason=reason)
    return _moved(gate, GateState.PAUSED, reason, now, actor)


def resumed(gate: Gate, actor: str, now: float) -> Gate:
    """A paused gate opens; one that closed by itself is probed at once, and opens if that gets through."""
    if gate.state is GateState.PAUSED:
        return _moved(gate, GateState.OPEN, RESUMED, now, actor)
    return replace(gate, probes=0, next_probe_at=now) if gate.state is GateState.CLOSED else gate


def unsure(gate: Gate) -> Gate:
    """Another mapping was made: somebody has to look whether all do what the gate wants."""
    return replace(gate, mapped=gate.mapped._replace(settled=False))


def probing(gate: Gate, now: float) -> Gate:
    """Nobody else probes until it is over, or whoever does is gone."""
    return replace(gate, state=GateState.PROBING, next_probe_at=now + PROBE_TAKES_S)


def parking(gate: Gate, now: float) -> Gate:
    """Nobody else begins to park until it is over, or whoever does is gone."""
    return replace(gate, park_at=now + PARKING_TAKES_S, is_parking=True)


def left_off(begun: Gate, found: Gate, now: float) -> Gate:
    """What was found of a gate whose parking began and came to no end: nobody is at it now, others may go on."""
    is_same = found.is_parking and found.park_at == begun.park_at
    return replace(found, park_at=now, is_parking=False) if is_same else found


def after_parking(gate: Gate, is_whole: bool, is_to_flow: bool, now: float) -> Gate:
    """Go on soon, or, where all of the queue is parked, look within the hour what else came.

    If something is to flow then, it may: what comes to the queue from now on is of other users, or behind all of it.
    """
    if is_whole and is_to_flow:
        return replace(gate, park_at=None, is_parking=False)
    after = replace(gate, park_at=now + (LOOKED_AFTER_S if is_whole else PARKED_ON_AFTER_S), is_parking=False)
    if gate.state is GateState.PAUSED or gate.state is GateState.OPEN:
        return after
    return replace(after, state=GateState.CLOSED, next_probe_at=now + PARKED_ON_AFTER_S)


def put_back(gate: Gate, now: float) -> Gate:
    """Jobs go back to the queue from now on: what of it is parked after that goes before what was parked until now."""
    return replace(gate, parking=_parking_after(gate, now), park_at=None, is_parking=False)


def after_probe(gate: Gate, probed: Probed, now: float) -> Gate:
    """Open if anything got through, or nothing is there to try with; else closed until the next probe."""
    if probed.delivered or (probed.received and not probed.failed):
        return _moved(gate, GateState.OPEN, DELIVERED, now)
    if not probed.received and not probed.waiting:
        return _moved(gate, GateState.OPEN, EMPTY, now)
    if not probed.received:  # hidden by whoever had them when it closed
        return replace(gate, state=GateState.CLOSED, next_probe_at=now + FIRST_PROBE_S)
    probes = gate.probes + 1
    return replace(gate, state=GateState.CLOSED, probes=probes, next_probe_at=now + probe_delay_s(probes))


def probe_delay_s(probes: int) -> float:
    """Seconds until the next probe after so many failed: 15, doubled each time, at most 60."""
    return float(min(FIRST_PROBE_S * 2 ** min(probes, 10), LONGEST_PROBE_S))


def timed(gate: Gate, evidence: Evidence, now: float) -> Gate:
    """The gate after the time that a batch's requests took: slow at once or at the second sight, fast after a while."""
    if not evidence.requests:
        return gate
    if gate.pool is Pool.SLOW:
        if evidence.mean_s >= CALM_S:
            return replace(gate, calm_since=None)
        return rested(replace(gate, calm_since=now) if gate.calm_since is None else gate, now)
    if evidence.mean_s <= SLOW_S:
        return gate
    seen_before = gate.slow_at is not None and now - gate.slow_at <= SLOW_AGAIN_WITHIN_S
    if seen_before or evidence.mean_s >= VERY_SLOW_S:
        return replace(gate, pool=Pool.SLOW, slow_at=now, calm_since=None)
    return replace(gate, slow_at=now)


def rested(gate: Gate, now: float) -> Gate:
    """Back in the fast pool, if it has been quick for long enough."""
    if gate.pool is Pool.SLOW and gate.calm_since is not None and now - gate.calm_since >= CALM_FOR_S:
        return replace(gate, pool=Pool.FAST, slow_at=None, calm_since=None)
    return gate


def attend_at(gate: Gate, now: float) -> float | None:
    """When somebody has to look after the gate at the latest; None for one that asks for nothing."""
    moments = []
    if gate.mapped != gate.wanted or gate.untold:
        moments.append(now + OVERDUE_S)
    if gate.state in (GateState.CLOSED, GateState.PROBING):
        moments.append((gate.next_probe_at or now) + OVERDUE_S)
    if gate.pool is Pool.SLOW and gate.calm_since is not None:
        moments.append(gate.calm_since + CALM_FOR_S)
    if gate.state is GateState.PAUSED or gate.pool is Pool.SLOW:
        moments.append(now + LOOKED_AFTER_S)
    if gate.park_at is not None:
        moments.append(gate.park_at + OVERDUE_S)
    return min(moments, default=None)


def view(gate: Gate) -> GateView:
    return GateView(
        state=gate.state.value,
        reason=gate.reason or None,
        since=iso(gate.since) if gate.since else None,
        pool=gate.pool.value,
        strikes=len(gate.strikes),
        next_probe_at=iso(gate.next_probe_at) if gate.state is GateState.CLOSED and gate.next_probe_at else None,
    )


def _moved(gate: Gate, state: GateState, reason: str, now: float, actor: str = GATEKEEPER) -> Gate:
    """In another state from now on, which the workspace is to be told. A probe is no state to tell of."""
    before = GateState.CLOSED if gate.state is GateState.PROBING else gate.state
    shuts = state is not GateState.OPEN and gate.state is GateState.OPEN and gate.mapped.on
    told = GateChange(before.value, state.value, reason, now, actor)
    is_at_it = gate.is_parking and not shuts
    return replace(
        gate,
        state=state,
        reason="" if state is GateState.OPEN else reason,
        since=now,
        strikes=frozenset(),
        struck_at=None,
        probes=0,
        next_probe_at=None,
        untold=(*gate.untold, told),
        parking=_parking_after(gate, now) if shuts else gate.parking,
        park_at=None if shuts or gate.park_at is None else gate.park_at if is_at_it else min(gate.park_at, now),
        is_parking=is_at_it,
    )


def _parking_after(gate: Gate, now: float) -> float:
    """Later than any before, whoever's clock it was by."""
    return max(now, gate.parking + 0.01)
