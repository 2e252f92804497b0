"""Access tokens."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import tokens
from penstock.domain.tokens import IssuedToken, NewToken, Token, TokenChange, TokenList, TokenView
from penstock.steps import keep_tokens

resource = Resource("tokens")
ONE = "/control/tokens/{token_id}"


@resource.operation(
    "POST",
    "/control/tokens",
    name="createToken",
    summary="Create an access token that can do no more than the caller's; it is shown this once",
    scope="tokens:write",
    body=NewToken,
    answer=IssuedToken,
    status=201,
)
def create(call: Call) -> IssuedToken:
    return keep_tokens.create_token(call.ports.ledger, call.caller, call.body)


@resource.operation(
    "GET",
    "/control/tokens",
    name="listTokens",
    summary="List access tokens",
    scope="tokens:read",
    answer=TokenList,
    paged=True,
)
def listed(call: Call) -> TokenList:
    found, more = call.ports.ledger.page(Token, call.caller.workspace_id, call.window(Token.kind))
    return TokenList([tokens.view(item) for item in found], more)


@resource.operation("GET", ONE, name="getToken", summary="Read an access token", scope="tokens:read", answer=TokenView)
def read(call: Call) -> TokenView:
    return tokens.view(call.ports.ledger.get(Token, call.caller.workspace_id, call.ids["token_id"]))


@resource.operation(
    "PATCH",
    ONE,
    name="changeToken",
    summary="Rename an access token or change its scopes",
    scope="tokens:write",
    body=TokenChange,
    answer=TokenView,
    conflicts=True,
)
def change(call: Call) -> TokenView:
    return tokens.view(keep_tokens.change_token(call.ports.ledger, call.caller, call.ids["token_id"], call.body))


@resource.operation(
    "DELETE",
    ONE,
    name="deleteToken",
    summary="Delete an access token; it is refused from the next request on",
    scope="tokens:write",
    status=204,
    conflicts=True,
)
def delete(call: Call) -> None:
    keep_tokens.delete_token(call.ports.ledger, call.caller, call.ids["token_id"])
