"""Workspaces: the tenants of the hub. Only the operator makes them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.domain.config import Item
from penstock.domain.names import Name
from penstock.domain.tokens import IssuedToken

REGISTER = "operator"  # the partition that lists all workspaces

Days: TypeAlias = Literal[7, 30, 90, 365]
KEPT_DAYS: tuple[int, ...] = get_args(Days)
USUAL_DAYS = 30
RetentionDays = Annotated[Days, Meta(description="For how many days dead and discarded events are kept")]


class Workspace(Item, frozen=True, kw_only=True):
    kind: ClassVar[str] = "workspace"

    name: str
    letters_retention_days: Days = 30
    created_at: str


class Registration(Item, frozen=True, kw_only=True):
    """A workspace in the operator's own partition, so that all can be listed without reading any tenant's data."""

    kind: ClassVar[str] = "registration"

    name: str
    created_at: str


class NewWorkspace(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new workspace needs."""

    name: Name


class WorkspaceChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What a workspace itself can change about it; what is absent stays."""

    letters_retention_days: RetentionDays | UnsetType = UNSET


class OwnWorkspaceView(Struct, frozen=True):
    """The caller's own workspace."""

    id: str
    name: str
    letters_retention_days: Days
    created_at: str


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


def own_view(item: Workspace) -> OwnWorkspaceView:
    return OwnWorkspaceView(item.id, item.name, item.letters_retention_days, item.created_at)
