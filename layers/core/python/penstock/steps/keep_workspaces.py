"""Keep workspaces: make one with its first access token, list what there are, change what one says of itself."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from penstock.domain import tokens, workspaces
from penstock.domain.config import Change, Create
from penstock.domain.tokens import EVERYTHING, Caller, IssuedToken, NewToken
from penstock.domain.workspaces import (
    REGISTER,
    NewWorkspace,
    Registration,
    Workspace,
    WorkspaceChange,
    WorkspaceCreated,
)
from penstock.steps.keep_tokens import issue_token, made
from penstock.steps.record import Ledger, settled

FIRST_TOKEN = NewToken("First token", [EVERYTHING])


def create_workspace(ledger: Ledger, caller: Caller, wanted: NewWorkspace) -> WorkspaceCreated:
    def attempt() -> WorkspaceCreated | None:
        workspace_id, at = ledger.new_id("ws_"), ledger.now()
        item = Workspace(workspace_id=workspace_id, id=workspace_id, name=wanted.name, created_at=at)
        listed = Registration(workspace_id=REGISTER, id=workspace_id, name=wanted.name, created_at=at)
        token, text = made(ledger, workspace_id, FIRST_TOKEN)
        steps = [Create(item), Create(listed), Create(token)]
        if ledger.commit(caller, "workspace.created", item, steps):
            return None
        return WorkspaceCreated(item.id, item.name, at, tokens.issued(token, text))

    return settled(attempt)


def recover_workspace(ledger: Ledger, caller: Caller, workspace_id: str, wanted: NewToken) -> IssuedToken:
    """A token for a workspace that has lost its own."""
    ledger.get(Workspace, workspace_id, workspace_id)
    return issue_token(ledger, caller, workspace_id, wanted)


def read_workspace(ledger: Ledger, workspace_id: str) -> workspaces.WorkspaceView:
    return workspaces.view(ledger.get(Workspace, workspace_id, workspace_id))


def own_workspace(ledger: Ledger, caller: Caller) -> Workspace:
    return ledger.get(Workspace, caller.workspace_id, caller.workspace_id)


def change_own_workspace(ledger: Ledger, caller: Caller, change: WorkspaceChange) -> Workspace:
    given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}

    def attempt() -> Workspace | None:
        before = own_workspace(ledger, caller)
        after = msgspec.structs.replace(before, **given)
        clashes = ledger.commit(caller, "workspace.changed", before, [Change(before, after)], tuple(given))
        return None if clashes else after

    return settled(attempt)
