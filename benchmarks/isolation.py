"""Isolation on the local cloud: what the healthy notice of four sick destinations, and neighbours of a flood.

`make bench-isolation` runs it on a hub of its own and writes `docs/isolation.md`. The load is light enough for the
local cloud to keep up with, so that delays are those of events and not of a queue that only grows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks.pipeline_throughput import at, delays, wait_for_all
from penstock.local.home import REPO
from tests.e2e.running_hub import Pipe, RunningHub, hub_of_its_own, track

DESTINATIONS, HEALTHY = 12, 8
REQUESTS, USERS, EVERY_S = 40, 5, 1.0
FLOOD = 100  # times what a neighbour sends
FLOODS_S = (1, 10)  # the seconds of a neighbour's that a flood is a hundred times of
ROUNDS = 2
DOC = REPO / "docs" / "isolation.md"


class Pair(NamedTuple):
    """Milliseconds from accept to sink without the trouble and with it."""

    calm: list[float]
    troubled: list[float]

    @property
    def ratio(self) -> float:
        return at(self.troubled, 95) / at(self.calm, 95)


def main() -> None:
    with hub_of_its_own("bench-hub") as running:
        warm_up(running)
        sick = [beside_the_sick(running) for _ in range(ROUNDS)]
        flooded = [(seconds, beside_a_flood(running, seconds)) for seconds in FLOODS_S]
    DOC.write_text(document(sick, flooded, datetime.now(UTC)))
    print(DOC.read_text())


def warm_up(running: RunningHub) -> None:
    steady(running.new_pipe(DESTINATIONS), 5)


def beside_the_sick(running: RunningHub) -> Pair:
    """Of twelve destinations one is down, one takes 5 s, one says 429 half the time and one answers slowly."""
    pipe = running.new_pipe(DESTINATIONS)
    steady(pipe, REQUESTS)
    calm = delays(healthy(pipe))
    other = running.new_pipe(DESTINATIONS)
    down, hanging, limiting, crawling = other.paths[HEALTHY:]
    running.behave(down, status=503)
    running.behave(hanging, delay_ms=5_000)
    running.behave(limiting, status=429, every=2)
    running.behave(crawling, delay_ms=800)
    steady(healthy(other), REQUESTS)
    troubled = delays(healthy(other))
    for path in other.paths[HEALTHY:]:
        running.behave(path)
    wait_for_all(other, REQUESTS * USERS, 0.5)
    return Pair(calm, troubled)


def healthy(pipe: Pipe) -> Pipe:
    return Pipe(pipe.running, pipe.source_id, pipe.write_key, pipe.paths[:HEALTHY], pipe.destinations[:HEALTHY])


def beside_a_flood(running: RunningHub, seconds: int) -> Pair:
    """A neighbour sends as ever, while another source sends a hundred times its seconds in one burst."""
    events = FLOOD * USERS * seconds
    calm, neighbour, flood = running.new_pipe(2), running.new_pipe(2), running.new_pipe(1)
    steady(calm, REQUESTS)
    with ThreadPoolExecutor(1) as beside:
        burst = beside.submit(pour, flood, events)
        steady(neighbour, REQUESTS)
        burst.result()
    wait_for_all(flood, events, 0.5)
    return Pair(delays(calm), delays(neighbour))


def steady(pipe: Pipe, requests: int) -> None:
    """A request a second with one event of each user, until the last has arrived."""
    begun = time.monotonic()
    for number in range(requests):
        assert pipe.post(*[track(f"user-{user}", number) for user in range(USERS)]).ok
        time.sleep(max(0.0, begun + (number + 1) * EVERY_S - time.monotonic()))
    wait_for_all(pipe, requests * USERS, 0.2)


def pour(pipe: Pipe, events: int) -> None:
    for first in range(0, events, 100):
        assert pipe.post(*[track(f"user-{number % 50}", number) for number in range(first, first + 100)]).ok


def document(sick: Sequence[Pair], flooded: Sequence[tuple[int, Pair]], now: datetime) -> str:
    return f"""# Isolation on the local hub

Measured by `make bench-isolation` on {now:%d %B %Y}, on two cores that sender, hub, local cloud and sink share:
Lambdas that wait cost them nothing, those that work do, so this shows rather more than what isolation itself costs.
Each row is a run of {REQUESTS} requests, one a second, of {USERS} events each; p95 is from accept to sink, in ms.

## Four sick destinations among twelve

One is down (503), one takes 5 s, one says 429 to every other request, one answers after 0.8 s. What the other eight
notice:

| p95 without | p95 with | ratio |
|--:|--:|--:|
{chr(10).join(_row(pair) for pair in sick)}

## A flood beside a neighbour

Another source sends {FLOOD} times what the neighbour sends in a second, or in {FLOODS_S[-1]} seconds, as fast as
it can: the longer of the floods keeps both cores busy for most of the run. What the neighbour notices:

| events of the flood | p95 without | p95 with | ratio |
|--:|--:|--:|--:|
{chr(10).join(f"| {FLOOD * USERS * seconds:,} {_row(pair)}" for seconds, pair in flooded)}
"""


def _row(pair: Pair) -> str:
    return f"| {at(pair.calm, 95):,.0f} | {at(pair.troubled, 95):,.0f} | {pair.ratio:.2f} |"


if __name__ == "__main__":
    main()
