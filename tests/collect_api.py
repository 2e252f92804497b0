"""The tracking API as a client sees it: its real handler and wiring, on moto's server, through payload-2.0 events."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from functions.collect.handler import app, handler
from penstock.wiring import collect
from tests.builders_collect import IP, SOURCE, WORKSPACE, WRITE_KEY
from tests.moto_server import BULK_STREAM, BULK_STREAM_ARN, CONFIG_TABLE, STREAM_ARN, Cloud, emptied, environment

HOST = "events.example.com"


class Context:
    """What Lambda hands to a handler beside the event."""

    function_name = "collect"
    aws_request_id = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.data)


def basic(write_key: str = WRITE_KEY) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()}


def route_of(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """What API Gateway finds for a path: the route key and the parameters in it."""
    for pattern, methods in app.routes.items():
        found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", pattern), path)
        if found and method in methods:
            return f"{method} {pattern}", found.groupdict()
    return None


def event(method: str, path: str, body: bytes | None, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    """The request as an HTTP API hands it over: a body that is no text, and any other too, as base64."""
    found = route_of(method, path)
    assert found, f"no route for {method} {path}"
    return {
        "version": "2.0",
        "routeKey": found[0],
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": HOST, "x-forwarded-proto": "https"} | headers,
        "pathParameters": found[1],
        "requestContext": {"http": {"method": method, "path": path, "sourceIp": IP}, "requestId": "request-1"},
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


def answered(asked: dict[str, Any]) -> Answer:
    found = handler(asked, Context())
    data = base64.b64decode(found["body"]) if found.get("isBase64Encoded") else found["body"].encode()
    headers = {name.lower(): value for name, value in found["headers"].items()}
    return Answer(found["statusCode"], headers, data)


def post(path: str, body: bytes, headers: dict[str, str] | None = None, query: str = "") -> Answer:
    return answered(event("POST", path, body, basic() if headers is None else headers, query))


def get(path: str, query: str = "", headers: dict[str, str] | None = None) -> Answer:
    return answered(event("GET", path, None, headers or {}, query))


def put_key(cloud: Cloud, enabled: bool = True, source_enabled: bool = True) -> None:
    cloud.client("dynamodb").put_item(
        TableName=CONFIG_TABLE,
        Item={
            "workspace_id": {"S": WORKSPACE},
            "sk": {"S": f"write_key#{WRITE_KEY}"},
            "source_id": {"S": SOURCE},
            "enabled": {"BOOL": enabled},
            "source_enabled": {"BOOL": source_enabled},
        },
    )


@contextmanager
def collecting(cloud: Cloud) -> Iterator[Cloud]:
    """The collect function's world: a stream, a table with one write key, and the function's environment."""
    emptied(cloud).make_stream(shards=1)
    cloud.make_stream(BULK_STREAM, shards=1)
    cloud.make_config_table()
    put_key(cloud)
    with environment(
        AWS_ENDPOINT_URL=cloud.url,
        PENSTOCK_STAGE="test",
        PENSTOCK_STREAM_ARN=STREAM_ARN,
        PENSTOCK_BULK_STREAM_ARN=BULK_STREAM_ARN,
        PENSTOCK_CONFIG_TABLE=CONFIG_TABLE,
    ):
        collect.ports.cache_clear()
        try:
            yield cloud
        finally:
            collect.ports.cache_clear()


class _Door(BaseHTTPRequestHandler):
    """Turns an HTTP request into a payload-2.0 event, as an HTTP API does."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = answered(event("POST", path, body, headers, query))
        self.send_response(found.status)
        for name, value in found.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(found.data)))
        self.end_headers()
        self.wfile.write(found.data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the handler logs."""


@contextmanager
def door() -> Iterator[str]:
    """The URL of the handler behind a small server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
