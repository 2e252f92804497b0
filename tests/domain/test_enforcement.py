"""Tracking plans: what they block is never delivered, what they omit leaves the rest as it was."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.domain.enforcement import enforced
from penstock.domain.run import Run
from penstock.domain.tracking_plan import MOST_FINDINGS, Compiled, checked
from penstock.errors import Invalid
from tests.builders_pipeline import run_of
from tests.builders_plans import NAME, compiled, plan, properties_of, rule

OTHER = "src_bbbbbbbbbbbb"
names = st.sampled_from(["total", "extra", "nested", "items"])
values = st.recursive(
    st.sampled_from([None, True, 1, 2.5, "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
properties = st.dictionaries(names, values, max_size=4)
NESTED = properties_of(
    total={"type": "number"},
    nested={"type": "object", "properties": {"total": {"type": "number"}}},
    items={"type": "array", "items": {"type": "object", "properties": {"total": {"type": "number"}}}},
)


def sent(*found: Any, name: str = NAME, **fields: Any) -> Run:
    return run_of(
        *[{"type": "track", "event": name, "messageId": f"m{n}", "properties": each} for n, each in enumerate(found)],
        **fields,
    )


def kept(run: Run, by: Compiled) -> list[dict[str, Any]]:
    return [json.loads(bytes(event)) for event in enforced(run, by).kept.events]


def violations(event: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = event.get("context", {}).get("violations", [])
    return found


def test_what_follows_the_plan_keeps_its_bytes() -> None:
    raw = Raw(b'{ "type":"track" , "event":"Order Completed","messageId":"m","properties":{"total":1.50} }')
    run = run_of(bytes(raw))
    assert [
        bytes(each) for each in enforced(run, compiled(unplanned_property="block", violation="block")).kept.events
    ] == [bytes(raw)]


@pytest.mark.parametrize(
    ("given_properties", "rule_id", "path"),
    [
        ({"total": "x"}, f"track/{NAME}:properties.total:type", "properties.total"),
        ({"total": 1, "extra": 1}, f"track/{NAME}:unplanned_property", "properties.extra"),
        ({"nested": {"a.b": 1}}, f"track/{NAME}:unplanned_property", "properties.nested.a\\.b"),
        ({"items": [{}, {"odd": 1}]}, f"track/{NAME}:unplanned_property", "properties.items[].odd"),
        ({"items": [{}, {"total": None}]}, f"track/{NAME}:properties.items[].total:type", "properties.items[].total"),
    ],
)
def test_a_finding_says_which_rule_where(given_properties: Any, rule_id: str, path: str) -> None:
    [event] = kept(sent(given_properties), compiled(rule(NESTED)))
    [found] = violations(event)
    assert (found["rule"], found["path"], found["action"]) == (rule_id, path, "allow")


def test_an_event_without_a_rule_is_unplanned() -> None:
    [event] = kept(sent({}, name="Surprise"), compiled())
    assert [each["rule"] for each in violations(event)] == ["track:unplanned_event"]
    assert kept(sent({}, name="Surprise"), compiled(unplanned_event="block")) == []
    identify = run_of({"type": "identify", "messageId": "m", "traits": {}})
    assert kept(identify, compiled(unplanned_event="block")) == []


def test_what_is_omitted_is_gone_and_nothing_else() -> None:
    given_properties = {"total": "x", "extra": {"a": 1}, "items": [{"odd": 1}, {"total": "y"}, {"total": 2}, "text"]}
    [event] = kept(sent(given_properties), compiled(rule(NESTED), unplanned_property="omit", violation="omit"))
    assert event["properties"] == {"items": [{}, {}, {"total": 2}]}
    assert {each["action"] for each in violations(event)} == {"omit"}


def test_what_is_missing_cannot_be_omitted_and_is_told() -> None:
    by = compiled(rule(properties_of(("total",), total={"type": "number"})), violation="omit")
    [event] = kept(sent({}), by)
    assert [each["rule"].rpartition(":")[2] for each in violations(event)] == ["required"]


def test_blocked_events_are_forwarded_once() -> None:
    by = compiled(violation="forward", forward_to=OTHER)
    run = sent({"total": 1}, {"total": "x"}, context={"ip": "203.0.113.9"})
    found = enforced(run, by)
    assert [bytes(each) for each in found.kept.events] == [bytes(run.events[0])]
    assert found.forwarded is not None
    assert (found.forwarded.source, found.forwarded.key, found.forwarded.forwarded) == (OTHER, run.key, True)
    [told] = [json.loads(bytes(each)) for each in found.forwarded.events]
    assert told["properties"] == {"total": "x"} and [each["action"] for each in violations(told)] == ["forward"]
    again = enforced(found.forwarded, by)
    assert (again.kept.events, again.forwarded) == ([], None)


@given(st.lists(properties, min_size=1, max_size=4), st.sampled_from(["unplanned_property", "violation"]))
def test_no_event_with_a_finding_gets_past_a_plan_that_blocks(found: list[Any], what: str) -> None:
    run = sent(*found)
    allowing, blocking = compiled(rule(NESTED)), compiled(rule(NESTED), **{what: "block"})
    suffix = ":unplanned_property"
    guilty = {
        event["messageId"]
        for event in kept(run, allowing)
        if any(each["rule"].endswith(suffix) == (what == "unplanned_property") for each in violations(event))
    }
    assert {event["messageId"] for event in kept(run, blocking)} == {f"m{n}" for n in range(len(found))} - guilty


@given(properties)
def test_what_was_omitted_is_no_finding_any_more_and_the_rest_is_as_it_was(found: Any) -> None:
    run = sent(found)
    [event] = kept(run, compiled(rule(NESTED), unplanned_property="omit", violation="omit"))
    [after] = kept(sent(event["properties"]), compiled(rule(NESTED)))
    assert violations(after) == []
    if not violations(event):
        assert event["properties"] == found


@given(properties)
def test_findings_hold_no_values_and_are_bounded(found: Any) -> None:
    secret = {name: f"secret-{name}" for name in ("total", "nested")}
    many = {f"extra_{n}": "secret" for n in range(2 * MOST_FINDINGS)}
    [event] = kept(sent(found | secret | many), compiled(rule(NESTED)))
    assert "secret" not in json.dumps(violations(event))
    assert len(violations(event)) == MOST_FINDINGS


def test_the_clients_own_context_stays() -> None:
    event = {"type": "track", "event": NAME, "messageId": "m", "properties": {"extra": 1}, "context": {"ip": "1.2.3.4"}}
    [after] = kept(run_of(event), compiled())
    assert after["context"]["ip"] == "1.2.3.4" and len(violations(after)) == 1
    [odd] = kept(run_of(event | {"context": "odd"}), compiled())
    assert odd["context"] == "odd"


def test_numbers_that_no_double_holds_are_held_against_the_plan() -> None:
    raw = (
        b'{"type":"track","event":"Order Completed","messageId":"m","properties":{"total":1e999,"extra":'
        + b"9" * 400
        + b"}}"
    )
    [event] = enforced(run_of(raw), compiled(unplanned_property="omit")).kept.events
    assert b'"total":1e999' in bytes(event) and b"9" * 400 not in bytes(event)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (plan(rule(), rule()), "rules.1"),
        (plan(msgspec.structs.replace(rule(), event=None)), "rules.0.event"),
        (plan(msgspec.structs.replace(rule(), type="page")), "rules.0.event"),
        (plan(violation="forward"), "forward_to"),
        (plan(forward_to=OTHER), "forward_to"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(wrong: Any, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        checked(wrong)
    assert refusal.value.field == field
