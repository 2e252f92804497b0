"""Pages of a list: how many, and where the next one begins.

A cursor is opaque to its holder. It names the list, the workspace and the last thing shown; the workspace that is read
is always the caller's own, and a cursor of another one is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from penstock.errors import Invalid


class Listed(Protocol):
    """Whatever has an id can stand in a list."""

    @property
    def id(self) -> str: ...


L = TypeVar("L", bound=Listed)

MOST = 100
USUAL = 20
LONGEST_CURSOR = 400

_LIMIT = re.compile(r"[1-9][0-9]{0,2}")
_LAST = re.compile(r"[\w.:#-]{1,200}", re.ASCII)


class Window(Struct, frozen=True):
    """The part of a list that is asked for: at most `limit` things after `after`, an id."""

    limit: int = USUAL
    after: str | None = None


def window(limit: str | None, cursor: str | None, kind: str, workspace_id: str) -> Window:
    """The window that a query's `limit` and `next` ask for. Raises `Invalid` naming the parameter."""
    return Window(_limit(limit), None if cursor is None else _after(cursor, kind, workspace_id))


def cursor_after(last_id: str, kind: str, workspace_id: str) -> str:
    text = f"{kind}|{workspace_id}|{last_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def cut(found: Sequence[L], asked: Window, kind: str, workspace_id: str) -> tuple[Sequence[L], str | None]:
    """One page of what was found, and the cursor of the next where one thing more than asked for was found."""
    shown = found[: asked.limit]
    more = len(found) > asked.limit
    return shown, cursor_after(shown[-1].id, kind, workspace_id) if more else None


def _limit(text: str | None) -> int:
    if text is None:
        return USUAL
    if not _LIMIT.fullmatch(text) or int(text) > MOST:
        raise Invalid("invalid_limit", f"limit is a whole number from 1 to {MOST}", "limit")
    return int(text)


def _after(cursor: str, kind: str, workspace_id: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("|")
    except (ValueError, binascii.Error):
        found = []
    if len(cursor) > LONGEST_CURSOR or found[:2] != [kind, workspace_id] or len(found) != 3:
        raise Invalid("invalid_cursor", "next is no cursor of this list", "next")
    if not _LAST.fullmatch(found[2]):
        raise Invalid("invalid_cursor", "next is no cursor of this list", "next")
    return found[2]
