"""What a workspace has configured, as items of one table, and the changes that are made to them together.

A change states what it takes for granted (new, present, unchanged since it was read), so that of two people who
change one thing at once the second is told, and nothing that was deleted comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias, TypeVar

from msgspec import Struct


class Item(Struct, frozen=True, kw_only=True):
    """One thing of one workspace; `kind` is how its sort key begins.

    `version` counts its changes; None where another item's version guards it.
    """

    kind: ClassVar[str]

    workspace_id: str
    id: str
    version: int | None = 1


I = TypeVar("I", bound=Item)  # noqa: E741


class Create(Struct, frozen=True):
    """Put an item that must not exist yet."""

    item: Item


class Change(Struct, frozen=True):
    """Replace `before`, which must not have changed since it was read, by `after`."""

    before: Item
    after: Item


class Remove(Struct, frozen=True):
    """Delete an item, which must not have changed since it was read."""

    item: Item


class Require(Struct, frozen=True):
    """Do nothing to an item, but let the other changes happen only if it exists."""

    kind: type[Item]
    workspace_id: str
    id: str


Step: TypeAlias = Create | Change | Remove | Require
Steps: TypeAlias = Sequence[Step]


def sort_key(kind: type[Item], item_id: str) -> str:
    """`source#src_…`; the workspace itself is the one item of its kind."""
    return f"{kind.kind}#{item_id}" if kind.kind != "workspace" else kind.kind
