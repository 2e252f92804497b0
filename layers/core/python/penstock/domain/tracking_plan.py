"""Tracking plans: the schema that a source is meant to follow, and what becomes of events that do not follow it.

A rule is a JSON Schema of a whole event. What an event does against its plan is a list of findings, each with what the
plan says is to be done about it; nothing in a finding is a value of the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from penstock.domain.config import Item
from penstock.domain.schema_paths import ELEMENTS, VALUES, below, named
from penstock.errors import Invalid

Json: TypeAlias = dict[str, Any]
Call: TypeAlias = Literal["track", "identify", "page", "screen", "group", "alias"]
Action: TypeAlias = Literal["allow", "omit", "block", "forward"]

MOST_RULES: Final = 1_000
LARGEST: Final = 350_000  # bytes, compressed: a plan is one item
MOST_FINDINGS: Final = 50  # of one event that are told
SECTIONS: Final = ("properties", "traits")
UNREADABLE: Final = "unreadable"
STRICTNESS: Final = ("allow", "omit", "forward", "block")

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S", description="What people call it")]


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
    forward_to: Annotated[str, Meta(pattern="^src_[a-z0-9]{12}$")] | None = None


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
    """One error of a validator: where in the event, where in the schema, and by which keyword; no value in it."""

    place: tuple[str | int, ...]
    schema_place: tuple[str | int, ...]
    keyword: str
    message: str


Check: TypeAlias = Callable[[Json], Sequence[Failure]]
"""All errors of a decoded event against one rule."""


class Checked(NamedTuple):
    schema: Json
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
    if rule is None:
        message = "the plan has no rule for this event"
        return [Found(Finding(f"{key[0]}:unplanned_event", "", message, compiled.plan.unplanned_event), ())]
    found = [
        Found(Finding(f"{of}:unplanned_property", _path(place), "the plan has no such property", action), place)
        for action in [compiled.plan.unplanned_property]
        for place in _unplanned(event, rule.schema)
    ]
    return found + [_violation(of, failure, compiled) for failure in rule.check(event) if not _is_unplanned(failure)]


def _violation(of: str, failure: Failure, compiled: Compiled) -> Found:
    if failure.keyword == UNREADABLE:
        return Found(Finding(f"{of}:{UNREADABLE}", "", failure.message, compiled.strictest), ())
    rule = f"{of}:{_schema_path(failure.schema_place)}:{failure.keyword}"
    finding = Finding(rule, _path(failure.place), failure.message, compiled.plan.violation)
    return Found(finding, failure.place)


def _is_unplanned(failure: Failure) -> bool:
    """An error that is an unplanned property, which is a finding of its own kind."""
    return failure.keyword == "additionalProperties" and failure.place[:1] in [(section,) for section in SECTIONS]


def _unplanned(event: Json, schema: Json) -> Iterator[tuple[str | int, ...]]:
    properties = schema.get("properties")
    for section in SECTIONS:
        inner = properties.get(section) if isinstance(properties, dict) else None
        if isinstance(event.get(section), dict) and isinstance(inner, dict):
            yield from _unplanned_in(event[section], inner, (section,))


def _unplanned_in(value: Any, schema: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Names that a schema which lists properties does not list, at any depth that it describes."""
    if not isinstance(schema, dict):
        return
    if isinstance(value, list):
        for number, element in enumerate(value):
            yield from _unplanned_in(element, schema.get("items"), (*place, number))
    listed = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(listed, dict):
        return
    is_open = "patternProperties" in schema or isinstance(schema.get("additionalProperties"), dict)
    for name, member in value.items():
        if name in listed:
            yield from _unplanned_in(member, listed[name], (*place, name))
        elif not is_open:
            yield (*place, name)


def _path(place: Sequence[str | int]) -> str:
    found = ""
    for step in place:
        part = ELEMENTS if isinstance(step, int) else named(step)
        found = below(found, part) if found else part
    return found


def _schema_path(place: Sequence[str | int]) -> str:
    """The path that a place in a schema describes: one for each rule, whatever names and indices events have."""
    found, steps = "", iter(place)
    for step in steps:
        part = None
        if step == "properties":
            part = named(str(next(steps, "")))
        elif step in ("items", "prefixItems", "contains"):
            part = ELEMENTS
        elif step in ("additionalProperties", "patternProperties"):
            part = VALUES
        if part is not None:
            found = below(found, part) if found else part
    return found
