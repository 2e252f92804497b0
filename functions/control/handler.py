"""The control API: a Chalice app behind an HTTP API, one route for each operation."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from chalice.app import Chalice, Response

from functions.control import (
    alerts,
    audit,
    description,
    destinations,
    gates,
    health,
    letters,
    quotas,
    schema,
    sources,
    tokens,
    trace,
    tracking_plans,
    workspaces,
    write_keys,
)
from functions.control.serving import failure
from penstock.domain.http_event import rest_event

RESOURCES = (
    workspaces.resource,
    sources.resource,
    write_keys.resource,
    schema.resource,
    tracking_plans.resource,
    destinations.resource,
    gates.resource,
    quotas.resource,
    health.resource,
    letters.resource,
    trace.resource,
    alerts.resource,
    tokens.resource,
    audit.resource,
)
_PARAMETER = re.compile(r"{\w+}")
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
    if event["routeKey"] == "$default":
        answer, noted = _as_http_api(_unrouted(event["rawPath"])), {}
    else:
        request = rest_event(event)
        answer, noted = _in_our_words(_as_http_api(app(request, context))), request["requestContext"]
    logger().info(
        "request",
        route=event["routeKey"],
        status=answer["statusCode"],
        workspace=noted.get("workspace"),
        trouble=noted.get("trouble"),
    )
    return answer


def _unrouted(path: str) -> Response:
    """What the gateway found no route for: a path that is not ours, or a method that it does not have."""
    for pattern, methods in app.routes.items():
        if re.fullmatch(_PARAMETER.sub("[^/]+", pattern), path):
            refusal = failure(405, REFUSALS[405], f"this path knows {', '.join(sorted(methods))}")
            refusal.headers["Allow"] = ", ".join(sorted(methods))
            return refusal
    return failure(404, "not_found", "this API has no such path")


def _as_http_api(answer: Response | dict[str, Any]) -> dict[str, Any]:
    """What payload 2.0 knows of an answer."""
    found = answer.to_dict() if isinstance(answer, Response) else answer
    return {"statusCode": found["statusCode"], "headers": found["headers"], "body": found["body"]}


def _in_our_words(answer: dict[str, Any]) -> dict[str, Any]:
    """The refusals that Chalice itself words, in the shape of all others."""
    status = answer["statusCode"]
    found = json.loads(answer["body"]) if status >= 400 else {}
    if "Code" not in found:
        return answer
    message = found["Message"] if status in REFUSALS else "the hub failed; it may or may not have done what was asked"
    worded = _as_http_api(failure(status, REFUSALS.get(status, "internal_error"), message))
    return worded | {"headers": {**answer["headers"], **worded["headers"]}}
