"""HTTP to the customers' endpoints: kept-alive connections, hard time limits, and public addresses only.

An address is judged at the moment of connecting, and that very address is connected to, so a name that resolves to
something else a moment later gains nothing. Redirects are not followed. No proxy is used.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProtocolError, ReadTimeoutError, SSLError
from urllib3.exceptions import NameResolutionError as NoSuchName

from penstock.domain.addresses import is_allowed
from penstock.domain.delivery import Answer, Trouble

CONNECT_TIMEOUT_S = 3.0
LARGEST_ANSWER = 64 * 1024
HOSTS = 64
CONNECTIONS_PER_HOST = 16

Resolve = Callable[..., list[tuple[Any, ...]]]


class BlockedAddress(Exception):
    """A name resolved to no address that a destination may have."""


class Limit:
    """The time that one request may take in all; past it, its socket is shut down under whoever waits for it."""

    _current = threading.local()

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self.exceeded = False

    def __enter__(self) -> Limit:
        Limit._current.limit = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Limit._current.limit = None
        self._timer.cancel()
        with self._lock:
            self._socket = None

    @classmethod
    def holds(cls, connected: socket.socket) -> None:
        """The socket that the present thread's request uses from now on."""
        limit = getattr(cls._current, "limit", None)
        if limit is not None:
            limit._hold(connected)

    def _hold(self, connected: socket.socket) -> None:
        with self._lock:
            self._socket = connected
            if self.exceeded:
                _shut(connected)

    def _end(self) -> None:
        with self._lock:
            self.exceeded = True
            if self._socket is not None:
                _shut(self._socket)


def _shut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


class ToolHttp:
    """`post` never raises for what the other side does: it answers what became of the request."""

    def __init__(
        self,
        request_timeout_s: float,
        allow_loopback: bool,
        resolve: Resolve = socket.getaddrinfo,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._request_timeout_s = request_timeout_s
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=request_timeout_s)
        options: dict[str, Any] = {"maxsize": CONNECTIONS_PER_HOST, "block": False, "retries": False}
        self._pools = urllib3.PoolManager(num_pools=HOSTS, ssl_context=tls or ssl.create_default_context(), **options)
        self._pools.pool_classes_by_scheme = _guarded(allow_loopback, resolve)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with Limit(self._request_timeout_s) as limit:
            try:
                return self._post(url, headers, body)
            except BlockedAddress:
                return Answer(None, trouble=Trouble.BLOCKED_ADDRESS)
            except (HTTPError, OSError) as error:
                return Answer(None, trouble=Trouble.TIMEOUT if limit.exceeded else _trouble(error))

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            return self._exchange(url, headers, body)
        except ProtocolError as error:
            if not _was_idle(error):
                raise
        return self._exchange(url, headers, body)  # a kept connection that the other side had closed meanwhile

    def _exchange(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        response = self._pools.urlopen(
            "POST",
            url,
            body=body,
            headers=headers,
            timeout=self._timeout,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        answer = Answer(response.status, response.headers.get("Retry-After"))
        try:
            response.read(LARGEST_ANSWER)
            rest = response.read(1)
        except (HTTPError, OSError):
            response.close()  # it has answered: what it says beyond its status is not worth another try
            return answer
        if rest:
            response.close()
        response.release_conn()
        return answer


def _was_idle(error: ProtocolError) -> bool:
    """Whether the connection was closed before anything of an answer came: `RemoteDisconnected` and its kin."""
    cause = error.args[1] if len(error.args) > 1 else None
    return isinstance(cause, (ConnectionResetError, BrokenPipeError)) and getattr(cause, "was_kept", False)


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError, TimeoutError)):
        return Trouble.TIMEOUT
    if isinstance(error, NoSuchName):
        return Trouble.DNS
    if isinstance(error, (SSLError, ssl.SSLError)):
        return Trouble.TLS
    return Trouble.CONNECTION


def _guarded(allow_loopback: bool, resolve: Resolve) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections go to judged addresses alone."""

    class Guarded(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, allow_loopback, resolve)

        def getresponse(self) -> Any:
            return _answered(self, super().getresponse)

    class GuardedTls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, allow_loopback, resolve)

        def getresponse(self) -> Any:
            return _answered(self, super().getresponse)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTls

    return {"http": Pool, "https": TlsPool}


def _answered(connection: HTTPConnection, receive: Callable[[], Any]) -> Any:
    """The answer to the request just sent; a kept connection found dead is marked so, for one more try."""
    if connection.sock is not None:
        Limit.holds(connection.sock)
    kept = getattr(connection, "used", False)
    connection.used = True  # type: ignore[attr-defined]
    try:
        return receive()
    except (ConnectionResetError, BrokenPipeError) as error:
        error.was_kept = kept  # type: ignore[union-attr]
        raise


def _connected(connection: HTTPConnection, allow_loopback: bool, resolve: Resolve) -> socket.socket:
    host, port = connection._dns_host, connection.port or 0
    try:
        found = resolve(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NoSuchName(host, connection, error) from error  # type: ignore[arg-type]
    allowed = [entry for entry in found if is_allowed(entry[4][0], allow_loopback)]
    if not allowed:
        raise BlockedAddress(host)
    return _first_that_answers(connection, allowed)


def _first_that_answers(connection: HTTPConnection, entries: list[tuple[Any, ...]]) -> socket.socket:
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    error: OSError | None = None
    for family, kind, protocol, _, address in entries:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(max(0.1, deadline - time.monotonic()))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect(address)
        except OSError as failed:
            made.close()
            error = failed
            continue
        Limit.holds(made)
        return made
    if isinstance(error, TimeoutError):
        raise ConnectTimeoutError(connection, f"no answer from {connection.host}") from error
    raise urllib3.exceptions.NewConnectionError(connection, f"cannot connect to {connection.host}: {error}") from error
