"""Access tokens: who may do what in one workspace. Of a token only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.domain.config import Item
from penstock.domain.names import Name
from penstock.errors import Forbidden

Scope: TypeAlias = Literal[
    "*",
    "sources:read",
    "sources:write",
    "destinations:read",
    "destinations:write",
    "tokens:read",
    "tokens:write",
    "audit:read",
]
EVERYTHING: Scope = "*"
ALL_WORKSPACES = "workspaces"  # the operator's one right; no access token has it, `*` does not hold it

Scopes = Annotated[
    list[Scope],
    Meta(min_length=1, max_length=20, description="What the token may do; `*` is everything, also what comes later"),
]


class Token(Item, frozen=True, kw_only=True):
    kind: ClassVar[str] = "token"

    name: str
    hash: str
    scopes: tuple[str, ...]
    created_at: str
    updated_at: str


class Caller(Struct, frozen=True):
    """Who asks: `actor` is an access token's id or `operator`, whose partition is the register of workspaces."""

    workspace_id: str
    actor: str
    scopes: tuple[str, ...]


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new access token needs. It cannot do more than the token that makes it."""

    name: Name
    scopes: Scopes


class TokenChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What of an access token can be changed; what is absent stays."""

    name: Name | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET


class TokenView(Struct, frozen=True):
    """An access token, without the token itself."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: str
    updated_at: str


class IssuedToken(TokenView, frozen=True):
    """A new access token with the token itself, which is shown this once."""

    token: str


class TokenList(Struct, frozen=True):
    """A page of access tokens."""

    tokens: list[TokenView]
    next: str | None


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Equality that takes as long for a near miss as for a far one."""
    return hmac.compare_digest(one.encode(), other.encode())


def allows(scopes: tuple[str, ...], needed: str) -> bool:
    return needed in scopes or (EVERYTHING in scopes and needed != ALL_WORKSPACES)


def require(caller: Caller, needed: str) -> None:
    """Raises `Forbidden` for what lies outside the caller's scopes."""
    if not allows(caller.scopes, needed):
        whose = "the operator's token" if needed == ALL_WORKSPACES else f"a token with the scope {needed}"
        raise Forbidden("outside_scopes", f"this needs {whose}")


def require_within(own: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """A token hands out, changes and deletes nothing that can do more than itself."""
    beyond = sorted(scope for scope in wanted if not allows(own, scope))
    if beyond:
        raise Forbidden("beyond_own_scopes", f"this token does not have {', '.join(beyond)} itself", "scopes")


def unique(scopes: list[Scope]) -> tuple[str, ...]:
    """In the order given, each once."""
    return tuple(dict.fromkeys(scopes))


def view(token: Token) -> TokenView:
    return TokenView(token.id, token.name, token.scopes, token.created_at, token.updated_at)  # type: ignore[arg-type]


def issued(token: Token, secret: str) -> IssuedToken:
    return IssuedToken(
        token.id,
        token.name,
        token.scopes,  # type: ignore[arg-type]
        token.created_at,
        token.updated_at,
        secret,
    )
