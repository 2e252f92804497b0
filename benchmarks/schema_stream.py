"""The corpus as the stream carries it: runs of one user's events, in records, in batches as the poller gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from msgspec import Raw

from benchmarks import corpus
from penstock.domain.run import Run, encode_run
from penstock.steps.track_schema import Record

WORKSPACE = "ws_" + "a" * 12
EVENTS_IN_A_REQUEST = 20
RECORDS_AT_ONCE = 1_000


class NoPlans:
    """No source has a tracking plan."""

    def get(self, _: tuple[str, str]) -> None:
        return None


def records(events: int, source: str = "src_" + "b" * 12, hour: int = 0, first: int = 1) -> Iterator[Record]:
    """The runs of each request, from an hour of the day on; `first` is the first record's sequence number."""
    requests = _chunks(corpus.events(events), EVENTS_IN_A_REQUEST)
    number = first
    for place, request in enumerate(requests):
        at = f"2026-11-23T{hour + place // 3600:02d}:{place // 60 % 60:02d}:{place % 60:02d}.000Z"
        runs: dict[str, list[Raw]] = {}
        for event in request:
            runs.setdefault(event["anonymousId"], []).append(Raw(json.dumps(event).encode()))
        for key, theirs in runs.items():
            yield Record(str(number), "2026-11-23", encode_run(Run(1, WORKSPACE, source, key, at, theirs)))
            number += 1


def batches(found: Iterable[Record]) -> Iterator[list[Record]]:
    return _chunks(found, RECORDS_AT_ONCE)


def _chunks(things: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(things)
    while chunk := list(islice(left, size)):
        yield chunk
