"""A plan never fails open: what it is to stop is stopped whatever the schema looks like, and notes stay small."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.enforcement import enforced, records_of
from penstock.domain.routing import wanted
from penstock.domain.run import Run, decode_run, encode_run, whole_event
from penstock.domain.tracking_plan import LONGEST_TEXT, MOST_FINDINGS, MOST_WORK, Check, Compiled, Failure, Json
from tests.builders_pipeline import route, run_of
from tests.builders_plans import NAME, compiled, properties_of, rule

LARGEST_RECORD = 1024 * 1024
A: Json = {"properties": {"a": {}}, "additionalProperties": False}
BLOCKING = {"unplanned_event": "block", "unplanned_property": "block", "violation": "block"}


def sent(properties: Any, **fields: Any) -> Json:
    return {"type": "track", "event": NAME, "messageId": "m", "properties": properties} | fields


def after(run: Run, by: Compiled) -> list[Json]:
    """What a destination is to receive: each event whole."""
    parts = enforced(run, by).parts
    whole = [whole_event(part, event) for part in parts for event in part.events]
    return [{name: json.loads(bytes(value)) for name, value in fields.items()} for fields in whole]


def section(schema: Json, **root: Any) -> Json:
    return {"properties": {"properties": schema}} | root


@pytest.mark.parametrize(
    "schema",
    [
        section({"additionalProperties": False}),
        section({"patternProperties": {"^x_": {}}, "additionalProperties": False}),
        section({"properties": {"a": {}}, "patternProperties": {"^x_": {}}}),
        section({"$ref": "#/$defs/A"}, **{"$defs": {"A": A}}),
        section({"$ref": "#/$defs/A"}, **{"$defs": {"A": {"properties": {"a": {}}}}}),
        section({"allOf": [A]}),
        section({"anyOf": [A, {"type": "null"}]}),
        section({"allOf": [A, {"properties": {"z": {}}}]}),
        section({"properties": {"a": {}}, "unevaluatedProperties": False}),
        section({"properties": {"z": False}}),
        section({"propertyNames": {"maxLength": 0}}),
        {"$ref": "#/$defs/E", "$defs": {"E": section({"properties": {"a": {}}})}},
        {"$schema": "http://json-schema.org/draft-07/schema#"} | section(A),
    ],
)
def test_what_a_rule_excludes_in_whichever_words_is_blocked(schema: Json) -> None:
    assert after(run_of(sent({"z": 1})), compiled(rule(schema), **BLOCKING)) == []


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    by = compiled(
        rule(section({"properties": {"additionalProperties": False, "items": {"type": "number"}}})), **BLOCKING
    )
    assert after(run_of(sent({"additionalProperties": 1}), sent({"items": "x"})), by) == []


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (b"1e999", {"maximum": 5}),
        (b"1e999", {"type": ["string", "null"]}),
        (b"-1e999", {"minimum": 0}),
        (b"9" * 5_000, {"maximum": 5}),
        (b"9" * 400, {"multipleOf": 10}),
        (b"[" * 640 + b"]" * 640, {"type": "string"}),
        (b"1e9999999999999999999", {"type": "string"}),
        (b"1e9999999999999999999", {}),
    ],
)
def test_no_number_and_no_depth_slips_through(value: bytes, schema: Json) -> None:
    raw = json.dumps(sent({"total": "@"})).encode().replace(b'"@"', value)
    assert after(run_of(raw), compiled(rule(properties_of(total=schema)), **BLOCKING)) == []


def test_a_number_that_no_double_holds_is_a_number() -> None:
    raw = json.dumps(sent({"total": "@"})).encode().replace(b'"@"', b"1e999")
    [kept] = enforced(run_of(raw), compiled(rule(properties_of(total={"type": "number"})), **BLOCKING)).kept.events
    assert bytes(kept) == raw


class Broken:
    """A validator that says no and cannot say why, or that cannot read the event."""

    def __init__(self, *failures: Failure) -> None:
        self._failures = failures

    def is_valid(self, _: Json) -> bool:
        return False

    def failures(self, _: Json) -> tuple[Failure, ...]:
        return self._failures


@pytest.mark.parametrize("check", [Broken(), Broken(Failure((), (), "unreadable", ""))])
@pytest.mark.parametrize(("action", "left"), [("block", []), ("omit", [{}]), ("allow", [{"total": 1}])])
def test_what_the_validator_cannot_read_has_the_strictest_fate(check: Check, action: Any, left: list[Json]) -> None:
    by = compiled(violation=action)
    [key] = by.rules
    by = Compiled(by.plan, {key: by.rules[key]._replace(check=check)})
    found = after(run_of(sent({"total": 1})), by)
    assert [each.get("properties", {}) for each in found] == left
    assert {each["context"]["violations"][0]["rule"] for each in found} <= {f"track/{NAME}:unreadable"}


def test_an_event_with_endless_errors_is_not_gone_through() -> None:
    schema = properties_of(many={"items": {"allOf": [{"type": "number"}] * 50}})
    wrong, right = (sent({"many": [value] * 5_000}) for value in ("x", 1))
    assert MOST_WORK < 50 * 5_000
    [kept] = after(run_of(wrong, right), compiled(rule(schema), violation="block"))
    assert kept["properties"] == right["properties"]
    [bare] = after(run_of(wrong), compiled(rule(schema), violation="omit"))
    assert "properties" not in bare
    assert [each["rule"] for each in bare["context"]["violations"]] == [f"track/{NAME}:unreadable"]


def test_everything_wrong_is_omitted_however_much_it_is() -> None:
    schema = properties_of(many={"items": {"type": "number", "maximum": 5}}, other={"enum": [1], "type": "number"})
    by = compiled(rule(schema), violation="omit")
    [found] = after(run_of(sent({"many": ["x", 1] * 500 + [9, "y", 2], "other": "x"})), by)
    assert found["properties"] == {"many": [1] * 500 + [2]}
    assert len(found["context"]["violations"]) == 4, "two errors of one value are two notes and one omission"


def test_neighbours_of_a_value_that_is_wrong_twice_stay() -> None:
    schema = properties_of(many={"items": {"type": "number", "enum": [1, 2, 3]}})
    [found] = after(run_of(sent({"many": [1, "x", 2, 3]})), compiled(rule(schema), violation="omit"))
    assert found["properties"] == {"many": [1, 2, 3]}


def test_the_object_in_which_something_is_missing_stays() -> None:
    schema = properties_of(("total", "currency"), total={"type": "number"})
    [found] = after(run_of(sent({"total": 1})), compiled(rule(schema), violation="omit"))
    assert found["properties"] == {"total": 1}
    [noted] = found["context"]["violations"]
    assert (noted["rule"], noted["path"]) == (f"track/{NAME}:properties.currency:required", "properties.currency")


def test_nothing_outside_of_the_sections_is_omitted() -> None:
    schema = {"properties": {"messageId": {"type": "number"}, "type": False}, "additionalProperties": False}
    [found] = after(run_of(sent({"total": 1})), compiled(rule(schema), violation="omit", unplanned_property="omit"))
    assert (found["type"], found["messageId"], found["properties"]) == ("track", "m", {"total": 1})
    assert len(found["context"]["violations"]) == 3


def context_of(**names: Any) -> Json:
    return {"properties": {"context": {"properties": names, "additionalProperties": False}}}


def test_what_is_omitted_of_the_shared_context_does_not_come_back() -> None:
    schema = context_of(ip={"type": "number"}, device={"properties": {"id": {"type": "number"}}}, app={})
    by = compiled(rule(schema), violation="omit", unplanned_property="omit")
    shared = {"ip": "203.0.113.9", "device": {"id": "x", "model": "m"}, "app": 1, "extra": 1}
    plain = sent({})
    own_ip = sent({}, context={"ip": "198.51.100.1"})
    own_device = sent({}, context={"device": {"id": "y"}, "ip": 5})
    found = after(run_of(plain, own_ip, own_device, context=shared), by)
    contexts = [{name: value for name, value in each["context"].items() if name != "violations"} for each in found]
    assert contexts == [
        {"device": {"model": "m"}, "app": 1},
        {"device": {"model": "m"}, "app": 1},
        {"device": {}, "app": 1, "ip": 5},
    ]


def test_a_run_is_cut_only_where_its_context_changes_and_keeps_its_order() -> None:
    other = {"type": "track", "event": "Free", "messageId": "f"}
    by = compiled(rule(context_of(app={})), rule({}, "Free"), unplanned_property="omit")
    events = [other, sent({}), sent({}), other, sent({})]
    found = enforced(run_of(*events, context={"app": 1, "ip": "203.0.113.9"}), by)
    assert [len(part.events) for part in found.parts] == [1, 2, 1, 1]
    assert [b"203" in bytes(part.context) for part in found.parts] == [True, False, True, False]
    assert [json.loads(bytes(each))["event"] for each in found.kept.events] == ["Free", NAME, NAME, "Free", NAME]


def test_notes_hold_nothing_of_the_plan_or_the_event_and_stay_small() -> None:
    long = "K" * 200_000
    schema = properties_of(
        const={"const": long},
        enum={"enum": [long]},
        excluded={"not": {"enum": ["v", long]}},
        names={"propertyNames": {"maxLength": 1}},
    )
    schema["properties"]["properties"]["properties"]["N" * 10_000] = {"properties": {"q": {}}, "type": "object"}
    odd = {"N" * 10_000: {f"{n}" + "u" * 10_000: 1 for n in range(60)}}
    event = sent({"const": "v", "enum": "v", "excluded": "v", "names": {"secret": 1}} | odd)
    [found] = after(run_of(event), compiled(rule(schema)))
    violations = found["context"]["violations"]
    assert len(violations) == MOST_FINDINGS == len({each["path"] for each in violations})
    assert all(len(value) <= LONGEST_TEXT for each in violations for value in each.values())


def test_a_map_s_keys_are_not_told_where_a_rule_foresees_them() -> None:
    schema = properties_of(emails={"additionalProperties": {"type": "number"}})
    [found] = after(run_of(sent({"emails": {"ada@example.com": "x"}})), compiled(rule(schema)))
    assert [each["path"] for each in found["context"]["violations"]] == ["properties.emails.*"]


def test_a_forwarded_run_fits_into_records_with_all_its_notes() -> None:
    by = compiled(violation="forward", forward_to="src_bbbbbbbbbbbb")
    run = run_of(*[sent({"total": "x", "pad": "p" * 200}, messageId=f"m{n}") for n in range(2_500)])
    found = enforced(run, by).forwarded
    assert found is not None
    records = records_of(found)
    assert max(len(record.data) for record in records) < LARGEST_RECORD < len(encode_run(found))
    assert [raw for record in records for raw in map(bytes, decode_run(record.data).events)] == list(
        map(bytes, found.events)
    )


names = st.sampled_from(["a", "b", "z"])
values = st.recursive(
    st.sampled_from([None, 1, "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
schemas = st.recursive(
    st.sampled_from([{}, {"type": "number"}, {"enum": [1, "x"]}, A, False, {"$ref": "#/$defs/A"}]),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(names, inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "additionalProperties": inner | st.booleans(),
            "unevaluatedProperties": st.just(False),
            "items": inner,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "required": st.lists(names, max_size=1),
        },
    ),
    max_leaves=5,
)


@given(schemas.filter(lambda each: each is not False), values)
def test_what_reaches_a_destination_of_a_blocking_plan_has_no_error_at_all(schema: Json, properties: Any) -> None:
    by = compiled(rule(section(schema, **{"$defs": {"A": A}})), **BLOCKING)
    run = run_of(sent(properties))
    [checked] = by.rules.values()
    is_valid = checked.check.is_valid({**sent(properties), "context": {}, "integrations": {}, "receivedAt": ""})
    parts = enforced(run, by).parts
    delivered = [part.events[n] for part in parts for _, places in wanted(part, [route()]) for n in places]
    assert is_valid or delivered == []
    assert [bytes(raw) for raw in delivered] in ([], [bytes(raw) for raw in run.events])


@given(schemas.filter(lambda each: each is not False), values)
def test_an_allowing_plan_changes_nothing_but_its_notes(schema: Json, properties: Any) -> None:
    [found] = after(run_of(sent(properties)), compiled(rule(section(schema, **{"$defs": {"A": A}}))))
    assert found["properties"] == properties
    assert "x" not in [value for each in found["context"].get("violations", []) for value in each.values()]
