"""Keep tracking plans: one for a source, and every version that it ever had."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from penstock.domain import plan_content, tracking_plan
from penstock.domain.config import Change, Create, Remove, Require, Step
from penstock.domain.paging import Window, cut
from penstock.domain.sources import Source
from penstock.domain.tokens import Caller
from penstock.domain.tracking_plan import NewPlan, Plan, PlanVersion
from penstock.errors import Invalid, NotFound
from penstock.steps.record import Ledger, settled

LIST = "plan_version"


def save_plan(
    ledger: Ledger, caller: Caller, source_id: str, wanted: NewPlan, check: Callable[[NewPlan], object]
) -> Plan:
    """The plan, from now on. Raises `Invalid` for one that contradicts itself or that `check` cannot compile."""
    content = plan_content.packed(tracking_plan.checked(wanted))
    check(wanted)

    def attempt() -> Plan | None:
        ledger.get(Source, caller.workspace_id, source_id)
        forward_to = _another_source(ledger, caller, source_id, wanted.forward_to)
        before = ledger.store.find(Plan, caller.workspace_id, source_id)
        at = ledger.now()
        after = Plan(workspace_id=caller.workspace_id, id=source_id, content=content, created_at=at)
        if before is not None:
            after = structs.replace(after, version=_next(before))
        steps: list[Step] = [
            *(Require(Source, caller.workspace_id, each) for each in (source_id, *forward_to)),
            Create(after) if before is None else Change(before, after),
            Create(_version(after)),
        ]
        return None if ledger.commit(caller, "tracking_plan.saved", after, steps) else after

    return settled(attempt)


def delete_plan(ledger: Ledger, caller: Caller, source_id: str) -> None:
    """From now on the source has none; its versions stay."""

    def attempt() -> bool | None:
        before = present_plan(ledger, caller, source_id)
        gone = structs.replace(before, active=False)
        return None if ledger.commit(caller, "tracking_plan.deleted", before, [Change(before, gone)]) else True

    settled(attempt)


def present_plan(ledger: Ledger, caller: Caller, source_id: str) -> Plan:
    ledger.get(Source, caller.workspace_id, source_id)
    found = ledger.store.find(Plan, caller.workspace_id, source_id)
    if found is None or not found.active:
        raise NotFound("tracking_plan_not_found", "this source has no tracking plan")
    return found


def plan_version(ledger: Ledger, caller: Caller, source_id: str, version: int) -> PlanVersion:
    ledger.get(Source, caller.workspace_id, source_id)
    found = ledger.store.find(PlanVersion, caller.workspace_id, plan_content.version_id(source_id, version))
    if found is None:
        raise NotFound("version_not_found", "this source's tracking plan has no such version")
    return found


def plan_versions(
    ledger: Ledger, caller: Caller, source_id: str, asked: Window
) -> tuple[Sequence[PlanVersion], str | None]:
    """By version."""
    ledger.get(Source, caller.workspace_id, source_id)
    return cut(_versions(ledger, caller.workspace_id, source_id, asked), asked, LIST, caller.workspace_id)


def forget_plan(ledger: Ledger, workspace_id: str, source_id: str) -> None:
    """All that is left of the plan of a source that is gone. Raises `StoreUnavailable` with some of it still there."""
    plan = ledger.store.find(Plan, workspace_id, source_id)
    if plan is not None:
        ledger.store.commit([Remove(plan)], None)
    while found := _versions(ledger, workspace_id, source_id, Window()):
        for version in found:
            ledger.store.commit([Remove(version)], None)


def _versions(ledger: Ledger, workspace_id: str, source_id: str, asked: Window) -> list[PlanVersion]:
    from_there = Window(asked.limit, asked.after or f"{source_id}.")
    found = ledger.store.page(PlanVersion, workspace_id, from_there)
    return [each for each in found if each.id.startswith(f"{source_id}.")]


def _another_source(ledger: Ledger, caller: Caller, source_id: str, forward_to: str | None) -> tuple[str, ...]:
    if forward_to is None:
        return ()
    if forward_to == source_id or ledger.store.find(Source, caller.workspace_id, forward_to) is None:
        raise Invalid("invalid_forward_to", "forward_to is another source of this workspace", "forward_to")
    return (forward_to,)


def _next(before: Plan) -> int:
    return (before.version or 0) + 1


def _version(plan: Plan) -> PlanVersion:
    return PlanVersion(
        workspace_id=plan.workspace_id,
        id=plan_content.version_id(plan.id, plan.version or 1),
        content=plan.content,
        created_at=plan.created_at,
    )
