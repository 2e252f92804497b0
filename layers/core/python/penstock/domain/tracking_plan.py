"""Tracking plans: the schema that a source is meant to follow, and what becomes of events that do not follow it.

A rule is a JSON Schema of a whole event. What an event does against its plan is a list of findings, each with what the
plan says is to be done about it; nothing in a finding is a value of the event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Protocol, TypeAlias

from msgspec import Meta, Struct

from penstock.domain.config import Item
from penstock.domain.names import END, Name
from penstock.domain.plan_shape import Shape
from penstock.domain.schema_paths import ELEMENTS, VALUES, below, named
from penstock.errors import Invalid

Json: TypeAlias = dict[str, Any]
Call: TypeAlias = Literal["track", "identify", "page", "screen", "group", "alias"]
Action: TypeAlias = Literal["allow", "omit", "block", "forward"]

MOST_RULES: Final = 1_000
LARGEST: Final = 350_000  # bytes, compressed: a plan is one item
MOST_FINDINGS: Final = 50  # of one event that are told
MOST_WORK: Final = 50_000  # errors that an event could have, past which nobody asks for them
LONGEST_TEXT: Final = 256  # of what is told
OPEN_SECTIONS: Final = ("properties", "traits")
SECTIONS: Final = (*OPEN_SECTIONS, "context")  # where something can be left out
UNREADABLE: Final = "unreadable"
STRICTNESS: Final = ("allow", "omit", "forward", "block")


class Rule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the events of one call, or of one event of track calls, look like."""

    type: Call
    schema: Annotated[Json, Meta(description="JSON Schema (2020-12 or draft-07) of the whole event")]
    event: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None


class NewPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """A tracking plan as it is given."""

    name: Name
    rules: Annotated[list[Rule], Meta(max_length=MOST_RULES)]
    unplanned_event: Literal["allow", "block", "forward"] = "allow"
    unplanned_property: Action = "allow"
    violation: Action = "allow"
    forward_to: Annotated[str, Meta(pattern="^src_[a-z0-9]{12}" + END)] | None = None


class Plan(Item, frozen=True, kw_only=True):
    """The plan that a source has; `id` is the source's, `content` the plan as it was given, packed."""

    kind: ClassVar[str] = "plan"

    content: bytes
    active: bool = True
    created_at: str


class PlanVersion(Item, frozen=True, kw_only=True):
    """A version of a source's plan, for good; `id` is `<source>.<version>`."""

    kind: ClassVar[str] = "plan_version"

    version: int | None = None
    content: bytes
    created_at: str


class PlanView(Struct, frozen=True):
    """A version of a tracking plan."""

    version: int
    name: str
    rules: list[Rule]
    unplanned_event: str
    unplanned_property: str
    violation: str
    forward_to: str | None
    created_at: str


class PlanVersionView(Struct, frozen=True):
    """That there is a version of a tracking plan."""

    version: int
    name: str
    rules: int
    created_at: str


class PlanVersionList(Struct, frozen=True):
    """A page of a tracking plan's versions."""

    versions: list[PlanVersionView]
    next: str | None


class Failure(NamedTuple):
    """One error of a validator: where in the event, where in the schema, and by which keyword; no value in it.

    `names` are the properties that are too many; `missing` is the one that is not there.
    """

    place: tuple[str | int, ...]
    schema_place: tuple[str | int, ...]
    keyword: str
    message: str
    names: tuple[str, ...] = ()
    missing: str | None = None


class Check(Protocol):
    """One rule's schema as a validator has compiled it. Whatever it cannot read is no valid event."""

    def is_valid(self, event: Json) -> bool: ...

    def failures(self, event: Json) -> Sequence[Failure]:
        """All errors of a decoded event; the keyword is `unreadable` where it could not be read."""


class Unreadable(dict[str, Any]):
    """A decoded event without those of its fields that nobody can read."""


class Checked(NamedTuple):
    shape: Shape
    check: Check


class Compiled(Struct, frozen=True):
    """A plan that events can be held against; `rules` by call and event."""

    plan: NewPlan
    rules: Mapping[tuple[str, str | None], Checked]

    @property
    def strictest(self) -> Action:
        given: tuple[Action, ...] = (self.plan.unplanned_event, self.plan.unplanned_property, self.plan.violation)
        return max(given, key=STRICTNESS.index)


class Finding(Struct, frozen=True):
    """Something in an event that its plan does not foresee. `rule` is one of few, whatever the events hold."""

    rule: str
    path: str
    message: str
    action: Action


class Found(NamedTuple):
    """A finding, and the place of what would have to be left out."""

    finding: Finding
    place: tuple[str | int, ...]


