"""Turn an HTTP API's event (payload 2.0) into the REST API event that Chalice reads.

Chalice finds its view by `requestContext.resourcePath` and `httpMethod`. An HTTP API names both in `routeKey`
("GET /control/sources/{source_id}"). Everything else is the same facts under other names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

Event = Mapping[str, Any]


def rest_event(event: Event) -> dict[str, Any]:
    """The REST event for a payload-2.0 `event`. Headers keep their names in lower case, cookies are one header."""
    method, _, resource = event["routeKey"].partition(" ")
    context = event["requestContext"]
    http = context["http"]
    return {
        "resource": resource,
        "path": event["rawPath"],
        "httpMethod": method,
        "headers": _headers(event),
        "multiValueQueryStringParameters": _query(event),
        "pathParameters": _path_parameters(event),
        "stageVariables": event.get("stageVariables"),
        "body": event.get("body"),
        "isBase64Encoded": event.get("isBase64Encoded", False),
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": event["rawPath"],
            "requestId": context.get("requestId"),
            "identity": {"sourceIp": http.get("sourceIp"), "userAgent": http.get("userAgent")},
        },
    }


def _headers(event: Event) -> dict[str, str]:
    headers = dict(event.get("headers") or {})
    if cookies := event.get("cookies"):
        headers["cookie"] = "; ".join(cookies)
    return headers


def _query(event: Event) -> dict[str, list[str]] | None:
    """From the raw query: payload 2.0 joins repeated parameters with commas, which values may hold too."""
    raw = event.get("rawQueryString")
    return parse_qs(raw, keep_blank_values=True) if raw else None


def _path_parameters(event: Event) -> dict[str, str]:
    return {name: unquote(value) for name, value in (event.get("pathParameters") or {}).items()}
