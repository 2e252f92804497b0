"""Schema inference with exact counts per path: the learned tracker, the plain walk, genson and dlt.

All get the properties or traits of the same events as bytes, parse them, and know in the end what was seen where. Only
ours and the walk count each kind at each path, and tell times from texts.
"""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import corpus
from benchmarks.report import Row, compared
from benchmarks.schema_peers import Item, with_dlt, with_dlt_pipeline, with_genson, with_walk
from benchmarks.timing import rates
from penstock.domain.shape_tracker import ShapeTracker

EVENTS = 100_000
FEW, FEWER = 5_000, 2_000  # for peers that would take minutes
HARD = 60_000
ROUNDS = 5


def run() -> list[Row]:
    easy = [item_of(event) for event in corpus.events(EVENTS)]
    hard = [("hard", json.dumps(value).encode(), stamp(n), f"m{n}") for n, value in enumerate(hard_values(HARD))]
    known = [item for item in easy if fits_usual(item)][:FEW]
    warm: dict[str, ShapeTracker] = {}
    tracked(easy, warm)
    gc.collect()
    gc.freeze()  # what the benches themselves hold is no garbage
    measured = rates(
        {
            "ours": lambda: tracked(easy, {}),
            "ours, known shapes": lambda: tracked(known, warm),
            "ours, hard": lambda: tracked(hard, {}),
            "plain walk": lambda: counted(with_walk, easy[:FEW]),
            "plain walk, hard": lambda: counted(with_walk, hard),
            "genson": lambda: counted(with_genson, easy[:FEW]),
            "dlt in memory": lambda: counted(with_dlt, easy[:FEWER]),
            "dlt's pipeline": lambda: counted(with_dlt_pipeline, easy[:FEWER]),
        },
        ROUNDS,
    )
    bench, ours = "schema: exact counts per path", measured["ours"]
    return [
        compared(bench, "genson", 3.0, "events/s", ours, measured["genson"]),
        compared(bench, "dlt in memory", 8.0, "events/s", ours, measured["dlt in memory"]),
        compared(bench, "dlt's pipeline", 50.0, "events/s", ours, measured["dlt's pipeline"]),
        compared(bench, "plain walk", 1.0, "events/s", ours, measured["plain walk"]),
        compared("schema: known shapes", "genson", 5.0, "events/s", measured["ours, known shapes"], measured["genson"]),
        compared(
            "schema: hard corpus", "plain walk", 0.95, "events/s", measured["ours, hard"], measured["plain walk, hard"]
        ),
    ]


def item_of(event: dict[str, Any]) -> Item:
    name = f"{event['type']} {event.get('event', '')}"
    value = event.get("properties", event.get("traits"))
    return name, json.dumps(value).encode(), event["sentAt"], event["messageId"]


def tracked(items: Sequence[Item], trackers: dict[str, ShapeTracker]) -> int:
    for name, raw, at, message_id in items:
        tracker = trackers.get(name)
        if tracker is None:
            tracker = trackers[name] = ShapeTracker("properties")
        tracker.see(raw, at, message_id)
    for tracker in trackers.values():
        tracker.drain()
    return len(items)


def counted(peer: Callable[[Sequence[Item]], object], items: Sequence[Item]) -> int:
    peer(items)
    return len(items)


def fits_usual(item: Item) -> bool:
    """Flat and complete: nothing is missing and nothing is nested, as most events of a well-kept source are."""
    value = json.loads(item[1])
    return not any(isinstance(each, dict | list) for each in value.values())


def hard_values(count: int) -> list[dict[str, Any]]:
    """Every name optional, one value in a hundred under a name that never comes again, ints among floats."""
    chance = random.Random(42)
    found = []
    for number in range(count):
        value: dict[str, Any] = {}
        for place in range(12):
            if chance.random() < 0.5:
                value[f"key_{place}"] = _hard_value(chance, place)
        if chance.random() < 0.01:
            value[f"user_{number}"] = number
        found.append(value)
    return found


def _hard_value(chance: random.Random, place: int) -> Any:
    if place % 3 == 0:
        return chance.randint(0, 1000) if chance.random() < 0.3 else chance.random() * 1000
    if place % 3 == 1:
        return chance.choice(corpus.WORDS)
    return chance.choice([True, None, "2026-11-23T16:00:00.000Z", chance.randint(0, 9)])


def stamp(number: int) -> str:
    return f"2026-11-23T16:{number // 6000 % 60:02d}:{number // 100 % 60:02d}.{number % 1000:03d}Z"
