"""Which of a run's events go to which destination, and as which jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec
from msgspec import Raw, Struct

from penstock.domain.job import Job, encode_job
from penstock.domain.run import EMPTY, Run, merged
from penstock.domain.subscription import Subscription

MOST_EVENTS = 100
LARGEST_JOB = 256 * 1024


class Route(Struct, frozen=True):
    """What fan-out has to know of a destination; `subscription` is None where it gets all events.

    `import_queue_url` is None until its first import.
    """

    id: str
    name: str
    enabled: bool
    source_ids: frozenset[str]
    subscription: Subscription | None
    queue_url: str
    schema_changes: bool = False
    import_queue_url: str | None = None


class _Choice(Struct):
    integrations: Raw = EMPTY  # not `Raw | None`: msgspec takes that for null alone


_decode_choice = msgspec.json.Decoder(_Choice).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_EMPTY = (b"{}", b"null")


class _Candidate:
    """An event and what routing has to know of it, each part decoded at most once and only when asked for."""

    def __init__(self, run: Run, raw: Raw) -> None:
        self.raw = raw
        self._run = run
        self._fields: dict[str, Raw] | None = None
        self._decoded: dict[str, Any] = {}
        own = _decode_choice(raw).integrations
        self.choice: Mapping[str, Any] = {}
        if bytes(run.integrations) not in _EMPTY or bytes(own) not in _EMPTY:
            found = loads(bytes(merged(run.integrations, own)))
            self.choice = found if isinstance(found, dict) else {}

    def decoded(self, names: Set[str]) -> dict[str, Any]:
        """The event, decoded in these fields at least."""
        for name in names - self._decoded.keys():
            self._decoded[name] = self._value(name)
        return self._decoded

    def _value(self, name: str) -> Any:
        if self._fields is None:
            self._fields = _decode_fields(self.raw)
        value = self._fields.get(name)
        if name == "context":
            value = merged(self._run.context, value)
        return None if value is None else loads(bytes(value))


def loads(text: bytes) -> Any:
    """Any JSON as what comes nearest to it: a number beyond a double's range is infinite, what is no JSON is null."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # the standard library takes more: 1e999, half a surrogate pair
    try:
        return json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError):
        return None


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def wanted(run: Run, routes: Sequence[Route]) -> list[tuple[Route, list[int]]]:
    """For each destination of the run's source, the indices of the events that it gets; none where it is disabled.

    Raises what `msgspec` raises where an event is no JSON object.
    """
    concerned = [route for route in routes if run.source in route.source_ids]
    if not concerned:
        return []
    candidates = [_Candidate(run, raw) for raw in run.events]
    return [(route, [place for place, each in enumerate(candidates) if _goes(each, route)]) for route in concerned]


def _goes(candidate: _Candidate, route: Route) -> bool:
    if not route.enabled or (candidate.choice and not _chosen(candidate.choice, route)):
        return False
    wish = route.subscription
    return wish is None or wish.matches(candidate.decoded(wish.fields))


def _chosen(choice: Mapping[str, Any], route: Route) -> bool:
    """The destination's own entry, by id or else by name, else `All`, else yes. Options (an object) mean yes.

    Names are compared as they are written: `webhook a` is not `Webhook A`.
    """
    for name in (route.id, route.name, "All"):
        value = choice.get(name)
        if value is not None:
            return bool(value) or isinstance(value, dict)
    return True


def jobs(run: Run, events: Sequence[Raw], destination: str, record_id: str, first: int = 0) -> list[Job]:
    """The events as jobs of at most 100 events and 256 KB, in order, numbered in their ids from `first` on.

    An event that is too large for that beside what it shares with its run is a job of its own.
    """
    if not events:
        return []
    room = LARGEST_JOB - _size_of_the_rest(run, destination, record_id)
    parts: list[list[Raw]] = [[]]
    size = 0
    for event in events:
        weight = len(memoryview(event)) + 1
        if parts[-1] and (len(parts[-1]) == MOST_EVENTS or size + weight > room):
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += weight
    return [
        Job(1, f"{record_id}-{number}", destination, msgspec.structs.replace(run, events=part))
        for number, part in enumerate(parts, first)
    ]


def _size_of_the_rest(run: Run, destination: str, record_id: str) -> int:
    """Bytes of a job without its events."""
    empty = Job(1, f"{record_id}-0000", destination, msgspec.structs.replace(run, events=[]))
    return len(encode_job(empty).encode())
