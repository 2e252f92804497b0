"""Events, records and shapes for tests of the schema; every argument has a plain default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from penstock.domain.run import Run, encode_run
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_facts import First, Sighting
from penstock.domain.schema_tree import Node, Tally
from penstock.steps.track_schema import Record
from tests.builders_pipeline import SOURCE, WORKSPACE

KEY = EventKey(WORKSPACE, SOURCE, "track", "Order Completed")
SHARD = "shardId-000000000000"
DAY = "2026-11-23"


def at(second: int) -> str:
    return f"2026-11-23T16:{second // 60 % 60:02d}:{second % 60:02d}.000Z"


def seen(*kinds: str, second: int = 0, message_id: str = "m", count: int = 1) -> Node:
    """A place where these kinds were seen, one second after the other."""
    return Node({kind: Tally(count, at(second + n), message_id, at(second + n)) for n, kind in enumerate(kinds)})


def shape(second: int = 0, **properties: Node) -> Node:
    """An event with these properties."""
    root = seen("object", second=second)
    root.names["properties"] = seen("object", second=second)
    root.names["properties"].names = dict(properties)
    return root


def sighting(*kinds: str, second: int = 0, message_id: str = "m", guards: Iterable[str] = ()) -> Sighting:
    return Sighting({kind: First(at(second), message_id) for kind in kinds}, frozenset(guards))


def event(
    number: int = 0, *, call: str = "track", name: str | None = "Order Completed", **given: Any
) -> dict[str, Any]:
    plain: dict[str, Any] = {"type": call, "messageId": f"m{number}", "anonymousId": "ann"}
    return plain | ({"event": name} if call == "track" else {}) | given


def record(
    number: int,
    *events: Mapping[str, Any],
    day: str = DAY,
    source: str = SOURCE,
    second: int | None = None,
    context: Mapping[str, Any] | None = None,
) -> Record:
    """One run as the stream carries it; `number` is its sequence number."""
    raw = [Raw(msgspec.json.encode(each)) for each in events]
    shared = Raw(msgspec.json.encode(context or {}))
    run = Run(1, WORKSPACE, source, "ann", at(number if second is None else second), raw, shared)
    return Record(str(number), day, encode_run(run))


def records(events: Sequence[Mapping[str, Any]], first: int = 1) -> list[Record]:
    return [record(number, each) for number, each in enumerate(events, first)]
