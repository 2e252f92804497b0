"""What a plan makes of a run: the events that go on, some without what was to be omitted, and those that do not.

An event that the plan has nothing against keeps its bytes; of another one only what lies around an omitted value is
written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, structs

from penstock.domain.routing import loads
from penstock.domain.run import Run, merged, whole_event
from penstock.domain.tracking_plan import MOST_FINDINGS, Compiled, Finding, Found, findings

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_elements = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


class Enforced(NamedTuple):
    """`kept` goes to the source's destinations; `forwarded` is a run of another source, or None."""

    kept: Run
    forwarded: Run | None


def enforced(run: Run, compiled: Compiled) -> Enforced:
    """Raises what `msgspec` raises where an event is no JSON object."""
    kept, forwarded = [], []
    for event in run.events:
        found = findings(decoded(run, event), compiled)
        actions = {each.finding.action for each in found}
        if "forward" in actions and not run.forwarded:
            forwarded.append(_noted(event, found, whole=True))
        elif not actions & {"block", "forward"}:
            kept.append(_noted(event, found) if found else event)
    other = None
    if forwarded and compiled.plan.forward_to is not None:
        other = structs.replace(run, source=compiled.plan.forward_to, events=forwarded, forwarded=True)
    return Enforced(structs.replace(run, events=kept), other)


def decoded(run: Run, event: Raw) -> dict[str, Any]:
    """The whole event, with what it shares with its run, as a validator reads it."""
    return {name: loads(bytes(value)) for name, value in whole_event(run, event).items()}


def _noted(event: Raw, found: Sequence[Found], *, whole: bool = False) -> Raw:
    """The event with its findings in `context.violations`, and unless it stays whole without what is to be omitted."""
    fields = _decode_fields(event)
    for each in sorted(found, key=_last_first):
        if each.finding.action == "omit" and each.place and not whole:
            _leave_out(fields, each.place)
    told: list[Finding] = [each.finding for each in found[:MOST_FINDINGS]]
    violations = Raw(_encode({"violations": told}))
    own = bytes(fields.get("context", b"null")).strip()
    if own == b"null":
        fields["context"] = violations
    elif own.startswith(b"{"):  # what a client sent in place of an object stays what it is
        fields["context"] = merged(Raw(own), violations)
    return Raw(_encode(fields))


def _last_first(found: Found) -> list[tuple[int, str]]:
    """An array's later elements before its earlier ones, whose places they would change."""
    return [(-step, "") if isinstance(step, int) else (0, step) for step in found.place] + [(1, "")]


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
