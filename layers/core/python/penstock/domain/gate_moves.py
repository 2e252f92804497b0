"""How gates move: they close, are paused, resumed, probed and parked, and the workspace is told of it."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from penstock.domain.gate import (
    DELIVERED,
    EMPTY,
    FIRST_PROBE_S,
    GATEKEEPER,
    LOOKED_AFTER_S,
    RESUMED,
    Gate,
    GateChange,
    GateState,
)

LONGEST_PROBE_S = 60.0
ENOUGH_USERS = 3  # so that no single user's event stands for all
MOST_USERS = 24
WIDE_BEFORE = 8  # probes, of which every other is a wide one; then every fourth
PROBE_TAKES_S = 75.0  # after so long whoever was probing is gone
PARKING_TAKES_S = 75.0  # after so long whoever was parking is gone
MOST_UNTOLD = 20  # changes that are kept for a bus that is down; the audit log has all of them
PARKED_ON_AFTER_S = 15.0  # where there was no time for all of a queue


class Probed(NamedTuple):
    """What a probe found: jobs that it received, those of them to be tried again, events that were delivered.

    `waiting` are the jobs that are there nevertheless, hidden or outside their queue; zero only where there is none.
    """

    received: int
    failed: int
    delivered: int
    waiting: int


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
        return replace(gate, filled_at=now, park_at=None, is_parking=False)
    after = replace(gate, park_at=now + (LOOKED_AFTER_S if is_whole else PARKED_ON_AFTER_S), is_parking=False)
    if gate.state is GateState.PAUSED or gate.state is GateState.OPEN:
        return after
    return replace(after, state=GateState.CLOSED, next_probe_at=now + PARKED_ON_AFTER_S)


def put_back(gate: Gate, now: float) -> Gate:
    """Jobs go back to the queue from now on: what of it is parked after that goes before what was parked until now."""
    return replace(gate, parking=_parking_after(gate, now), filled_at=now, park_at=None, is_parking=False)


def drained(gate: Gate) -> Gate:
    """Its queue was seen empty: what comes from now on is younger than anything it ever held."""
    return replace(gate, filled_at=None)


def after_probe(gate: Gate, probed: Probed, now: float) -> Gate:
    """Open if anything got through, or nothing is there to try with; else closed until the next probe."""
    if probed.delivered or (probed.received and not probed.failed):
        return _moved(gate, GateState.OPEN, DELIVERED, now)
    if not probed.received and not probed.waiting:
        return drained(_moved(gate, GateState.OPEN, EMPTY, now))
    if not probed.received:  # hidden by whoever had them when it closed
        return replace(gate, state=GateState.CLOSED, next_probe_at=now + FIRST_PROBE_S)
    probes = gate.probes + 1
    return replace(gate, state=GateState.CLOSED, probes=probes, next_probe_at=now + probe_delay_s(probes))


def probe_delay_s(probes: int) -> float:
    """Seconds until the next probe after so many failed: 15, doubled each time, at most 60."""
    return float(min(FIRST_PROBE_S * 2 ** min(probes, 10), LONGEST_PROBE_S))


def users_to_probe(probes: int) -> int:
    """With how many users' jobs the next probe is made after so many failed.

    Three mostly: a destination that is down must cost next to nothing. But these are the first of its queue each time,
    and if it refuses just those for good others have to be asked: now and then, and twice as many each time.
    """
    is_wide = probes % (2 if probes < WIDE_BEFORE else 4) == 1
    return min(ENOUGH_USERS * 2 ** ((probes + 1) // 2), MOST_USERS) if is_wide else ENOUGH_USERS


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
        untold=(*gate.untold, told)[-MOST_UNTOLD:],
        parking=_parking_after(gate, now) if shuts else gate.parking,
        filled_at=now if gate.filled_at is None and state is not GateState.OPEN else gate.filled_at,
        park_at=None if shuts or gate.park_at is None else gate.park_at if is_at_it else min(gate.park_at, now),
        is_parking=is_at_it,
    )


def _parking_after(gate: Gate, now: float) -> float:
    """Later than any before, whoever's clock it was by."""
    return max(now, gate.parking + 0.01)
