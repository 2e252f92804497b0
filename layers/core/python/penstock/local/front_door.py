"""One address on loopback for every API of the hub, each at the path that it has in the cloud."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

log = logging.getLogger(__name__)

MAX_BODY = 10 * 1024 * 1024  # what an HTTP API takes
MAX_CONNECTIONS = 256
MAX_IN_HAND = 512
TIMEOUT_S = 30.0  # an HTTP API waits no longer for its Lambda
CONNECT_TIMEOUT_S = 5.0
RELAY_PIECE = 64 * 1024

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
AS_THEY_CAME = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # never added where a client left them out


@dataclass(frozen=True)
class Route:
    """Paths that begin with `prefix` belong to `api`; the first match counts."""

    prefix: str
    api: str


ROUTES = (
    Route("/v1/", "collect"),
    Route("/control/", "control"),
    Route("/openapi.json", "control"),
)


class Doors:
    """Where each API is, read anew when a deploy has written it anew."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at = 0
        self._addresses: dict[str, str] = {}

    def address(self, api: str) -> str | None:
        """The base URL of an API, or None while there is none."""
        try:
            written_at = self._file.stat().st_mtime_ns
            if written_at != self._read_at:
                self._addresses = json.loads(self._file.read_text())["apis"]
                self._read_at = written_at
        except (OSError, ValueError, KeyError):
            return None
        return self._addresses.get(api)


@dataclass
class InHand:
    """How many requests are under way, and how many may be."""

    most: int
    now: int = 0


DOORS = web.AppKey("doors", Doors)
SESSION = web.AppKey("session", ClientSession)
IN_HAND = web.AppKey("in_hand", InHand)
TIMEOUT = web.AppKey("timeout", ClientTimeout)


def front_door_app(doors: Doors, timeout_s: float = TIMEOUT_S, max_in_hand: int = MAX_IN_HAND) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app[DOORS] = doors
    app[IN_HAND] = InHand(max_in_hand)
    app[TIMEOUT] = ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)
    app.cleanup_ctx.append(_session)
    app.router.add_get("/", welcome)
    app.router.add_get("/health", health)
    app.router.add_route("*", "/{path:.*}", relay)
    return app


async def _session(app: web.Application) -> AsyncIterator[None]:
    connector = TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=30)
    session = ClientSession(
        connector=connector, timeout=app[TIMEOUT], auto_decompress=False, cookie_jar=DummyCookieJar()
    )
    async with session:
        app[SESSION] = session
        yield


async def welcome(_: web.Request) -> web.Response:
    return web.json_response(
        {
            "what": "the front door of a local Penstock hub",
            "tracking API": "POST /v1/batch, /v1/track, … (write key as Basic user)",
            "control API": "/control/sources, /control/destinations, /control/tokens (Bearer token)",
            "description of the control API": "/openapi.json",
        }
    )


async def health(request: web.Request) -> web.Response:
    known = sorted({route.api for route in ROUTES if request.app[DOORS].address(route.api) is not None})
    return web.json_response({"status": "ok", "apis": known})


def api_of(path: str) -> str | None:
    """Which API serves a path."""
    for route in ROUTES:
        if path.startswith(route.prefix) or path == route.prefix.rstrip("/"):
            return route.api
    return None


async def relay(request: web.Request) -> web.StreamResponse:
    api = api_of(request.path)
    if api is None:
        return problem(404, "not_found", f"no API of the hub is at {request.path}; GET / says what is where")
    address = request.app[DOORS].address(api)
    if address is None:
        return problem(503, "not_deployed", f"the {api} API is not deployed", retry_after=2)
    in_hand = request.app[IN_HAND]
    if in_hand.now >= in_hand.most:
        return problem(503, "busy", f"{in_hand.now} requests are in hand", retry_after=1)
    in_hand.now += 1
    try:
        return await ask(request, address)
    finally:
        in_hand.now -= 1


async def ask(request: web.Request, address: str) -> web.StreamResponse:
    """Pass one request on, path and query as they came, and its answer back."""
    body = await request.read()
    target = URL(address + request.raw_path, encoded=True)
    headers = headers_for(request, body)
    session = request.app[SESSION]
    answer = web.StreamResponse()
    try:
        async with session.request(
            request.method,
            target,
            headers=headers,
            data=body or None,
            allow_redirects=False,
            skip_auto_headers=AS_THEY_CAME,
        ) as reply:
            answer.set_status(reply.status, reply.reason)
            for name, value in reply.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    answer.headers.add(name, value)
            await answer.prepare(request)
            async for piece in reply.content.iter_chunked(RELAY_PIECE):
                await answer.write(piece)
            await answer.write_eof()
            return answer
    except TimeoutError:
        return broken(answer) or problem(504, "timeout", "the local cloud took too long")
    except ClientError as error:
        log.warning("the local cloud did not answer: %s", type(error).__name__)
        return broken(answer) or problem(503, "cloud_unavailable", "the local cloud does not answer", retry_after=2)


def broken(answer: web.StreamResponse) -> web.StreamResponse | None:
    """An answer that has begun cannot be taken back: its connection is closed, so that it is not taken for whole."""
    if not answer.prepared:
        return None
    answer.force_close()
    return answer


def headers_for(request: web.Request, body: bytes) -> CIMultiDict[str]:
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in HOP_BY_HOP and name.lower() not in ("host", "content-length", "expect")
    )
    before = headers.popall("X-Forwarded-For", [])
    headers["X-Forwarded-For"] = ", ".join([*before, request.remote or "127.0.0.1"])
    headers["X-Forwarded-Proto"] = "http"
    headers["X-Forwarded-Host"] = request.host
    if not is_text(body):
        headers["Content-Type"] = "application/octet-stream"
    return headers


def is_text(body: bytes) -> bool:
    """Whether a body is UTF-8.

    The local cloud hands over a body as text wherever its content type says text, and replaces every byte that is
    none: a gzipped JSON body would be lost. What is no text goes in as binary, so the Lambda gets its bytes in base64.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def problem(status: int, code: str, message: str, retry_after: int | None = None) -> web.Response:
    headers = {"Access-Control-Allow-Origin": "*"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    body = {"error": {"code": code, "message": message, "field": None}}
    return web.json_response(body, status=status, headers=headers)
