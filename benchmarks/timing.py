"""Contenders take turns, round by round, and only the CPU time of this process counts: a neighbour disturbs little."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

ROUNDS = 21


def rates(contenders: Mapping[str, Callable[[], int]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Things done per second by each contender in each round. A contender does some and says how many."""
    for contender in contenders.values():
        contender()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            began = time.process_time()
            done = contender()
            found[name].append(done / (time.process_time() - began))
    return found
