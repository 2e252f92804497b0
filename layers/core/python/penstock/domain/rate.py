"""How many requests a destination may get, over all functions that send to it."""

from __future__ import annotations

from typing import NamedTuple


class Lease(NamedTuple):
    """Leave for `granted` requests, `slots` of them at the same time; None is no limit.

    What got no leave is hidden for `wait_s` seconds.
    """

    granted: int | None
    slots: int | None
    wait_s: float = 0.0
