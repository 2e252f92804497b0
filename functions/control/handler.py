"""The control API: a Chalice app behind an HTTP API, one route for each operation."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from chalice.app import Chalice, Response
from penstock.domain.http_event import rest_event

from functions.control import audit, description, destinations, sources, tokens, workspaces, write_keys
from functions.control.serving import failure

RESOURCES = (
    workspaces.resource,
    sources.resource,
    write_keys.resource,
    destinations.resource,
    tokens.resource,
    audit.resource,
)
REFUSALS = {405: "method_not_allowed", 415: "unsupported_media_type"}

app = Chalice(app_name="control", configure_logs=False, env={})
for each in RESOURCES:
    each.register(app)
description.register(app, RESOURCES)


@cache
def logger() -> Logger:
    return Logger(service="control")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answers one payload-2.0 event of the HTTP API, always as JSON, and logs one line about it."""
    request = rest_event(event)
    answer = _answered(request, context)
    asked = request["requestContext"]
    logger().info(
        "request",
        route=event.get("routeKey"),
        status=answer["statusCode"],
        workspace=asked.get("workspace"),
        trouble=asked.get("trouble"),
    )
    return answer


def _answered(request: dict[str, Any], context: object) -> dict[str, Any]:
    if request["requestContext"]["resourcePath"] not in app.routes:
        return _as_http_api(failure(404, "not_found", "this API has no such path"))
    return _in_our_words(_as_http_api(app(request, context)))


def _as_http_api(answer: Response | dict[str, Any]) -> dict[str, Any]:
    """What payload 2.0 knows of an answer."""
    found = answer.to_dict() if isinstance(answer, Response) else answer
    return {"statusCode": found["statusCode"], "headers": found["headers"], "body": found["body"]}


def _in_our_words(answer: dict[str, Any]) -> dict[str, Any]:
    """The refusals that Chalice itself words, in the shape of all others."""
    found = json.loads(answer["body"]) if answer["statusCode"] >= 400 else {}
    if "Code" not in found:
        return answer
    status = answer["statusCode"]
    message = found["Message"] if status in REFUSALS else "the hub failed; the request may or may not have taken effect"
    worded = _as_http_api(failure(status, REFUSALS.get(status, "internal_error"), message))
    return worded | {"headers": {**answer["headers"], **worded["headers"]}}
