"""Which of a run's events go to which destination, and as which jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from penstock.domain.job import Job
from penstock.domain.run import Run, merged, whole_event
from penstock.domain.subscription import Subscription

MOST_EVENTS = 100
LARGEST_JOB = 256 * 1024


class Route(Struct, frozen=True):
    """What fan-out has to know of a destination; `subscription` is None where it gets all events."""

    id: str
    name: str
    enabled: bool
    source_ids: frozenset[str]
    subscription: Subscription | None
    queue_url: str


class _Choice(Struct):
    integrations: Raw | None = None


_decode_choice = msgspec.json.Decoder(_Choice).decode
_EMPTY = (b"{}", b"null")


class _Candidate:
    """An event and what routing has to know of it, each decoded at most once and only when asked for."""

    def __init__(self, run: Run, raw: Raw) -> None:
        self.raw = raw
        self._run = run
        self._decoded: dict[str, Any] | None = None
        own = _decode_choice(raw).integrations
        shared = bytes(run.integrations)
        self.choice: Mapping[str, Any] = {}
        if shared not in _EMPTY or (own is not None and bytes(own) not in _EMPTY):
            found = loads(bytes(merged(run.integrations, own)))
            self.choice = found if isinstance(found, dict) else {}

    @property
    def decoded(self) -> dict[str, Any]:
        if self._decoded is None:
            fields = whole_event(self._run, self.raw)
            self._decoded = {name: loads(bytes(value)) for name, value in fields.items()}
        return self._decoded


def loads(text: bytes) -> Any:
    """Any JSON, numbers beyond a double's range included: those become infinite, none raises."""
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:
        return json.loads(text)


def wanted(run: Run, routes: Sequence[Route]) -> Iterator[tuple[Route, list[Raw]]]:
    """For each destination of the run's source, the events that it gets, in order; none where it is disabled."""
    concerned = [route for route in routes if run.source in route.source_ids]
    if not concerned:
        return
    candidates = [_Candidate(run, raw) for raw in run.events]
    for route in concerned:
        yield route, [each.raw for each in candidates if _goes(each, route)] if route.enabled else []


def _goes(candidate: _Candidate, route: Route) -> bool:
    if candidate.choice and not _chosen(candidate.choice, route):
        return False
    return route.subscription is None or route.subscription.matches(candidate.decoded)


def _chosen(choice: Mapping[str, Any], route: Route) -> bool:
    """The destination's own entry, by id or else by name, else `All`, else yes. Options (an object) mean yes."""
    for name in (route.id, route.name, "All"):
        value = choice.get(name)
        if value is not None:
            return bool(value) or isinstance(value, dict)
    return True


def jobs(run: Run, events: Sequence[Raw], destination: str, record_id: str) -> list[Job]:
    """The events as jobs of at most 100 events and 256 KB, in order, numbered in their ids."""
    parts: list[list[Raw]] = []
    size = 0
    for event in events:
        weight = len(memoryview(event))
        if not parts or len(parts[-1]) == MOST_EVENTS or size + weight > LARGEST_JOB:
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += weight
    return [
        Job(1, f"{record_id}-{number}", destination, msgspec.structs.replace(run, events=part))
        for number, part in enumerate(parts)
    ]
