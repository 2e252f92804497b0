"""Tracking plans: what a source's events are meant to look like, and what becomes of those that do not."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import plan_content
from penstock.domain.sources import Source
from penstock.domain.tracking_plan import NewPlan, PlanVersionList, PlanView
from penstock.domain.violations import ViolationList
from penstock.steps import keep_plans, read_schema

resource = Resource("tracking plans")
PLAN = "/control/sources/{source_id}/tracking-plan"
VERSIONS = PLAN + "/versions"
LONGEST_PLAN = 1024 * 1024


@resource.operation(
    "PUT",
    PLAN,
    name="saveTrackingPlan",
    summary="Save a new version of a source's tracking plan, in force within seconds",
    scope="sources:write",
    body=NewPlan,
    longest_body=LONGEST_PLAN,
    answer=PlanView,
    conflicts=True,
)
def save(call: Call) -> PlanView:
    check = call.ports.compiled_plan
    made = keep_plans.save_plan(call.ports.ledger, call.caller, call.ids["source_id"], call.body, check)
    return plan_content.view(made, made.version or 1)


@resource.operation(
    "GET",
    PLAN,
    name="getTrackingPlan",
    summary="Read a source's tracking plan",
    scope="sources:read",
    answer=PlanView,
)
def read(call: Call) -> PlanView:
    found = keep_plans.present_plan(call.ports.ledger, call.caller, call.ids["source_id"])
    return plan_content.view(found, found.version or 1)


@resource.operation(
    "DELETE",
    PLAN,
    name="deleteTrackingPlan",
    summary="Hold a source's events against no plan any more; its versions stay",
    scope="sources:write",
    status=204,
    conflicts=True,
)
def delete(call: Call) -> None:
    keep_plans.delete_plan(call.ports.ledger, call.caller, call.ids["source_id"])


@resource.operation(
    "GET",
    VERSIONS,
    name="listTrackingPlanVersions",
    summary="List the versions that a source's tracking plan has had",
    scope="sources:read",
    answer=PlanVersionList,
    paged=True,
)
def versions(call: Call) -> PlanVersionList:
    asked = call.window(keep_plans.LIST)
    found, more = keep_plans.plan_versions(call.ports.ledger, call.caller, call.ids["source_id"], asked)
    return PlanVersionList([plan_content.line(each) for each in found], more)


@resource.operation(
    "GET",
    VERSIONS + "/{version}",
    name="getTrackingPlanVersion",
    summary="Read a version of a source's tracking plan",
    scope="sources:read",
    answer=PlanView,
)
def version(call: Call) -> PlanView:
    asked = int(call.ids["version"])
    found = keep_plans.plan_version(call.ports.ledger, call.caller, call.ids["source_id"], asked)
    return plan_content.view(found, asked)


@resource.operation(
    "GET",
    PLAN + "/violations",
    name="listViolations",
    summary="Count what a source's events do against its tracking plan, by rule, with the latest samples' shapes",
    scope="sources:read",
    answer=ViolationList,
)
def violations(call: Call) -> ViolationList:
    source = call.ports.ledger.get(Source, call.caller.workspace_id, call.ids["source_id"])
    return read_schema.violations(source.workspace_id, source.id, call.ports.schema)


@resource.operation(
    "POST",
    PLAN + "/infer",
    name="inferTrackingPlan",
    summary="Draft a tracking plan from what was observed; it is not saved",
    scope="sources:read",
    answer=NewPlan,
)
def infer(call: Call) -> NewPlan:
    source = call.ports.ledger.get(Source, call.caller.workspace_id, call.ids["source_id"])
    return read_schema.inferred_plan(source.workspace_id, source.id, source.name, call.ports.schema)
