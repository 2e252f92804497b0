"""No plan and no event makes the validator work without end, and what was stored wrong lets nothing pass."""

from __future__ import annotations

import time
from typing import Any

import pytest

from penstock.adapters import plan_validator
from penstock.adapters.plan_table import Stored
from penstock.domain import plan_content
from penstock.domain.tracking_plan import findings
from penstock.errors import Invalid
from penstock.wiring.plans import CompiledPlans
from tests.builders_plans import NAME, plan, properties_of, rule

EVENT: dict[str, Any] = {"type": "track", "event": NAME, "properties": {"total": 1}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"properties": {"properties": {"children": {"items": {"$ref": "#/properties/properties"}}}}}},
        {
            "$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)} | {"a30": {}},
            "$ref": "#/$defs/a0",
        },
        properties_of(code={"pattern": "\\p{L}{1000}"}),
        properties_of(**{f"p{n}": {"pattern": f"\\w{{400}}{n}"} for n in range(400)}),
    ],
    ids=["root", "tree", "doubling", "large", "many"],
)
def test_a_plan_that_could_exhaust_its_consumers_is_refused_at_once(schema: dict[str, Any]) -> None:
    began = time.process_time()
    with pytest.raises(Invalid) as refusal:
        plan_validator.compiled(plan(rule(schema)))
    assert (refusal.value.code, refusal.value.field) == ("invalid_schema", "rules.0.schema")
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "pattern",
    [r"^[a-z0-9_]{1,64}$", r"^[^\s@]+@[^\s@]+\.[^\s@]+$", r"^[\p{L} '-]{1,40}$", r"^\d{4}-\d{2}-\d{2}$", r"^.{1,255}$"],
)
def test_a_pattern_that_people_write_is_taken(pattern: str) -> None:
    plan_validator.compiled(plan(rule(properties_of(code={"pattern": pattern}))))


class Table:
    """One stored plan for every source."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, workspace: str, source: str) -> Stored:
        return Stored(1, self._content)


@pytest.mark.parametrize("content", [b"", b"no zlib", plan_content.packed(plan())[:-5]])
def test_a_stored_plan_that_cannot_be_read_lets_nothing_pass(content: bytes) -> None:
    table: Any = Table(content)
    found = CompiledPlans(table).read(("ws", "src"))
    assert found is not None
    assert [each.finding.action for each in findings(EVENT, found)] == ["block"]


def test_only_so_much_is_kept_compiled_and_the_latest_always() -> None:
    content = plan_content.packed(plan())
    table: Any = Table(content)
    plans = CompiledPlans(table, most=2 * plan_content.size_of(content))
    first, _ = plans.read(("ws", "1")), plans.read(("ws", "2"))
    assert plans.read(("ws", "1")) is first
    plans.read(("ws", "3"))
    assert plans.read(("ws", "1")) is first, "the one that was not used for longest goes"
    tiny = CompiledPlans(table, most=1)
    assert tiny.read(("ws", "1")) is tiny.read(("ws", "1"))


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"propertyNames": {"maxLength": 5}}, {"\ud800": 1}),  # half of a surrogate pair, as a name
        ({"type": "object"}, object()),
        ({"additionalProperties": {"type": "number"}}, {1: 1}),
        ({"unevaluatedItems": False}, deep(640)),  # as deep as the tracking API takes it
    ],
    ids=["surrogate", "object", "number", "deep"],
)
@pytest.mark.parametrize("action", ["block", "forward"])
def test_what_makes_the_library_itself_raise_does_not_pass(schema: dict[str, Any], value: Any, action: Any) -> None:
    forward_to = "src_bbbbbbbbbbbb" if action == "forward" else None
    strict = plan_validator.compiled(plan(rule(properties_of(total=schema)), violation=action, forward_to=forward_to))
    event = EVENT | {"properties": {"total": value}}
    [rules] = strict.rules.values()
    assert not rules.check.is_valid(event)
    assert [each.keyword for each in rules.check.failures(event)] == ["unreadable"]
    [found] = findings(event, strict)
    assert (found.finding.rule, found.finding.action) == (f"track/{NAME}:unreadable", action)
