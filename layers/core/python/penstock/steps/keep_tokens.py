"""Keep access tokens: issue, change and delete them, never beyond what the caller's own token can do."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from penstock.domain import tokens
from penstock.domain.config import Change, Create, Remove
from penstock.domain.ids import TOKEN_SECRET_LENGTH
from penstock.domain.tokens import Caller, IssuedToken, NewToken, Token, TokenChange
from penstock.steps.record import Ledger, settled


def create_token(ledger: Ledger, caller: Caller, wanted: NewToken) -> IssuedToken:
    tokens.require_within(caller.scopes, tokens.unique(wanted.scopes))
    return issue_token(ledger, caller, caller.workspace_id, wanted)


def issue_token(ledger: Ledger, caller: Caller, workspace_id: str, wanted: NewToken) -> IssuedToken:
    """A new token of any scopes: for the operator, whose own right is another."""

    def attempt() -> IssuedToken | None:
        item, text = made(ledger, workspace_id, wanted)
        clashes = ledger.commit(caller, "token.created", item, [Create(item)])
        return None if clashes else tokens.issued(item, text)

    return settled(attempt)


def made(ledger: Ledger, workspace_id: str, wanted: NewToken) -> tuple[Token, str]:
    """A token as it is kept and as its holder gets it."""
    token_id, at = ledger.new_id("tok_"), ledger.now()
    text = f"pt.{workspace_id}.{token_id}.{ledger.chance(TOKEN_SECRET_LENGTH)}"
    item = Token(
        workspace_id=workspace_id,
        id=token_id,
        name=wanted.name,
        hash=tokens.hash_of(text),
        scopes=tokens.unique(wanted.scopes),
        created_at=at,
        updated_at=at,
    )
    return item, text


def change_token(ledger: Ledger, caller: Caller, token_id: str, change: TokenChange) -> Token:
    def attempt() -> Token | None:
        before = ledger.get(Token, caller.workspace_id, token_id)
        tokens.require_within(caller.scopes, before.scopes)
        scopes = before.scopes if change.scopes is UNSET else tokens.unique(change.scopes)
        tokens.require_within(caller.scopes, scopes)
        name = before.name if change.name is UNSET else change.name
        after = msgspec.structs.replace(before, name=name, scopes=scopes, updated_at=ledger.now())
        fields = tuple(field for field in ("name", "scopes") if getattr(change, field) is not UNSET)
        clashes = ledger.commit(caller, "token.changed", before, [Change(before, after)], fields)
        return None if clashes else after

    return settled(attempt)


def delete_token(ledger: Ledger, caller: Caller, token_id: str) -> None:
    def attempt() -> bool | None:
        before = ledger.get(Token, caller.workspace_id, token_id)
        tokens.require_within(caller.scopes, before.scopes)
        return None if ledger.commit(caller, "token.deleted", before, [Remove(before)]) else True

    settled(attempt)