def checked(plan: NewPlan) -> NewPlan:
    """Raises `Invalid` for a plan that contradicts itself."""
    seen: set[tuple[str, str | None]] = set()
    for number, rule in enumerate(plan.rules):
        if (rule.type == "track") != (rule.event is not None):
            message = "a rule names an event if, and only if, its type is track"
            raise Invalid("invalid_rule", message, f"rules.{number}.event")
        if (rule.type, rule.event) in seen:
            raise Invalid("duplicate_rule", "there is a rule for this already", f"rules.{number}")
        seen.add((rule.type, rule.event))
    forwards = "forward" in (plan.unplanned_event, plan.unplanned_property, plan.violation)
    if forwards != (plan.forward_to is not None):
        raise Invalid("invalid_forward_to", "forward_to is given if, and only if, something is forwarded", "forward_to")
    return plan


def findings(event: Json, compiled: Compiled) -> list[Found]:
    """What a decoded event does against its plan, unplanned properties first."""
    call, name = event.get("type"), event.get("event")
    key = (str(call), name if call == "track" and isinstance(name, str) else None)
    rule = compiled.rules.get(key)
    of = key[0] if key[1] is None else f"{key[0]}/{key[1]}"
    if isinstance(event, Unreadable):
        return _unreadable(event, compiled, key[0] if rule is None else of, "the event cannot be read")
    if rule is None:
        message = "the plan has no rule for this event"
        return [Found(Finding(f"{key[0]}:unplanned_event", "", message, compiled.plan.unplanned_event), ())]
    examined = rule.shape.examined(event)
    failures: Sequence[Failure] = ()
    if not rule.check.is_valid(event):
        if examined.weight > MOST_WORK:
            return _unreadable(event, compiled, of, "the event is too large to be held against its rule")
        failures = rule.check.failures(event)
        if not failures or any(failure.keyword == UNREADABLE for failure in failures):
            return _unreadable(event, compiled, of, "the event cannot be held against its rule")
    too_many = [(*each.place, name) for each in failures if _is_unplanned(each) for name in each.names]
    unplanned = dict.fromkeys([*examined.unplanned, *too_many])
    return [_unplanned_property(of, place, compiled) for place in unplanned] + [
        _violation(of, failure, compiled) for failure in failures if not _is_unplanned(failure)
    ]


def _unreadable(event: Json, compiled: Compiled, of: str, message: str) -> list[Found]:
    """Any part of an event that nobody could hold against its rule may be against it."""
    rule, action = _bounded(f"{of}:{UNREADABLE}"), compiled.strictest
    there = [section for section in OPEN_SECTIONS if section in event or isinstance(event, Unreadable)]
    if not there:
        return [Found(Finding(rule, "", message, action), ())]
    return [Found(Finding(rule, section, message, action), (section,)) for section in there]


def _unplanned_property(of: str, place: tuple[str | int, ...], compiled: Compiled) -> Found:
    rule, action = _bounded(f"{of}:unplanned_property"), compiled.plan.unplanned_property
    return Found(Finding(rule, _bounded(_path(place)), "the plan has no such property", action), place)


def _violation(of: str, failure: Failure, compiled: Compiled) -> Found:
    """What is missing cannot be left out, and what lies outside of the sections is not left out."""
    path = _schema_path(failure.schema_place, failure.keyword)
    if failure.missing is not None:
        path = below(path, named(failure.missing)) if path else named(failure.missing)
    rule = _bounded(f"{of}:{path}:{failure.keyword}")
    finding = Finding(rule, _bounded(path), failure.message, compiled.plan.violation)
    can_go = failure.missing is None and failure.place[:1] in [(section,) for section in SECTIONS]
    return Found(finding, failure.place if can_go else ())


def _is_unplanned(failure: Failure) -> bool:
    """Properties that are too many are findings of their own kind, one for each of them."""
    return bool(failure.names) and failure.place[:1] in [(section,) for section in SECTIONS]


def _bounded(text: str) -> str:
    """Different long texts stay different."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[: LONGEST_TEXT - 20]}…{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def _path(place: Sequence[str | int]) -> str:
    found = ""
    for step in place:
        part = ELEMENTS if isinstance(step, int) else named(step)
        found = below(found, part) if found else part
    return found


def _schema_path(place: Sequence[str | int], keyword: str) -> str:
    """The path that a place in a schema describes: one for each rule, whatever names and indices events have."""
    found, steps = "", iter(place[:-1] if place and place[-1] == keyword else place)
    for step in steps:
        part = None
        if step == "properties":
            part = named(str(next(steps, "")))
        elif step in ("items", "prefixItems", "additionalItems", "unevaluatedItems"):
            part = ELEMENTS
        elif step in ("additionalProperties", "patternProperties", "unevaluatedProperties"):
            part = VALUES
        if step in ("patternProperties", "dependentSchemas", "dependencies"):
            next(steps, None)
        if part is not None:
            found = below(found, part) if found else part
    return found
