"""The whole hub on the local cloud: how long an event takes from accept to sink, and how many go through in a second.

`make bench-hub` runs it on a hub of its own and writes `docs/throughput.md` and `docs/throughput.svg`. The local cloud
runs one batch of a queue at a time, in Python, on the cores of sender and sink: what is seen is its pace, not AWS's.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple

from penstock.local.home import REPO
from tests.e2e.running_hub import Pipe, RunningHub, hub_of_its_own, track

DESTINATIONS, USERS = (1, 4, 16), (10, 200)
EVENTS, IN_A_REQUEST, SENDERS = 400, 20, 4
ALONE = 50
WITHIN_S = 300.0
DOC, PLOT = REPO / "docs" / "throughput.md", REPO / "docs" / "throughput.svg"


class Run(NamedTuple):
    """`events_s` is from the first request to the last delivery; `p50` and `p99` from accept to sink, in ms."""

    destinations: int
    users: int
    events_s: float
    p50: float
    p99: float


def main() -> None:
    busy = os.getloadavg()[0]
    with hub_of_its_own("bench-hub") as running:
        alone = idle(running)
        runs = [load(running, destinations, users) for users in USERS for destinations in DESTINATIONS]
    DOC.write_text(document(alone, runs, datetime.now(UTC), busy))
    plot(runs)
    print(DOC.read_text())


def idle(running: RunningHub) -> list[float]:
    """One event at a time, the next when the last has arrived; the first few only warm the functions."""
    pipe = running.new_pipe()
    for number in range(ALONE + 10):
        assert pipe.post(track("ada", number)).ok
        wait_for_all(pipe, number + 1, 0.02)
    return delays(pipe, 10)


def load(running: RunningHub, destinations: int, users: int) -> Run:
    pipe = running.new_pipe(destinations)
    pipe.post(track("warm", 0))
    wait_for_all(pipe, 1, 0.2)
    events = [track(f"user-{number % users}", number) for number in range(EVENTS)]
    requests = [events[first : first + IN_A_REQUEST] for first in range(0, EVENTS, IN_A_REQUEST)]
    began = time.time()
    with ThreadPoolExecutor(SENDERS) as senders:
        assert all(answer.ok for answer in senders.map(lambda request: pipe.post(*request), requests))
    wait_for_all(pipe, EVENTS + 1, 0.5)
    ended = max(
        datetime.fromisoformat(row["time"]).timestamp() for path in pipe.paths for row in running.received(path)
    )
    taken = delays(pipe)
    return Run(destinations, users, EVENTS / (ended - began), at(taken, 50), at(taken, 99))


def wait_for_all(pipe: Pipe, events: int, every_s: float) -> None:
    deadline = time.monotonic() + WITHIN_S
    for path in pipe.paths:
        while len(pipe.running.received(path)) < events:
            assert time.monotonic() < deadline, f"{path} has not got {events} events within {WITHIN_S:.0f} s"
            time.sleep(every_s)


def delays(pipe: Pipe, after: int = 0) -> list[float]:
    """Milliseconds from accept, as the event itself tells it, to the sink: of what each path got after so many."""
    found = []
    for path in pipe.paths:
        for row in pipe.running.received(path)[after:]:
            accepted = datetime.fromisoformat(json.loads(row["body"])["receivedAt"])
            found.append((datetime.fromisoformat(row["time"]) - accepted).total_seconds() * 1000)
    return found


def at(values: Sequence[float], percentile: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percentile - 1]


def document(alone: Sequence[float], runs: Sequence[Run], now: datetime, busy: float) -> str:
    """`busy` is the machine's load average before anything of this began."""
    rows = [
        f"| {run.destinations} | {run.users} | {run.events_s:,.0f} | {run.events_s * run.destinations:,.0f} | "
        f"{run.p50:,.0f} | {run.p99:,.0f} |"
        for run in runs
    ]
    return f"""# Throughput of the local hub

Measured by `make bench-hub` on {now:%d %B %Y}, on two cores that sender, hub, local cloud and sink share.
The local cloud runs one batch of a queue at a time and is written in Python, so this is its pace; what AWS takes is
reckoned in [scale](scale.md). Other work on the machine before it began: a load of {busy:.1f}, where 0 is
none and 2 a full machine.

An event alone takes **{at(alone, 50):.0f} ms** from accept to sink at the median and **{at(alone, 99):.0f} ms** at p99
({len(alone)} events, each sent when the one before had arrived).

{EVENTS} events in requests of {IN_A_REQUEST}, {SENDERS} at once; each destination gets every event. Seconds are
those from the first request to the last delivery, and the delays those of queues that fill as fast as they can.

| destinations | users | events/s | deliveries/s | accept to sink p50, ms | p99, ms |
|--:|--:|--:|--:|--:|--:|
{chr(10).join(rows)}

![Events a second against the number of destinations](throughput.svg)
"""


def plot(runs: Sequence[Run]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "penstock"
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for users in USERS:
        line = [run for run in runs if run.users == users]
        axes.plot(
            [run.destinations for run in line], [run.events_s for run in line], marker="o", label=f"{users} users"
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(DESTINATIONS, labels=[str(each) for each in DESTINATIONS])
    axes.set_xlabel("destinations")
    axes.set_ylabel("events/s")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
