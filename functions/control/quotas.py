"""Quotas: how much a workspace and its sources may send live, and what they do send."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain.quotas import NewQuota, QuotaView
from penstock.domain.sources import Source
from penstock.domain.tokens import ALL_WORKSPACES
from penstock.steps import keep_quotas

resource = Resource("quotas")


@resource.operation(
    "GET",
    "/control/quotas",
    name="getQuotas",
    summary="Read the workspace's quota, what it uses of it, and which of its sources are in bulk",
    scope="sources:read",
    answer=QuotaView,
    paged=True,
)
def read(call: Call) -> QuotaView:
    workspace_id, ports = call.caller.workspace_id, call.ports
    limits = ports.quotas.read(workspace_id)
    return keep_quotas.view(ports.ledger, workspace_id, limits, ports.quota_usage, call.window(Source.kind))


@resource.operation(
    "PUT",
    "/control/workspaces/{workspace_id}/quota",
    name="setQuota",
    summary="Give a workspace another quota than the stage's; null is the stage's",
    scope=ALL_WORKSPACES,
    body=NewQuota,
    answer=NewQuota,
    conflicts=True,
)
def put(call: Call) -> NewQuota:
    return keep_quotas.set_quota(call.ports.ledger, call.caller, call.ids["workspace_id"], call.body)
