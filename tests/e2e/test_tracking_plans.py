"""Tracking plans on a real hub: what a plan forwards reaches the other source's destination, and no other."""

from __future__ import annotations

from tests.e2e.running_hub import RunningHub, numbers, track, wait_for_effect
from tests.e2e.waiting import wait_for

NUMBER = {"type": "number"}
PLAN = {
    "name": "Shop",
    "rules": [
        {
            "type": "track",
            "event": "Counted",
            "schema": {"properties": {"properties": {"properties": {"n": NUMBER, "total": NUMBER}}}},
        }
    ],
    "unplanned_property": "omit",
    "violation": "forward",
}


def test_events_are_held_against_the_plan_before_they_are_delivered(running: RunningHub) -> None:
    shop, quarantine = running.new_pipe(), running.new_pipe()
    route = f"/control/sources/{shop.source_id}/tracking-plan"
    running.control.put(route, PLAN | {"forward_to": quarantine.source_id})
    wait_for_effect()
    shop.post(
        track("ada", 1, properties={"n": 1, "total": 1}),
        track("ada", 2, properties={"n": 2, "total": "two"}),
        track("ada", 3, properties={"n": 3, "more": True}),
    )
    assert numbers(shop.wait_for_events(2)) == [1, 3]
    assert numbers(quarantine.wait_for_events(1)) == [2]
    _, third = shop.delivered()
    assert third["properties"] == {"n": 3}
    assert [each["action"] for each in third["context"]["violations"]] == ["omit"]
    rules = {f"track/Counted:{rule}" for rule in ("properties.total:type", "unplanned_property")}
    wait_for("both in the counts", lambda: rules == found_by_rule(running, route))


def found_by_rule(running: RunningHub, route: str) -> set[str]:
    return {each["rule"] for each in running.control.get(f"{route}/violations")["violations"]}
