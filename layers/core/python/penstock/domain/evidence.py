"""Evidence: what one batch showed of a destination, when that closes its gate, and which pool it puts it in.

A gate closes when the destination fails for all: groups that failed with no success between are its strikes, and with
enough of them it is asked whether anything was delivered of late. A single user's event that can never be delivered is
one group, and closes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from penstock.domain.gate import CALM_FOR_S, Gate, GateState, Pool

ENOUGH_STRIKES = 3
MOST_STRIKES = 20  # that are remembered
BLIP_S = 5.0  # failures within so short a time say nothing yet
JUDGED_OVER_S = 60.0
STOPPED_OVER_S = 10.0  # one event that is forbidden while others get through is that event's own trouble

SLOW_S = 1.0
VERY_SLOW_S = 3.5  # less than early tries are given: who is cut off is known as slow at once
SLOW_AGAIN_WITHIN_S = 60.0
CALM_S = 0.5


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
    def failed(self) -> int:
        """The requests that were neither taken, nor refused for good, nor answered 429."""
        return max(self.requests - self.delivered - self.throttled, 0)

    @property
    def shows_life(self) -> bool:
        """Whether the destination took something, or refused it for what it was."""
        return self.delivered > 0 or (self.requests > self.throttled and not self.groups_failed and not self.stop)


def is_news(gate: Gate, evidence: Evidence, now: float) -> bool:
    """Whether a batch's evidence is worth a report: most batches of most destinations are not."""
    failed = bool(evidence.groups_failed or evidence.stop)
    return failed or bool(gate.strikes) or timed(gate, evidence, now) != gate


def is_struck_out(gate: Gate, now: float) -> bool:
    """Whether it is time to ask if anything was delivered in the last `JUDGED_OVER_S`; if nothing was, it closes."""
    struck_for_s = now - gate.struck_at if gate.struck_at is not None else 0.0
    return gate.state is GateState.OPEN and len(gate.strikes) >= ENOUGH_STRIKES and struck_for_s >= BLIP_S


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
