"""Workspaces: the operator's part, a token for one that has lost its own, and what a workspace says of itself."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import workspaces
from penstock.domain.tokens import ALL_WORKSPACES, IssuedToken, NewToken
from penstock.domain.workspaces import (
    NewWorkspace,
    OwnWorkspaceView,
    Registration,
    WorkspaceChange,
    WorkspaceCreated,
    WorkspaceList,
    WorkspaceView,
)
from penstock.steps import keep_workspaces

resource = Resource("workspaces")


@resource.operation(
    "POST",
    "/control/workspaces",
    name="createWorkspace",
    summary="Create a workspace; its first access token is shown this once",
    scope=ALL_WORKSPACES,
    body=NewWorkspace,
    answer=WorkspaceCreated,
    status=201,
)
def create(call: Call) -> WorkspaceCreated:
    return keep_workspaces.create_workspace(call.ports.ledger, call.caller, call.body)


@resource.operation(
    "GET",
    "/control/workspaces",
    name="listWorkspaces",
    summary="List workspaces",
    scope=ALL_WORKSPACES,
    answer=WorkspaceList,
    paged=True,
)
def listed(call: Call) -> WorkspaceList:
    window = call.window(Registration.kind)
    found, more = call.ports.ledger.page(Registration, call.caller.workspace_id, window)
    return WorkspaceList([workspaces.view(item) for item in found], more)


@resource.operation(
    "GET",
    "/control/workspaces/{workspace_id}",
    name="getWorkspace",
    summary="Read a workspace",
    scope=ALL_WORKSPACES,
    answer=WorkspaceView,
)
def read(call: Call) -> WorkspaceView:
    return keep_workspaces.read_workspace(call.ports.ledger, call.ids["workspace_id"])


@resource.operation(
    "POST",
    "/control/workspaces/{workspace_id}/tokens",
    name="recoverWorkspace",
    summary="Create an access token for a workspace that has lost its own; it is shown this once",
    scope=ALL_WORKSPACES,
    body=NewToken,
    answer=IssuedToken,
    status=201,
)
def recover(call: Call) -> IssuedToken:
    return keep_workspaces.recover_workspace(call.ports.ledger, call.caller, call.ids["workspace_id"], call.body)


@resource.operation(
    "GET",
    "/control/workspace",
    name="getOwnWorkspace",
    summary="Read the workspace of the token",
    scope="destinations:read",
    answer=OwnWorkspaceView,
)
def read_own(call: Call) -> OwnWorkspaceView:
    return workspaces.own_view(keep_workspaces.own_workspace(call.ports.ledger, call.caller))


@resource.operation(
    "PATCH",
    "/control/workspace",
    name="changeOwnWorkspace",
    summary="Change for how long dead and discarded events are kept, from now on",
    scope="destinations:write",
    body=WorkspaceChange,
    answer=OwnWorkspaceView,
    conflicts=True,
)
def change_own(call: Call) -> OwnWorkspaceView:
    return workspaces.own_view(keep_workspaces.change_own_workspace(call.ports.ledger, call.caller, call.body))
