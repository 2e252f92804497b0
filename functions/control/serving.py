"""How an operation of the control API is served: who asks, may they, what do they send, what do they get."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
from chalice.app import Chalice, Request, Response
from msgspec import Raw, Struct

from penstock.domain import bodies, paging, tokens
from penstock.domain.openapi import HEADERS, PATTERNS, Failure, Operation, Problem
from penstock.domain.paging import Window
from penstock.domain.tokens import Caller
from penstock.errors import NotFound, Refused, Unavailable
from penstock.steps.authenticate import authenticate
from penstock.wiring import control
from penstock.wiring.control import Ports

Headers: TypeAlias = dict[str, str | list[str]]
JSON: Headers = {"Content-Type": "application/json"}
NOBODY = Caller("", "", ())
SHAPES = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


@dataclass(frozen=True)
class Call:
    """One request that may be served: whose, with which ids in its path, and its decoded body."""

    caller: Caller
    ports: Ports
    ids: Mapping[str, str]
    query: Mapping[str, str]
    body: Any

    def window(self, kind: str) -> Window:
        """The page that is asked for, of a list of this kind."""
        return paging.window(self.query.get("limit"), self.query.get("next"), kind, self.caller.workspace_id)


Act: TypeAlias = Callable[[Call], Struct | Raw | None]
A = TypeVar("A", bound=Act)


@dataclass
class Resource:
    """The operations on one kind of thing: routes of the app and parts of the OpenAPI document at once."""

    tag: str
    served: list[tuple[Operation, Act]] = field(default_factory=list)

    def operation(self, method: str, path: str, *, status: int = 200, **described: Any) -> Callable[[A], A]:
        def registered(act: A) -> A:
            made = Operation(method=method, path=path, tag=self.tag, status=status, **described)
            self.served.append((made, act))
            return act

        return registered

    def register(self, app: Chalice) -> None:
        for operation, act in self.served:
            media = ["application/json"] if operation.body else []
            register = app.route(operation.path, methods=[operation.method], name=operation.name, content_types=media)
            register(_view(app, operation, act))


def _view(app: Chalice, operation: Operation, act: Act) -> Callable[..., Response]:
    def view(**ids: str) -> Response:
        request = cast(Request, app.current_request)
        try:
            result = act(_received(operation, request, ids))
        except Refused as error:
            return failure(error.status, error.code, error.message, error.field)
        except Unavailable as error:
            request.context["trouble"] = str(error)
            return failure(503, "unavailable", "something that this needs did not answer: try again")
        body = "" if result is None else msgspec.json.encode(result).decode()
        return Response(body=body, status_code=operation.status, headers=JSON if body else {})

    return view


def _received(operation: Operation, request: Request, ids: Mapping[str, str]) -> Call:
    ports = control.ports()
    caller = NOBODY
    if operation.scope is not None:
        caller = authenticate(request.headers.get("authorization"), ports.ledger.store, ports.operator)
        request.context["workspace"] = caller.workspace_id
        tokens.require(caller, operation.scope)
    for name, value in ids.items():
        _require_well_formed(name, value)
    return Call(caller, ports, ids, request.query_params or {}, _decoded(operation, _body(request)))


def _decoded(operation: Operation, body: bytes) -> Struct | None:
    if operation.body is None:
        return None
    if not body and not operation.needs_body:
        return operation.body()
    return bodies.decode(body, operation.body, operation.longest_body)


def _body(request: Request) -> bytes:
    try:
        found = request.raw_body
        return found.encode() if isinstance(found, str) else found
    except ValueError:  # base64 that is none, or text that no UTF-8 can be
        return b""


def _require_well_formed(name: str, value: str) -> None:
    """An id that none could be is not looked up."""
    if not SHAPES[name].fullmatch(value):
        raise NotFound(f"{name.removesuffix('_id')}_not_found", "no such thing can be")


def failure(status: int, code: str, message: str, at: str | None = None) -> Response:
    body = msgspec.json.encode(Failure(Problem(code, message, at))).decode()
    extra: Headers = dict([HEADERS[status]]) if status in HEADERS else {}
    return Response(body=body, status_code=status, headers={**JSON, **extra})
