"""Isolation on the local cloud: what the healthy notice of four sick destinations, and neighbours of a flood.

`make bench-isolation` runs it on a hub of its own and writes `docs/isolation.md`. The load is light enough for the
local cloud to keep up with, so that delays are those of events and not of a queue that only grows. Both sides of a
comparison go through the same source with the same users: what the local cloud takes for a request depends on how many
shards these lie in. Requests come at random moments, so that no side keeps step with the local cloud's own rounds.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.pipeline_throughput import at, delays, wait_for_all
from penstock.local.home import REPO
from tests.e2e.running_hub import Pipe, RunningHub, hub_of_its_own, track
from tests.e2e.waiting import wait_for

DESTINATIONS, HEALTHY = 12, 8
REQUESTS, USERS, EVERY_S = 40, 5, 1.0
SOURCES, ROUNDS = 2, 2
FLOOD = 100  # times what a neighbour sends
FLOODS_S = (1, 1, 10)  # the seconds of a neighbour's that a flood is a hundred times of
RECOVERED_WITHIN_S = 300.0
DOC = REPO / "docs" / "isolation.md"
SENT = random.Random(4)
TIMES = Path("/proc/stat")


class Watched(NamedTuple):
    """Milliseconds from accept to sink of each delivery, and the share of the machine's cores that was busy."""

    delays: list[float]
    busy: float

    @property
    def p95(self) -> float:
        return at(self.delays, 95)


class Pair(NamedTuple):
    """One source's, without the trouble and with it."""

    calm: Watched
    troubled: Watched

    @property
    def ratio(self) -> float:
        return self.troubled.p95 / self.calm.p95


def main() -> None:
    with hub_of_its_own("bench-hub") as running:
        sick = [pair for _ in range(SOURCES) for pair in beside_the_sick(running)]
        flooded = [(seconds, beside_a_flood(running, seconds)) for seconds in FLOODS_S]
    DOC.write_text(document(sick, flooded, datetime.now(UTC)))
    print(DOC.read_text())


def beside_the_sick(running: RunningHub) -> list[Pair]:
    """Of twelve destinations one is down, one takes 5 s, one says 429 half the time and one answers slowly."""
    pipe = running.new_pipe(DESTINATIONS)
    well = Pipe(running, pipe.source_id, pipe.write_key, pipe.paths[:HEALTHY], pipe.destinations[:HEALTHY])
    steady(pipe, 10)
    found = []
    for _ in range(ROUNDS):
        calm = steady(well, REQUESTS)
        down, hanging, limiting, crawling = pipe.paths[HEALTHY:]
        running.behave(down, status=503)
        running.behave(hanging, delay_ms=5_000)
        running.behave(limiting, status=429, every=2)
        running.behave(crawling, delay_ms=800)
        found.append(Pair(calm, steady(well, REQUESTS)))
        for path in pipe.paths[HEALTHY:]:
            running.behave(path)
            wait_for(f"all events at {path}", lambda path=path: has_all(pipe, path), RECOVERED_WITHIN_S)  # type: ignore[misc]
    return found


def has_all(pipe: Pipe, path: str) -> bool:
    """Whether it has everything that the first of the pipe's paths has."""
    first, its = ({_name(event) for event in pipe.delivered(each)} for each in (pipe.path, path))
    return first <= its


def _name(event: dict[str, Any]) -> tuple[str, int]:
    return event["userId"], event["properties"]["n"]


def beside_a_flood(running: RunningHub, seconds: int) -> Pair:
    """A neighbour sends as ever, while another source sends a hundred times its seconds in one burst."""
    events = FLOOD * USERS * seconds
    neighbour, flood = running.new_pipe(2), running.new_pipe(1)
    steady(neighbour, 10)
    calm = steady(neighbour, REQUESTS)
    with ThreadPoolExecutor(1) as beside:
        burst = beside.submit(pour, flood, events)
        troubled = steady(neighbour, REQUESTS)
        burst.result()
    wait_for_all(flood, events, 0.5)
    return Pair(calm, troubled)


def steady(pipe: Pipe, requests: int) -> Watched:
    """About a request a second with one event of each user, until the last has arrived at all paths."""
    before = len(pipe.running.received(pipe.path))
    worked, passed = core_seconds(), time.monotonic()
    for number in range(before, before + requests):
        assert pipe.post(*[track(f"user-{user}", number) for user in range(USERS)]).ok
        time.sleep(EVERY_S * SENT.uniform(0.5, 1.5))
    busy = (core_seconds() - worked) / (time.monotonic() - passed) / (os.cpu_count() or 1)
    wait_for_all(pipe, before + requests * USERS, 0.2)
    return Watched(delays(pipe, before), busy)


def core_seconds() -> float:
    """What all the cores have worked; 0 where the system does not say so."""
    if not TIMES.exists():
        return 0.0
    user, nice, system, _idle, _waiting, *interrupts = map(int, TIMES.read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def pour(pipe: Pipe, events: int) -> None:
    for first in range(0, events, 100):
        assert pipe.post(*[track(f"user-{number % 50}", number) for number in range(first, first + 100)]).ok


def document(sick: Sequence[Pair], flooded: Sequence[tuple[int, Pair]], now: datetime) -> str:
    return f"""# Isolation on the local hub

Measured by `make bench-isolation` on {now:%d %B %Y}, on {os.cpu_count()} cores that sender, hub, local cloud and sink
share: Lambdas that wait cost them nothing, those that work do, so this shows rather more than what isolation itself
costs. Each row is {REQUESTS} requests without the trouble and as many with it, through the same source, about one a
second at random moments, of {USERS} events each. p95 is from accept to sink, in ms, and busy the share of the cores'
time that was used.

## Four sick destinations among twelve

One is down (503), one takes 5 s, one says 429 to every other request, one answers after 0.8 s. What the other eight
notice (the target is 1.25):

| | p95 without | p95 with | ratio | busy without | with |
|---|--:|--:|--:|--:|--:|
{chr(10).join(_row(f"source {1 + place // ROUNDS}", pair) for place, pair in enumerate(sick))}
{_row("**all**", _together(sick))}

A source's users lie in so many shards, and the local cloud works these off one after the other: so sources differ.

## A flood beside a neighbour

Another source sends {FLOOD} times what the neighbour sends in a second, or in {FLOODS_S[-1]} seconds, as fast as
it can. What the neighbour notices (the target is 1.5 for a burst):

| events of the flood | p95 without | p95 with | ratio | busy without | with |
|--:|--:|--:|--:|--:|--:|
{chr(10).join(_row(f"{FLOOD * USERS * seconds:,}", pair) for seconds, pair in flooded)}

What a longer flood does here is the [local cloud's](local-hub.md): it reads all shards on one thread, and waits there
for fan-out. The cores are mostly idle meanwhile.
"""


def _together(pairs: Sequence[Pair]) -> Pair:
    return Pair(_merged([pair.calm for pair in pairs]), _merged([pair.troubled for pair in pairs]))


def _merged(parts: Sequence[Watched]) -> Watched:
    return Watched(
        list(chain.from_iterable(part.delays for part in parts)), sum(part.busy for part in parts) / len(parts)
    )


def _row(name: str, pair: Pair) -> str:
    calm, troubled = pair
    return (
        f"| {name} | {calm.p95:,.0f} | {troubled.p95:,.0f} | {pair.ratio:.2f} | {calm.busy:.0%} | {troubled.busy:.0%} |"
    )


if __name__ == "__main__":
    main()
