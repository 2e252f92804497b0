"""The gate of a destination: whether its events flow, and what is due of it.

A gate also knows the pool that its destination is in, fast or slow, and what the event source mapping was last seen to
do, so that whoever looks at it sees what is left to be done. What changes it: `evidence` and `gate_moves`.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from penstock.domain.audit import iso
from penstock.domain.overflow import PARKED_AFTER_S

FIRST_PROBE_S = 15.0
EARLY_S = 2.0  # by which clocks may differ
SHORTEST_HOLD_S, LONGEST_HOLD_S = 5.0, 60.0

MOVES_WITHIN_S = 180.0  # AWS takes its time to give a queue to another function
MOVING_HOLD_S = 5.0
CALM_FOR_S = 180.0

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


class Mapped(NamedTuple):
    """What a destination's event source mapping does, or is to do; not settled is one that is being changed."""

    on: bool = True
    pool: Pool = Pool.FAST
    settled: bool = True


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
    back for a probe. `filled_at` is when its queue may have got the oldest of what it holds: when the gate shut for the
    first time since the queue was last seen empty. Once anything is parked under `parking`, `park_at` says when
    somebody goes on with that; `is_parking` if somebody is at it now, until then at most.
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
    filled_at: float | None = None
    park_at: float | None = None
    is_parking: bool = False
    version: int = 0

    def hold_s(self, now: float) -> float | None:
        """For how long jobs that come nevertheless are hidden, in seconds; None where they flow."""
        if self.state is GateState.OPEN:
            return MOVING_HOLD_S if self._is_moving(now) else None
        if self.state is GateState.CLOSED and self.next_probe_at is not None:
            return min(max(self.next_probe_at - now, SHORTEST_HOLD_S), LONGEST_HOLD_S)
        return FIRST_PROBE_S if self.state is GateState.PROBING else LONGEST_HOLD_S

    def _is_moving(self, now: float) -> bool:
        """Slow, and still in the fast pool: until its queue is moved, its jobs would hold up everybody's."""
        is_in_fast = self.pool is Pool.SLOW and self.mapped.pool is Pool.FAST
        return is_in_fast and self.slow_at is not None and now - self.slow_at <= MOVES_WITHIN_S

    @property
    def wanted(self) -> Mapped:
        return Mapped(self.state is GateState.OPEN, self.pool)

    def is_probe_due(self, now: float) -> bool:
        """A closed gate's next one, or one that somebody began and never ended."""
        is_shut = self.state in (GateState.CLOSED, GateState.PROBING)
        return is_shut and (self.next_probe_at is None or self.next_probe_at <= now + EARLY_S)

    def is_parking_due(self, now: float) -> bool:
        """Filled for so long that SQS will forget its first jobs soon; who probes it has some of them in hand.

        That it was open now and then in between says nothing: of what it held then, some may be there still.
        """
        filled_at = self.filled_at if self.filled_at is not None else self.parking or self.since
        return (
            now - filled_at >= PARKED_AFTER_S
            and self.state in (GateState.CLOSED, GateState.PAUSED)
            and self.may_park(now)
        )

    def may_park(self, now: float) -> bool:
        """Unless somebody does just now, or has done it of late."""
        return self.park_at is None or self.park_at <= now + EARLY_S

    @property
    def has_parked(self) -> bool:
        """Whether some of its queue may be parked: then all of it has to be before anything flows."""
        return self.park_at is not None

    @property
    def may_be_drained(self) -> bool:
        """Open, and not known yet to have worked off what came while it was shut."""
        return self.is_flowing and self.filled_at is not None

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


def attend_at(gate: Gate, now: float) -> float | None:
    """When somebody has to look after the gate at the latest; None for one that asks for nothing."""
    moments = []
    if gate.mapped != gate.wanted or gate.untold:
        moments.append(now + OVERDUE_S)
    if gate.state in (GateState.CLOSED, GateState.PROBING):
        moments.append((gate.next_probe_at or now) + OVERDUE_S)
    if gate.pool is Pool.SLOW and gate.calm_since is not None:
        moments.append(gate.calm_since + CALM_FOR_S)
    if gate.state is GateState.PAUSED or gate.pool is Pool.SLOW or gate.may_be_drained:
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
