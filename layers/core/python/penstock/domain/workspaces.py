"""Workspaces: the tenants of the hub. Only the operator makes them."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from penstock.domain.config import Item
from penstock.domain.names import Name
from penstock.domain.tokens import IssuedToken

REGISTER = "operator"  # the partition that lists all workspaces


class Workspace(Item, frozen=True, kw_only=True):
    kind: ClassVar[str] = "workspace"

    name: str
    created_at: str


class Registration(Item, frozen=True, kw_only=True):
    """A workspace in the operator's own partition, so that all can be listed without reading any tenant's data."""

    kind: ClassVar[str] = "registration"

    name: str
    created_at: str


class NewWorkspace(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new workspace needs."""

    name: Name


class WorkspaceView(Struct, frozen=True):
    """A workspace."""

    id: str
    name: str
    created_at: str


class WorkspaceCreated(Struct, frozen=True):
    """A new workspace and its first access token, which is shown this once."""

    id: str
    name: str
    created_at: str
    token: IssuedToken


class WorkspaceList(Struct, frozen=True):
    """A page of workspaces."""

    workspaces: list[WorkspaceView]
    next: str | None


def view(item: Workspace | Registration) -> WorkspaceView:
    return WorkspaceView(item.id, item.name, item.created_at)
