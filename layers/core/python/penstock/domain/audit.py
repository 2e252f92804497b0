"""The audit log: one entry for each change, written with it. It names things and never holds what was in them."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

KEEP_DAYS = 400
OPERATOR = "operator"


class Entry(Struct, frozen=True, kw_only=True):
    """Who (a token's id, or `operator`) did what (`source.created`) to which thing, when; `fields` were changed."""

    workspace_id: str
    id: str
    at: str
    actor: str
    action: str
    target: str
    fields: tuple[str, ...] = ()
    expires_at: int


class EntryView(Struct, frozen=True):
    """An entry of the audit log."""

    id: str
    at: str
    actor: str
    action: str
    target: str
    fields: tuple[str, ...]


class EntryList(Struct, frozen=True):
    """A page of the audit log, the newest first."""

    audit: list[EntryView]
    next: str | None


def iso(epoch_s: float) -> str:
    """ISO 8601 UTC with milliseconds, which sorts as text."""
    text = datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def entry(workspace_id: str, suffix: str, epoch_s: float, actor: str, action: str, target: str, *fields: str) -> Entry:
    """An entry whose id sorts by time; `suffix` tells two of one millisecond apart."""
    at = iso(epoch_s)
    return Entry(
        workspace_id=workspace_id,
        id=f"{at}#{suffix}",
        at=at,
        actor=actor,
        action=action,
        target=target,
        fields=fields,
        expires_at=int(epoch_s) + KEEP_DAYS * 86_400,
    )


def view(item: Entry) -> EntryView:
    return EntryView(item.id, item.at, item.actor, item.action, item.target, item.fields)
