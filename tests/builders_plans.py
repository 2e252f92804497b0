"""Tracking plans for tests, compiled by the real validator."""

from __future__ import annotations

from typing import Any

from penstock.adapters import plan_validator
from penstock.domain.tracking_plan import Compiled, NewPlan, Rule

Json = dict[str, Any]
NAME = "Order Completed"


def properties_of(required: tuple[str, ...] = (), **properties: Any) -> Json:
    """A rule's schema for events with these properties."""
    section: Json = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "object", "properties": {"properties": section}}


def rule(schema: Json | None = None, name: str = NAME) -> Rule:
    return Rule("track", properties_of(total={"type": "number"}) if schema is None else schema, name)


def plan(*rules: Rule, **actions: Any) -> NewPlan:
    return NewPlan("Shop", list(rules) or [rule()], **actions)


def compiled(*rules: Rule, **actions: Any) -> Compiled:
    return plan_validator.compiled(plan(*rules, **actions))
