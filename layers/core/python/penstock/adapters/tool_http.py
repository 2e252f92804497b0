"""HTTP to the customers' endpoints: kept-alive connections, hard time limits, and public addresses only.

An address is judged at the moment of connecting, and that very address is connected to, so a name that resolves to
something else a moment later gains nothing. Redirects are not followed. No proxy is used.

urllib3 keeps the connections and shakes hands. The request itself is written here, in one piece: that is half the work
of a delivery.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse, UnknownProtocol
from typing import Any, NamedTuple

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from penstock.adapters.tool_http_sockets import (
    BlockedAddress,
    Connector,
    NoRoom,
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
DEFAULT_PORTS = {"http": 80, "https": 443}
WENT_AWAY = (HTTPException, ConnectionError, ssl.SSLError)
NOT_BEGUN: Any = None  # an answer's headers before they are read
NO_STATUS = 0
SWITCHED = 101  # the one answer below 200 after which no other comes: what follows is no HTTP


class Line(NamedTuple):
    """The connections to one URL, and how a request on them begins."""

    pool: HTTPConnectionPool
    beginning: str


class ToolHttp:
    """`post` never raises for what the other side does: it answers what became of the request.

    `request_timeout_s` is for one request as a whole: resolving, connecting, sending, and the answer to its end. Where
    `post` is given a `timeout_s`, that holds.
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
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._lock = threading.Lock()

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float | None = None) -> Answer:
        exchange.begin(self._request_timeout_s if timeout_s is None else timeout_s)
        try:
            line = self._line(url)
            return self._post(line.pool, _head(line.beginning, headers, len(body)) + body)
        except (HTTPError, HTTPException, BlockedAddress, NotResolved, NoRoom, OSError, ValueError) as error:
            return Answer(None, trouble=_trouble(error))

    def _post(self, pool: HTTPConnectionPool, request: bytes) -> Answer:
        try:
            return _exchanged(pool, request)
        except WENT_AWAY:
            if not exchange.is_on_kept_connection or exchange.is_answered:
                raise
        return _exchanged(pool, request)  # the other side had closed the kept connection meanwhile

    def _line(self, url: str) -> Line:
        """The URL's own connections: no two destinations share any."""
        with self._lock:
            if url not in self._lines:
                self._lines[url] = self._made(url)
                if len(self._lines) > MOST_POOLS:
                    self._lines.popitem(last=False)[1].pool.close()
            self._lines.move_to_end(url)
            return self._lines[url]

    def _made(self, url: str) -> Line:
        parts = parse_url(url)
        if parts.scheme not in self._kinds or not parts.host:
            raise ValueError("the URL is neither http nor https, or has no host")
        options: dict[str, Any] = {"maxsize": CONNECTIONS_PER_POOL, "block": False}
        if parts.scheme == "https":
            options["ssl_context"] = self._context()
        return Line(self._kinds[parts.scheme](parts.host, parts.port, **options), _beginning(parts, parts.host))

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._make_tls()
            self._tls.sslsocket_class = TimedTlsSocket
        return self._tls


def _beginning(url: Url, host: str) -> str:
    port = "" if url.port in (None, DEFAULT_PORTS.get(url.scheme or "")) else f":{url.port}"
    return f"POST {url.request_uri} HTTP/1.1\r\nHost: {host.rstrip('.')}{port}\r\nAccept-Encoding: identity"


def _head(beginning: str, headers: Mapping[str, str], size: int) -> bytes:
    """Raises `ValueError` for a header that would be more than one, or that no request can hold."""
    lines = [beginning, *[f"{name}: {value}" for name, value in headers.items()], f"Content-Length: {size}\r\n\r\n"]
    head = "\r\n".join(lines)
    breaks = beginning.count("\r") + len(lines) + 1
    if head.count("\r") != breaks or head.count("\n") != breaks:
        raise ValueError("a header holds a line break")
    return head.encode("latin-1")


def _exchanged(pool: HTTPConnectionPool, request: bytes) -> Answer:
    connection: Any = pool._get_conn()  # one of `_guarded`'s
    try:
        response = connection.exchanged(request)
    except BaseException:
        connection.close()
        raise
    is_done = 200 <= response.status < 300
    kept, is_whole = _read_away(response) if is_done else _read_and_kept(response)
    response.close()
    if not is_whole or response.will_close or response.status == SWITCHED:
        connection.close()
    pool._put_conn(connection)
    headers = {} if is_done else _headers(response.headers.items())
    return Answer(response.status, response.headers.get("Retry-After"), headers=headers, body=kept)


def _begun(response: HTTPResponse) -> HTTPResponse:
    """The final answer up to its body; what comes before it (103 and the like) is read past.

    Its status line is the verdict: one whose headers are too many, too long or cut off has none, and ends its
    connection.
    """
    try:
        response.begin()
        while _is_interim(response):
            response.headers, response.status = NOT_BEGUN, NO_STATUS
            response.begin()
    except UnknownProtocol:
        raise
    except (HTTPException, OSError):
        if not isinstance(response.status, int) or _is_interim(response):
            raise
        response.headers = response.msg = HTTPMessage()
        response.chunked, response.length, response.will_close = False, 0, True
    return response


def _is_interim(response: HTTPResponse) -> bool:
    return response.status < 200 and response.status != SWITCHED


def _read_away(response: HTTPResponse) -> tuple[bytes, bool]:
    """Nothing, and whether the answer was whole; if it was, its connection can serve again."""
    try:
        response.read(LARGEST_ANSWER)
        return b"", not response.read(1)
    except (HTTPException, OSError):
        return b"", False  # it has answered: what it says beyond its status is not worth another try


def _read_and_kept(response: HTTPResponse) -> tuple[bytes, bool]:
    """The beginning of the answer's body, as far as it came, and whether it was whole."""
    kept, size = b"", 0
    try:
        while size <= LARGEST_ANSWER:
            piece = response.read1(LARGEST_ANSWER)
            if not piece:
                return kept, True
            kept, size = (kept + piece)[:LARGEST_KEPT], size + len(piece)
    except (HTTPException, OSError):
        pass
    return kept, False


def _headers(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The first few; those of one name are one, as its first spells it."""
    shown: dict[str, tuple[str, str]] = {}
    for name, value in given:
        known = name.lower()
        if known in shown:
            shown[known] = (shown[known][0], f"{shown[known][1]}, {value}"[:LONGEST_HEADER])
        elif known not in UNKEPT_HEADERS and len(name) <= LONGEST_HEADER and len(shown) < MOST_HEADERS:
            shown[known] = (name, value[:LONGEST_HEADER])
    return dict(shown.values())


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, BlockedAddress):
        return Trouble.BLOCKED_ADDRESS
    if isinstance(error, NotResolved):
        return Trouble.DNS
    if isinstance(error, NoRoom):
        return Trouble.NO_ROOM
    if isinstance(error, TimeoutError):
        return Trouble.TIMEOUT
    return Trouble.TLS if isinstance(error, ssl.SSLError) else Trouble.CONNECTION


def _guarded(connector: Connector) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections go to judged addresses alone."""

    class Guarded(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connector.connect(self._dns_host, self.port or self.default_port)

        def exchanged(self, request: bytes) -> HTTPResponse:
            """The answer to a request, up to its body."""
            exchange.is_on_kept_connection = self.sock is not None
            if self.sock is None:
                self.connect()
            self.sock.sendall(request)
            return _begun(HTTPResponse(self.sock, method="POST"))

    class GuardedTls(Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTls

    return {"http": Pool, "https": TlsPool}
