"""The OpenAPI document of this API, made of its operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import msgspec
from chalice.app import Chalice, Response

from functions.control.serving import JSON, Resource
from penstock.domain.openapi import Operation, document
from penstock.domain.tokens import ALL_WORKSPACES

INFO = {
    "title": "Penstock control API",
    "version": "1",
    "description": (
        "Workspaces, sources, destinations and access tokens of a Penstock hub. Every answer but a success is "
        '`{"error": {"code", "message", "field"}}`. The tracking API, which takes the events, speaks the '
        "Segment protocol and is described in `docs/tracking-api.md`."
    ),
}
SCHEMES = {
    "access": {"type": "http", "scheme": "bearer", "description": "An access token of one workspace: pt.…"},
    "operator": {"type": "http", "scheme": "bearer", "description": "The operator's token, from Secrets Manager"},
}
ITSELF = Operation(
    method="GET",
    path="/openapi.json",
    name="getDescription",
    tag="description",
    summary="Read this document",
    status=200,
    scope=None,
)


def register(app: Chalice, resources: Sequence[Resource]) -> None:
    """The route of the document; it is made at the first request for it."""

    @cache
    def text() -> str:
        operations = [operation for resource in resources for operation, _ in resource.served]
        made = document([*operations, ITSELF], INFO, SCHEMES, ALL_WORKSPACES)
        return msgspec.json.encode(made).decode()

    @app.route(ITSELF.path, methods=[ITSELF.method], name=ITSELF.name, content_types=[])
    def view() -> Response:
        return Response(body=text(), status_code=200, headers=JSON)
