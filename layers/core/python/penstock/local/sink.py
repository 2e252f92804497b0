"""A receiver for trying things: it records what is posted to it, and fails or crawls when told to."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from itertools import islice

from aiohttp import web

from penstock.errors import Invalid
from penstock.local.sink_rows import MAX_BYTES, MAX_ROWS, Behaviours, Row, Rows

MAX_BODY = 10 * 1024 * 1024
ROWS_PER_WRITE = 500

ROWS = web.AppKey("rows", Rows)
BEHAVIOURS = web.AppKey("behaviours", Behaviours)

WELCOME = {
    "what": "the sink of a local Penstock hub",
    "POST /{any path}": "recorded, and answered 200 unless told otherwise",
    "GET /received?path=/x": "what arrived, in order; without path all of it; after=<n> from the n-th arrival on",
    "DELETE /received?path=/x": "forgets; without path all of it",
    "POST /behave": {"path": "/x", "status": 503, "delay_ms": 250, "retry_after": 1, "times": 3, "every": 2},
    "keeps": f"the last {MAX_ROWS} requests, {MAX_BYTES >> 20} MB of them at most: past that the oldest fall out",
}


def sink_app(rows: Rows | None = None) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app[ROWS] = rows if rows is not None else Rows()
    app[BEHAVIOURS] = Behaviours()
    app.router.add_get("/", welcome)
    app.router.add_get("/received", received)
    app.router.add_delete("/received", forget)
    app.router.add_post("/behave", behave)
    app.router.add_route("*", "/{path:.*}", record)
    return app


async def welcome(request: web.Request) -> web.Response:
    rows = request.app[ROWS]
    return web.json_response({**WELCOME, "rows": len(rows), "fallen_out": rows.fallen})


async def record(request: web.Request) -> web.Response:
    """Recorded when the whole request is here, with the status that it will be answered with."""
    body = await request.read()
    behaviour = request.app[BEHAVIOURS].take(request.path)
    request.app[ROWS].add(
        Row(
            time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            path=sayable(request.path),
            status=behaviour.status,
            headers=headers_of(request),
            body=body.decode("utf-8", errors="replace"),
        )
    )
    if behaviour.delay_ms:
        await asyncio.sleep(behaviour.delay_ms / 1000)
    headers = {"Retry-After": behaviour.retry_after} if behaviour.retry_after is not None else {}
    if behaviour.status in (204, 205, 304):
        return web.Response(status=behaviour.status, headers=headers)
    return web.json_response({"status": behaviour.status}, status=behaviour.status, headers=headers)


def headers_of(request: web.Request) -> dict[str, str]:
    """Names as they came; a header that came twice is joined by a comma."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        said = sayable(value)
        headers[name] = f"{headers[name]}, {said}" if name in headers else said
    return headers


def sayable(text: str) -> str:
    """Without what no JSON text can hold: bytes that were no UTF-8 come as lone surrogates."""
    return text.encode("utf-8", errors="replace").decode()


async def received(request: web.Request) -> web.StreamResponse:
    """One JSON array, however long: written in pieces, so that neither side needs it whole."""
    rows = request.app[ROWS]
    after = request.query.get("after", "0")
    if not after.isdecimal():
        return refusal(Invalid("invalid_after", "after must be a whole number", "after"))
    answer = web.StreamResponse(
        headers={
            "Content-Type": "application/json",
            "Penstock-Arrived": str(rows.arrived),
            "Penstock-Fallen-Out": str(rows.fallen),
        }
    )
    found = rows.received(request.query.get("path"), int(after))
    await answer.prepare(request)
    await answer.write(b"[")
    separator = b""
    while piece := list(islice(found, ROWS_PER_WRITE)):
        await answer.write(separator + b",".join(piece))
        separator = b","
    await answer.write(b"]")
    return answer


async def forget(request: web.Request) -> web.Response:
    return web.json_response({"forgotten": request.app[ROWS].forget(request.query.get("path"))})


async def behave(request: web.Request) -> web.Response:
    try:
        return web.json_response(request.app[BEHAVIOURS].set(json.loads(await request.read())))
    except (ValueError, RecursionError):
        return refusal(Invalid("invalid_json", "the body is no JSON"))
    except Invalid as refused:
        return refusal(refused)


def refusal(refused: Invalid) -> web.Response:
    error = {"code": refused.code, "message": refused.message, "field": refused.field}
    return web.json_response({"error": error}, status=refused.status)
