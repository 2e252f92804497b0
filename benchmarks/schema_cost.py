"""What tracking costs as events go by: calls of DynamoDB, and CPU time, with the real step and the real adapters.

The client answers every call at once and remembers nothing: the Lambda stays warm, as it does in steady state.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from benchmarks.report import Row, within
from benchmarks.schema_stream import NoPlans, batches, records
from penstock.adapters.parked_records import ParkedRecords
from penstock.adapters.place_table import PlaceTable
from penstock.adapters.schema_table import SchemaTable
from penstock.steps.track_schema import Memory, Ports, Record, track_schema

EVENTS = 40_000
COUNTS = 50.0  # forty-two events, each once in a batch of about a thousand
CPU_US = 40.0
GROWTH = 1.15
SHARD = "shardId-000000000000"


class Answering:
    """A client of DynamoDB and S3 that only counts."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> dict[str, Any]:
            self.calls[name] += 1
            return {"Items": []}

        return call


def run() -> list[Row]:
    client = Answering()
    with ThreadPoolExecutor(8) as events, ThreadPoolExecutor(16) as paths:
        ports = Ports(
            SchemaTable(client, "schemas"),  # type: ignore[arg-type]
            PlaceTable(client, "places", paths),  # type: ignore[arg-type]
            ParkedRecords(client, "failures"),
            NoPlans(),
            Memory(),
            events,
        )
        learning = measured(list(batches(records(EVENTS))), client, ports)
        first = 10 * EVENTS  # behind all sequence numbers so far
        steady = measured(list(batches(records(EVENTS, hour=1, first=first))), client, ports)
    print(
        f"calls while {EVENTS:,} events were learned: {dict(learning.calls)}, "
        f"and when they came again: {dict(steady.calls)}"
    )
    per_1000 = 1000 / EVENTS
    half = len(learning.seconds) // 2
    growth = statistics.mean(steady.seconds[half:]) / statistics.mean(steady.seconds[:half])
    return [
        within("schema: reads per 1,000 events, steady", steady.calls["query"] * per_1000, 1.0, "calls"),
        within("schema: facts written per 1,000 events, steady", steady.calls["update_item"] * per_1000, 1.0, "calls"),
        within("schema: counts written per 1,000 events", steady.calls["put_item"] * per_1000, COUNTS, "calls"),
        within("schema: CPU per event, whole step", statistics.mean(steady.seconds) * 1e6, CPU_US, "µs"),
        within("schema: CPU per event, later half in earlier", growth, GROWTH, "×"),
    ]


class Measured(NamedTuple):
    """CPU seconds per event of each batch, and calls of the store in all."""

    seconds: list[float]
    calls: Counter[str]


def measured(found: list[list[Record]], client: Answering, ports: Ports) -> Measured:
    before, seconds = Counter(client.calls), []
    for batch in found:
        began = time.process_time()
        outcome = track_schema(SHARD, batch, ports)
        seconds.append((time.process_time() - began) / outcome.events)
    return Measured(seconds, client.calls - before)
