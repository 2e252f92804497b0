"""What a plan makes of a run: the events that go on, some without what was to be omitted, and those that do not.

An event that the plan has nothing against keeps its bytes; of another one only what lies around an omitted value is
written anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Raw, structs

from penstock.domain.run import EMPTY, Run, merged, whole_event
from penstock.domain.stream_record import StreamRecord, record_of
from penstock.domain.tracking_plan import MOST_FINDINGS, Compiled, Found, Unreadable, findings

Place: TypeAlias = tuple[str | int, ...]
LARGEST_FORWARDED: Final = 512 * 1024  # bytes of events in one record, which takes twice that
LONGEST_INT: Final = 4_300  # digits of an int that Python makes; the validator takes what is longer for null

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_elements = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


class Enforced(NamedTuple):
    """`parts` go to the source's destinations, in order; `forwarded` is a run of another source, or None.

    There are several parts where not all events have the same left out of the context that their run shares. `places`
    are the indices that the events of all parts had in their run.
    """

    parts: tuple[Run, ...]
    forwarded: Run | None
    places: tuple[int, ...]

    @property
    def kept(self) -> Run:
        """All events that go on, of whichever part."""
        return structs.replace(self.parts[0], events=[event for part in self.parts for event in part.events])


class _Kept(NamedTuple):
    """An event that goes on, and the places that are left out of what it shares with its run."""

    event: Raw
    left_out: frozenset[Place]


def enforced(run: Run, compiled: Compiled) -> Enforced:
    """Raises what `msgspec` raises where an event is no JSON object."""
    kept, forwarded, places = [], [], []
    for place, event in enumerate(run.events):
        found = findings(decoded(run, event), compiled)
        actions = {each.finding.action for each in found}
        if "forward" in actions and not run.forwarded:
            forwarded.append(_noted(run, event, found, whole=True).event)
        elif not actions & {"block", "forward"}:
            kept.append(_noted(run, event, found) if found else _Kept(event, frozenset()))
            places.append(place)
    other = None
    if forwarded and compiled.plan.forward_to is not None:
        other = structs.replace(
            run, source=compiled.plan.forward_to, events=forwarded, forwarded=True, via=run.source, origin=""
        )
    return Enforced(_parts(run, kept), other, tuple(places))


def records_of(run: Run) -> list[StreamRecord]:
    """A forwarded run as records that the stream takes, in order: with their notes its events may be too many for one.

    What is added to one event is bounded, so that one always fits.
    """
    parts: list[list[Raw]] = [[]]
    size = 0
    for event in run.events:
        weight = len(memoryview(event))
        if parts[-1] and size + weight > LARGEST_FORWARDED:
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += weight
    return [record_of(structs.replace(run, events=part)) for part in parts]


def decoded(run: Run, event: Raw) -> dict[str, Any]:
    """The whole event, with what it shares with its run, as a validator reads it; an `Unreadable` where it cannot."""
    whole, is_whole = dict[str, Any](), True
    for name, value in whole_event(run, event).items():
        try:
            whole[name] = _value(bytes(value))
        except (ValueError, ArithmeticError, RecursionError):
            is_whole = False
    return whole if is_whole else Unreadable(whole)


def _value(text: bytes) -> Any:
    """JSON with every digit of a number that no double holds: the validator takes infinity for null."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_refused)


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < LONGEST_INT else Decimal(digits)


def _number(text: str) -> float | Decimal:
    found = float(text)
    return found if math.isfinite(found) else Decimal(text)


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _parts(run: Run, kept: Sequence[_Kept]) -> tuple[Run, ...]:
    """The run, cut where what is left out of its context changes: nothing is copied from the run into its events."""
    if not kept:
        return (structs.replace(run, events=[]),)
    contexts: dict[frozenset[Place], Raw] = {}
    parts = []
    for left_out, group in groupby(kept, key=lambda each: each.left_out):
        if left_out not in contexts:
            contexts[left_out] = _context_without(run.context, left_out)
        parts.append(structs.replace(run, context=contexts[left_out], events=[each.event for each in group]))
    return tuple(parts)


def _context_without(context: Raw, left_out: Iterable[Place]) -> Raw:
    fields = {"context": context}
    for place in sorted(left_out, key=_last_first):
        _leave_out(fields, place)
    return fields.get("context", EMPTY)


def _noted(run: Run, event: Raw, found: Sequence[Found], *, whole: bool = False) -> _Kept:
    """The event with its findings in `context.violations`, and unless it stays whole without what is to be omitted."""
    fields = _decode_fields(event)
    places = {each.place for each in found if each.finding.action == "omit" and each.place and not whole}
    shared = _shared_places(run, fields, places)
    for place in sorted(places, key=_last_first):
        _leave_out(fields, place)
    told = list(dict.fromkeys(each.finding for each in found))[:MOST_FINDINGS]
    violations = Raw(_encode({"violations": told}))
    own = bytes(fields.get("context", b"null")).strip()
    if own == b"null":
        fields["context"] = violations
    elif own.startswith(b"{"):  # what a client sent in place of an object stays what it is
        fields["context"] = merged(Raw(own), violations)
    return _Kept(Raw(_encode(fields)), shared)


def _shared_places(run: Run, fields: Mapping[str, Raw], places: Iterable[Place]) -> frozenset[Place]:
    """Those that are in the context of the run: a whole name, lest it come back, or inside of one that is no own."""
    given = [place for place in places if place[0] == "context"]
    if not given:
        return frozenset()
    shared, own = _members(run.context), _members(fields.get("context", EMPTY))
    return frozenset(
        place for place in given if len(place) == 1 or (place[1] in shared and (len(place) == 2 or place[1] not in own))
    )


def _members(raw: Raw) -> dict[str, Raw]:
    return _decode_fields(raw) if bytes(raw).lstrip().startswith(b"{") else {}


def _last_first(place: Place) -> list[tuple[int, str]]:
    """An array's later elements before its earlier ones, whose places they would change."""
    return [(-step, "") if isinstance(step, int) else (0, step) for step in place] + [(1, "")]


def _leave_out(fields: dict[str, Raw], place: Sequence[str | int]) -> None:
    """Take one value out; where it is gone already there is nothing to do."""
    name, *rest = place
    inner = fields.get(str(name))
    if inner is None:
        return
    if not rest:
        del fields[str(name)]
    else:
        fields[str(name)] = _without(inner, rest)


def _without(raw: Raw, place: Sequence[str | int]) -> Raw:
    step, *rest = place
    if isinstance(step, str):
        members = _decode_fields(raw)
        _leave_out(members, place)
        return Raw(_encode(members))
    elements = _decode_elements(raw)
    if step < len(elements):
        elements[step : step + 1] = [_without(elements[step], rest)] if rest else []
    return Raw(_encode(elements))
