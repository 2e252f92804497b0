"""Runs of seeds: one, or many on all cores; the same seed gives the same run, event by event."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from os import cpu_count

from tests.simulation.promises import BOOKS, LOST, REORDERED, REPEATED, Findings, check
from tests.simulation.world import World

MOST_TOLD = 5  # of what is broken, and of failing seeds
AT_ONCE, CHUNKS_OF_A_PROCESS = 8, 25  # seeds; then another goes on: what worlds leave would fill any memory


def simulate(seed: int, kind: type[World] = World) -> Findings:
    gc.disable()  # a sixth of the time, for what is gone with the world anyway
    try:
        world = kind(seed)
        world.run()
        return check(world)
    finally:
        gc.enable()


@dataclass
class Total:
    """What many seeds came to."""

    seeds: int = 0
    events: int = 0
    deliveries: int = 0
    simulated_s: float = 0.0
    broken: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    failing: list[Findings] = field(default_factory=list)

    def add(self, findings: Findings) -> None:
        self.seeds += 1
        self.events += findings.events
        self.deliveries += findings.deliveries
        self.simulated_s += findings.simulated_s
        self.explained += findings.explained
        self.broken += Counter({promise: len(what) for promise, what in findings.broken.items()})
        if not findings.is_good:
            self.failing.append(findings)


def simulate_all(seeds: Sequence[int]) -> Iterator[Findings]:
    """On all cores, in any order."""
    with get_context("fork").Pool(cpu_count(), gc.freeze, maxtasksperchild=CHUNKS_OF_A_PROCESS) as pool:
        yield from pool.imap_unordered(_simulated, seeds, chunksize=AT_ONCE)


def _simulated(seed: int) -> Findings:
    """One that breaks the simulation itself is told with the others."""
    try:
        findings = simulate(seed)
    except Exception as error:  # noqa: BLE001 - the outermost edge of a process
        return Findings(seed, {LOST: [f"the simulation broke: {error!r}"]})
    return findings if not findings.is_good else _brief(findings)


def _brief(findings: Findings) -> Findings:
    findings.story = ()
    return findings


def seeds_of(text: str) -> list[int]:
    """`17`, `0-999` or `3,5,10-12`."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def told(findings: Findings) -> Iterator[str]:
    """A failing seed: what is broken, and how the story ended."""
    yield f"seed {findings.seed} fails: make simulate SEEDS={findings.seed}"
    for promise, broken in findings.broken.items():
        yield from (f"  {promise}: {each}" for each in broken[:MOST_TOLD])
    yield from (f"  | {line}" for line in findings.story)


def report(found: Iterable[Findings]) -> tuple[Total, list[str]]:
    """All of it added up, as lines to print."""
    began, total = time.monotonic(), Total()
    for findings in found:
        total.add(findings)
    total.failing.sort(key=lambda each: each.seed)
    lines = [line for each in total.failing[:MOST_TOLD] for line in told(each)]
    if total.failing:
        lines.append(f"failing seeds: {','.join(str(each.seed) for each in total.failing)}")
    lines += [
        f"seeds                     {total.seeds:>12,}",
        f"simulated events          {total.events:>12,}",
        f"deliveries                {total.deliveries:>12,}",
        f"lost                      {total.broken[LOST]:>12,}",
        f"reordered                 {total.broken[REORDERED]:>12,}",
        f"unexplained duplicates    {total.broken[REPEATED]:>12,}",
        f"books that do not balance {total.broken[BOOKS]:>12,}",
        f"explained duplicates      {total.explained.total():>12,}",
        *(f"  {why:<24}{count:>12,}" for why, count in total.explained.most_common()),
        f"simulated time            {total.simulated_s / 3600:>12,.0f} h",
        f"wall time                 {time.monotonic() - began:>12,.0f} s",
    ]
    return total, lines
