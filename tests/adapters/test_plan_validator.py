"""Rules are JSON Schema, by an engine that cannot run away and never asks the network."""

from __future__ import annotations

import time
from typing import Any

import pytest

from penstock.adapters import plan_validator
from penstock.domain.tracking_plan import findings
from penstock.errors import Invalid
from tests.builders_plans import NAME, compiled, plan, properties_of, rule

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
LATEST = "https://json-schema.org/draft/2020-12/schema"


def event(**properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": NAME, "properties": properties}


def keywords(schema: dict[str, Any], **properties: Any) -> list[str]:
    found = findings(event(**properties), compiled(rule(schema), violation="block"))
    return [each.finding.rule.rpartition(":")[2] for each in found]


@pytest.mark.parametrize("dialect", [DRAFT_7, DRAFT_7.rstrip("#"), LATEST])
def test_both_drafts_are_known(dialect: str) -> None:
    schema = {"$schema": dialect} | properties_of(total={"type": "number", "minimum": 0})
    assert keywords(schema, total=1) == []
    assert keywords(schema, total=-1) == ["minimum"]
    assert keywords(schema, total="1") == ["type"]


def test_the_drafts_differ_where_they_differ() -> None:
    pair = {"items": [{"type": "number"}, {"type": "string"}]}
    assert keywords({"$schema": DRAFT_7} | properties_of(pair=pair), pair=[1, 2]) == ["type"]
    pair = {"prefixItems": [{"type": "number"}, {"type": "string"}]}
    assert keywords({"$schema": LATEST} | properties_of(pair=pair), pair=[1, 2]) == ["type"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "(?=a)b"}}},
        {"properties": {"a": {"pattern": r"(a)\1"}}},
        {"patternProperties": {"(?!x)": {}}},
        {"properties": {"a": {"pattern": "(a{1000}){1000}"}}},
        {"properties": {"a": {"pattern": "("}}},
        {"type": "nonsense"},
        {"properties": []},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        {"$schema": "https://example.com/mine"},
        {"$ref": "#/$defs/none"},
    ],
)
def test_what_cannot_be_held_against_events_is_refused_by_name(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refusal:
        plan_validator.compiled(plan(rule(), rule(schema, "Other")))
    assert (refusal.value.code, refusal.value.field) == ("invalid_schema", "rules.1.schema")


def test_a_pattern_that_would_run_away_elsewhere_is_answered_at_once() -> None:
    schema = properties_of(code={"pattern": "^(a+)+$"})
    began = time.process_time()
    assert keywords(schema, code="a" * 20_000 + "b") == ["pattern"]
    assert time.process_time() - began < 20  # backtracking would take longer than the universe is old


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**70, float("inf"), 1e308, "\ud800", "\x00", {"": {"": []}}])
def test_no_value_breaks_the_validator(value: Any) -> None:
    assert set(keywords(properties_of(total={"type": "boolean"}), total=value)) <= {"type", "unreadable"}
    assert keywords(properties_of(total={"type": "boolean"}), total=value)


def test_messages_hold_no_values() -> None:
    schema = properties_of(total={"enum": [1]}, email={"type": "number"}, name={"maxLength": 3})
    found = findings(event(total=987654, email="ada@example.com", name="Lovelace"), compiled(rule(schema)))
    assert len(found) == 3
    told = " ".join(each.finding.message + each.finding.rule + each.finding.path for each in found)
    assert not any(secret in told for secret in ("987654", "ada@", "Lovelace"))


def test_a_plan_that_cannot_be_compiled_any_more_lets_nothing_through() -> None:
    strict = plan_validator.unreadable(plan(violation="block"))
    [found] = findings(event(), strict)
    assert (found.finding.action, found.finding.rule) == ("block", f"track/{NAME}:unreadable")
