"""Tracking plans through the control API, on moto."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from penstock.adapters.plan_table import PlanTable
from penstock.domain import plan_content
from penstock.domain.tracking_plan import NewPlan
from penstock.wiring.plans import CompiledPlans
from tests.control_api import REGION, Answer, Json, Tenant, control_cloud, tenant

RULE: Json = {
    "type": "track",
    "event": "Order Completed",
    "schema": {"properties": {"properties": {"properties": {"total": {"type": "number"}}}}},
}


@dataclass
class Shop:
    tenant: Tenant
    source: str

    def call(self, method: str, path: str = "", body: Any = None, **rest: Any) -> Answer:
        return self.tenant.call(method, f"/control/sources/{self.source}/tracking-plan{path}", body, **rest)

    @property
    def stored(self) -> NewPlan | None:
        table = PlanTable(boto3.client("dynamodb", region_name=REGION), "penstock-test-config")
        found = table.read(self.tenant.id, self.source)
        return None if found is None else plan_content.unpacked(found.content)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with control_cloud():
        owner = tenant()
        yield Shop(owner, owner.source()["id"])


def plan(*rules: Json, **fields: Any) -> Json:
    return {"name": "Shop", "rules": list(rules) or [RULE]} | fields


def test_a_plan_is_saved_read_changed_and_deleted_and_its_versions_stay(shop: Shop) -> None:
    assert shop.call("GET").status == 404
    first = shop.call("PUT", body=plan(violation="block"))
    assert (first.status, first.body["version"], first.body["violation"]) == (200, 1, "block")
    second = shop.call("PUT", body=plan(name="Shop 2"))
    assert second.body["version"] == 2
    assert shop.call("GET").body == second.body
    assert shop.stored is not None and shop.stored.name == "Shop 2"
    assert shop.call("DELETE").status == 204
    assert shop.call("GET").status == 404
    assert shop.call("DELETE").status == 404
    assert shop.stored is None
    assert shop.call("PUT", body=plan()).body["version"] == 4, "the deletion was the third change"
    listed = shop.call("GET", "/versions").body["versions"]
    assert [(each["version"], each["name"], each["rules"]) for each in listed] == [
        (1, "Shop", 1),
        (2, "Shop 2", 1),
        (4, "Shop", 1),
    ]
    assert shop.call("GET", "/versions/1").body == first.body
    assert shop.call("GET", "/versions/3").status == 404


def test_versions_are_paged_and_none_of_another_sources(shop: Shop) -> None:
    for number in range(3):
        shop.call("PUT", body=plan(name=f"P{number}"))
    for name in ("Before", "After"):
        other = Shop(shop.tenant, shop.tenant.source(name)["id"])
        other.call("PUT", body=plan(name="Other"))
    first = shop.call("GET", "/versions", limit=2).body
    rest = shop.call("GET", "/versions", limit=2, next=first["next"]).body
    assert [each["name"] for each in first["versions"] + rest["versions"]] == ["P0", "P1", "P2"]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        (plan(RULE | {"schema": {"properties": {"a": {"pattern": "(?=a)b"}}}}), "invalid_schema", "rules.0.schema"),
        (plan(RULE, RULE), "duplicate_rule", "rules.1"),
        (plan(RULE | {"event": None}), "invalid_rule", "rules.0.event"),
        (plan(violation="forward"), "invalid_forward_to", "forward_to"),
        (plan(violation="forward", forward_to="src_aaaaaaaaaaaa"), "invalid_forward_to", "forward_to"),
        (plan(violation="nonsense"), "invalid_field", "violation"),
        (plan(surprise=1), "unknown_field", "surprise"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused_by_field(shop: Shop, wrong: Json, code: str, field: str) -> None:
    answer = shop.call("PUT", body=wrong)
    assert (answer.status, answer.error["code"], answer.error["field"]) == (400, code, field)
    assert shop.stored is None


def test_events_are_forwarded_to_another_source_only(shop: Shop) -> None:
    answer = shop.call("PUT", body=plan(violation="forward", forward_to=shop.source))
    assert (answer.status, answer.error["field"]) == (400, "forward_to")
    other = shop.tenant.source("Quarantine")["id"]
    assert shop.call("PUT", body=plan(violation="forward", forward_to=other)).body["forward_to"] == other


def test_a_plan_may_be_large_and_not_too_large(shop: Shop) -> None:
    schema = {"properties": {"properties": {"properties": {f"property_{n}": {"type": "number"} for n in range(500)}}}}
    rules = [RULE | {"event": f"Event {n}", "schema": schema} for n in range(50)]
    assert shop.call("PUT", body=plan(*rules)).status == 200
    too_large = plan(*rules, name="x")
    too_large["rules"] = rules * 3
    assert shop.call("PUT", body=too_large).status == 413


def test_a_deleted_source_leaves_no_plan(shop: Shop) -> None:
    shop.call("PUT", body=plan())
    assert shop.tenant.call("DELETE", f"/control/sources/{shop.source}").status == 204
    assert shop.stored is None


def test_changes_are_in_the_audit_log_and_need_the_right_to_write(shop: Shop) -> None:
    shop.call("PUT", body=plan())
    shop.call("DELETE")
    actions = [each["action"] for each in shop.tenant.call("GET", "/control/audit").body["audit"]]
    assert {"tracking_plan.saved", "tracking_plan.deleted"} <= set(actions)
    reader = shop.tenant.made("/control/tokens", {"name": "Reader", "scopes": ["sources:read"]})["token"]
    limited = Shop(Tenant(shop.tenant.id, reader), shop.source)
    assert limited.call("PUT", body=plan()).status == 403
    assert limited.call("GET").status == 404


def test_a_stranger_has_no_way_to_a_plan(shop: Shop) -> None:
    shop.call("PUT", body=plan())
    stranger = Shop(tenant("Strangers"), shop.source)
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", plan()),
        ("DELETE", "", None),
        ("GET", "/versions", None),
    ):
        assert stranger.call(method, path, body).status == 404


def test_consumers_compile_a_version_once(shop: Shop) -> None:
    table = PlanTable(boto3.client("dynamodb", region_name=REGION), "penstock-test-config")
    plans = CompiledPlans(table)
    assert plans.read((shop.tenant.id, shop.source)) is None
    shop.call("PUT", body=plan(violation="block"))
    first = plans.read((shop.tenant.id, shop.source))
    assert first is not None and first is plans.read((shop.tenant.id, shop.source))
    shop.call("PUT", body=plan())
    assert plans.read((shop.tenant.id, shop.source)) is not first


def test_nothing_observed_makes_an_empty_draft(shop: Shop) -> None:
    answer = shop.call("POST", "/infer")
    assert (answer.status, answer.body["rules"]) == (200, [])
