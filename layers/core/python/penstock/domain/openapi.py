"""The OpenAPI document of an API, from the same descriptions that its routes are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from penstock.domain import bodies
from penstock.domain.paging import LONGEST_CURSOR, MOST, USUAL

Json = dict[str, Any]
TEMPLATE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)}")

PATTERNS = {
    "workspace_id": "^ws_[a-z0-9]{12}$",
    "source_id": "^src_[a-z0-9]{12}$",
    "key": "^[a-z0-9]{36}$",
    "destination_id": "^dst_[a-z0-9]{12}$",
    "alert_id": "^alr_[a-z0-9]{12}$",
    "message_id": "^[^/]{1,99}$",
    "letter_id": "^[A-Za-z0-9_-]{8,220}$",
    "replay_id": "^rpl_[a-z0-9]{12}$",
    "token_id": "^tok_[a-z0-9]{12}$",
    "version": "^[1-9][0-9]{0,7}$",
    "event": "^[^/]+$",
    "call": "^(identify|page|screen|group|alias)$",
}
REASONS = {
    400: "Something that was sent is missing, malformed or out of its bounds; `field` names it",
    401: "No token, or one that nobody was given",
    403: "The token may not do this",
    404: "This workspace has no such thing",
    409: "The present state does not allow it",
    413: "The body is too large",
    415: "The body is not application/json",
    503: "Something that is depended on did not answer; try again",
}
HEADERS = {401: ("WWW-Authenticate", "Bearer"), 503: ("Retry-After", "1")}


class Problem(Struct, frozen=True):
    """What went wrong: `code` for programs, `message` for people, `field` where one is to blame."""

    code: str
    message: str
    field: str | None = None


class Failure(Struct, frozen=True):
    """Every answer that is no success."""

    error: Problem


class Parameter(Struct, frozen=True):
    """One parameter of a query; `schema` is its JSON Schema."""

    name: str
    description: str
    schema: Json
    required: bool = False

    @property
    def described(self) -> Json:
        return {
            "name": self.name,
            "in": "query",
            "description": self.description,
            "required": self.required,
            "schema": self.schema,
        }


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path.

    `scope` is None for what needs no token; `answer` is None for an empty body; with `or_document` the answer may also
    be a JSON document of its own kind. Without `needs_body` no body is one with nothing in it.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    status: int
    scope: str | None
    body: type[Struct] | None = None
    needs_body: bool = True
    answer: type[Struct] | None = None
    paged: bool = False
    query: tuple[Parameter, ...] = ()
    or_document: bool = False
    longest_body: int = bodies.LONGEST
    conflicts: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(_PARAMETER.findall(self.path))

    @property
    def refusals(self) -> list[int]:
        """The statuses other than success that it can answer."""
        possible = {
            400: self.body is not None or self.paged or bool(self.query),
            401: self.scope is not None,
            403: self.scope is not None,
            404: bool(self.parameters) or any(parameter.required for parameter in self.query),
            409: self.conflicts,
            413: self.body is not None,
            415: self.body is not None,
            503: self.scope is not None,
        }
        return [status for status, can in possible.items() if can]


def document(operations: Sequence[Operation], info: Json, schemes: dict[str, Json], operator_scope: str) -> Json:
    """OpenAPI 3.1. `schemes` are the security schemes, `access` and `operator`."""
    types = _types(operations)
    references, components = msgspec.json.schema_components(types, ref_template=TEMPLATE)
    schema_of = dict(zip(types, references, strict=True))
    _require_one_change(operations, components)
    paths: dict[str, Json] = {}
    for operation in operations:
        described = _operation(operation, schema_of, operations, operator_scope)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": schemes},
    }


def _types(operations: Iterable[Operation]) -> list[type[Struct]]:
    used = [kind for operation in operations for kind in (operation.body, operation.answer) if kind is not None]
    return list(dict.fromkeys([*used, Failure]))


def _require_one_change(operations: Iterable[Operation], components: Json) -> None:
    """A change of nothing is refused, so its schema says so."""
    for operation in operations:
        if (
            operation.body is not None
            and operation.needs_body
            and not components[operation.body.__name__].get("required")
        ):
            components[operation.body.__name__]["minProperties"] = 1


def _operation(
    operation: Operation, schema_of: dict[type[Struct], Json], others: Sequence[Operation], operator_scope: str
) -> Json:
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [
            *(_path_parameter(name) for name in operation.parameters),
            *(_PAGE if operation.paged else []),
            *(parameter.described for parameter in operation.query),
        ],
        "responses": {str(operation.status): _success(operation, schema_of, others)}
        | {str(status): _refusal(status, schema_of[Failure]) for status in operation.refusals},
    }
    if operation.scope is None:
        described["security"] = []
    else:
        scheme = "operator" if operation.scope == operator_scope else "access"
        described["security"] = [{scheme: [operation.scope]}]
    if operation.body is not None:
        described["requestBody"] = {"required": operation.needs_body, "content": _content(schema_of[operation.body])}
    return described


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _success(operation: Operation, schema_of: dict[type[Struct], Json], others: Sequence[Operation]) -> Json:
    described: Json = {"description": operation.summary}
    if operation.answer is not None:
        schema = schema_of[operation.answer]
        described["content"] = _content({"anyOf": [schema, {"type": "object"}]} if operation.or_document else schema)
    elif operation.status != 204:
        described["content"] = _content({"type": "object"})
    links = _links(operation, others)
    return described | ({"links": links} if links else {})


def _refusal(status: int, schema: Json) -> Json:
    described: Json = {"description": REASONS[status], "content": _content(schema)}
    if status in HEADERS:
        name, value = HEADERS[status]
        described["headers"] = {name: {"required": True, "schema": {"type": "string"}, "example": value}}
    return described


def _links(operation: Operation, others: Sequence[Operation]) -> Json:
    """From what makes a thing to what can be done with it."""
    if operation.status != 201 or operation.answer is None:
        return {}
    links = {}
    for other in others:
        added = other.parameters[len(operation.parameters) :]
        if other.path.startswith(operation.path + "/{") and len(added) == 1:
            made = "key" if "key" in operation.answer.__struct_fields__ else "id"
            known = {f"path.{name}": f"$request.path.{name}" for name in operation.parameters}
            links[other.name] = {
                "operationId": other.name,
                "parameters": {**known, f"path.{added[0]}": f"$response.body#/{made}"},
            }
    return links


def _path_parameter(name: str) -> Json:
    schema = {"type": "string", "pattern": PATTERNS[name]}
    return {"name": name, "in": "path", "required": True, "schema": schema}


_PAGE: list[Json] = [
    {
        "name": "limit",
        "in": "query",
        "description": "How many at most",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
    },
    {
        "name": "next",
        "in": "query",
        "description": "The `next` of the page before",
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_CURSOR, "pattern": "^[A-Za-z0-9_-]+$"},
    },
]
