"""Authenticate a request: whose token is this, and what may it do?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from penstock.domain import ids, tokens
from penstock.domain.tokens import ALL_WORKSPACES, Caller, Token
from penstock.domain.workspaces import REGISTER
from penstock.errors import Unauthenticated

KEEP_S = 60.0
PAUSE_S = 5.0
LONGEST_HEADER = 500
UNKNOWN = ("invalid_token", "nobody was given this token")
OPERATOR = Caller(REGISTER, "operator", (ALL_WORKSPACES,))


class TokenStore(Protocol):
    """Where access tokens are kept. Raises `StoreUnavailable`."""

    def find(self, kind: type[Token], workspace_id: str, item_id: str) -> Token | None: ...


class OperatorToken:
    """The operator's token, read again after a minute, and on a mismatch at most every five seconds."""

    def __init__(self, read: Callable[[], str], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._known = ""
        self._read_at: float | None = None

    def matches(self, token: str) -> bool:
        if self._age() > KEEP_S:
            self._refresh()
        if not tokens.same(token, self._known) and self._age() > PAUSE_S:
            self._refresh()
        return bool(self._known) and tokens.same(token, self._known)

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._clock() - self._read_at

    def _refresh(self) -> None:
        self._known, self._read_at = self._read(), self._clock()


def authenticate(header: str | None, store: TokenStore, operator: OperatorToken) -> Caller:
    """The caller behind an `Authorization` header. Raises `Unauthenticated`."""
    token = _bearer(header)
    parts = ids.parts_of_token(token)
    if parts is not None:
        return _holder(token, *parts, store)
    if operator.matches(token):
        return OPERATOR
    raise Unauthenticated(*UNKNOWN)


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("missing_token", "send the header Authorization: Bearer <token>")
    if len(token) > LONGEST_HEADER or not token.isascii():
        raise Unauthenticated(*UNKNOWN)
    return token


def _holder(token: str, workspace_id: str, token_id: str, store: TokenStore) -> Caller:
    found = store.find(Token, workspace_id, token_id)
    if found is None or not tokens.same(tokens.hash_of(token), found.hash):
        raise Unauthenticated(*UNKNOWN)
    return Caller(workspace_id, token_id, found.scopes)
