"""A hub whose queues are deep from the first job on, and whose overflow often stores half of what it is given."""

from __future__ import annotations

from dataclasses import replace

from penstock.domain.overflow import Limits
from tests.simulation.world import World

FLOODED = Limits(deep=1, deep_for_s=60.0, asked_every=1, most_waiting=0, refilled_below=20, refilled_at_once=3)
LASTS_S = 5.0
THROTTLED = 0.4


class Overflowing(World):
    """All that its clients have to say comes at once."""

    def _make_stores(self) -> None:
        super()._make_stores()
        self.until, self.overflows_at = LASTS_S, FLOODED
        self.weather.odds = replace(self.weather.odds, throttle=THROTTLED)
