"""The control API as a WSGI application: what API Gateway does between a client and the handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from functions.control.handler import handler
from tests.control_api import Context, event

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Lower-case header names, a decoded path, a body in base64, as the gateway hands them on."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    }
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    sent = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    asked = event(environ["REQUEST_METHOD"], path, sent or None, headers, environ.get("QUERY_STRING", ""))
    answer = handler(asked, Context())
    status = HTTPStatus(answer["statusCode"])
    body = answer["body"].encode()
    start_response(f"{status.value} {status.phrase}", [*answer["headers"].items(), ("Content-Length", str(len(body)))])
    return [body]
