"""HTTP to the customers' endpoints: kept-alive connections, hard time limits, and public addresses only.

An address is judged at the moment of connecting, and that very address is connected to, so a name that resolves to
something else a moment later gains nothing. Redirects are not followed. No proxy is used.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as HttpTimeout
from urllib3.util import parse_url

from penstock.adapters.tool_http_sockets import (
    BlockedAddress,
    Connector,
    NotResolved,
    Resolve,
    TimedTlsSocket,
    exchange,
)
from penstock.domain.delivery import Answer, Trouble

LARGEST_ANSWER = 64 * 1024
LARGEST_KEPT = 4 * 1024  # of the answer's body, where it is no 2xx
MOST_HEADERS = 20
LONGEST_HEADER = 200
UNKEPT_HEADERS = frozenset({"set-cookie", "set-cookie2"})  # a session with the tool is nobody's to read
MOST_POOLS = 64
CONNECTIONS_PER_POOL = 10  # as many groups as a batch of SQS can have
NO_RETRY = urllib3.Retry(False, redirect=False)


class ToolHttp:
    """`post` never raises for what the other side does: it answers what became of the request.

    `request_timeout_s` is for one request as a whole: resolving, connecting, sending, and the answer to its end.
    """

    def __init__(
        self,
        request_timeout_s: float,
        allow_loopback: bool,
        resolve: Resolve = socket.getaddrinfo,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._request_timeout_s = request_timeout_s
        self._kinds = _guarded(Connector(resolve, allow_loopback))
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._pools: OrderedDict[str, tuple[HTTPConnectionPool, str]] = OrderedDict()
        self._lock = threading.Lock()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        exchange.begin(self._request_timeout_s)
        try:
            pool, target = self._pool(url)
            return self._post(pool, target, headers, body)
        except (HTTPError, HTTPException, BlockedAddress, NotResolved, OSError, ValueError) as error:
            return Answer(None, trouble=_trouble(error))

    def _post(self, pool: HTTPConnectionPool, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            return _exchanged(pool, target, headers, body)
        except (ProtocolError, SSLError):
            if not exchange.is_on_kept_connection or exchange.is_answered:
                raise
        return _exchanged(pool, target, headers, body)  # the other side had closed the kept connection meanwhile

    def _pool(self, url: str) -> tuple[HTTPConnectionPool, str]:
        """The URL's own pool, so that no two destinations share a connection, and what stands in the request line."""
        with self._lock:
            if url not in self._pools:
                self._pools[url] = self._made(url)
                if len(self._pools) > MOST_POOLS:
                    self._pools.popitem(last=False)[1][0].close()
            self._pools.move_to_end(url)
            return self._pools[url]

    def _made(self, url: str) -> tuple[HTTPConnectionPool, str]:
        parts = parse_url(url)
        if parts.scheme not in self._kinds or not parts.host:
            raise ValueError("the URL is neither http nor https, or has no host")
        options: dict[str, Any] = {"maxsize": CONNECTIONS_PER_POOL, "block": False}
        if parts.scheme == "https":
            options["ssl_context"] = self._context()
        return self._kinds[parts.scheme](parts.host, parts.port, **options), parts.request_uri

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._make_tls()
            self._tls.sslsocket_class = TimedTlsSocket
        return self._tls


def _exchanged(pool: HTTPConnectionPool, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
    response = pool.urlopen(
        "POST",
        target,
        body=body,
        headers=headers,
        retries=NO_RETRY,
        redirect=False,
        assert_same_host=False,
        timeout=exchange.left_s(),
        preload_content=False,
        decode_content=False,
    )
    is_done = 200 <= response.status < 300
    body, is_whole = _read_away(response) if is_done else _read_and_kept(response)
    if is_whole:
        response.release_conn()
    else:
        response.close()
    headers = {} if is_done else _headers(response.headers)
    return Answer(response.status, response.headers.get("Retry-After"), headers=headers, body=body)


def _read_away(response: BaseHTTPResponse) -> tuple[bytes, bool]:
    """Nothing, and whether the answer was whole; if it was, its connection can serve again."""
    try:
        response.read(LARGEST_ANSWER)
        return b"", not response.read(1)
    except (HTTPError, OSError):
        return b"", False  # it has answered: what it says beyond its status is not worth another try


def _read_and_kept(response: BaseHTTPResponse) -> tuple[bytes, bool]:
    """The beginning of the answer's body, as far as it came, and whether it was whole."""
    kept, size = b"", 0
    try:
        while size <= LARGEST_ANSWER:
            piece = response.read1(LARGEST_ANSWER)
            if not piece:
                return kept, True
            kept, size = (kept + piece)[:LARGEST_KEPT], size + len(piece)
    except (HTTPError, OSError):
        pass
    return kept, False


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    shown = [name for name in given if name.lower() not in UNKEPT_HEADERS and len(name) <= LONGEST_HEADER]
    return {name: given[name][:LONGEST_HEADER] for name in shown[:MOST_HEADERS]}


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, BlockedAddress):
        return Trouble.BLOCKED_ADDRESS
    if isinstance(error, NotResolved):
        return Trouble.DNS
    causes = (error, *error.args)  # urllib3 wraps what happened on a connection
    if any(isinstance(cause, (HttpTimeout, TimeoutError)) for cause in causes):
        return Trouble.TIMEOUT
    return Trouble.TLS if isinstance(error, (SSLError, ssl.SSLError)) else Trouble.CONNECTION


def _guarded(connector: Connector) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections go to judged addresses alone."""

    class Guarded(HTTPConnection):
        is_kept = False

        def _new_conn(self) -> socket.socket:
            self.is_kept = exchange.is_on_kept_connection = False
            return connector.connect(self._dns_host, self.port or self.default_port)

        def request(self, *given: Any, **named: Any) -> None:
            exchange.is_on_kept_connection = self.is_kept
            super().request(*given, **named)
            self.is_kept = True

    class GuardedTls(Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTls

    return {"http": Pool, "https": TlsPool}
