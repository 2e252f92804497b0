"""Wait for what is to become true, with a generous bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.1


def wait_for(what: str, look: Callable[[], T], within_s: float = 60.0) -> T:
    """What `look` finds, once it finds something; fails by name past the bound."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come true within {within_s:.0f} s"
        time.sleep(LOOK_EVERY_S)
    return found
