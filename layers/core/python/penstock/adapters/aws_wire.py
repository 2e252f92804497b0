"""A small client for AWS's JSON services on the standard library: what `collect` needs without botocore's 300 ms."""

from __future__ import annotations

import http.client
import queue
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
IDLE_CONNECTIONS = 8
LARGEST_ANSWER = 8 * 1024 * 1024


class WireFailed(Exception):
    """No answer came back; whether the service did what was asked is unknown."""


class Reply(NamedTuple):
    status: int
    body: bytes


class Signs(Protocol):
    """Makes the headers of a signed request."""

    def headers(self, host: str, target: str, body: bytes, timestamp: str) -> dict[str, str]: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


class AwsWire:
    """Connections to one service, kept alive and shared by threads. Every call ends within its time-outs.

    Up to `idle` of them are kept while nobody uses them.
    """

    def __init__(
        self,
        endpoint: str,
        signer: Signs,
        now: Callable[[], datetime] = utc_now,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        idle: int = IDLE_CONNECTIONS,
    ) -> None:
        parts = urlsplit(endpoint)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._netloc = parts.netloc
        self._signer = signer
        self._now = now
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._tls = ssl.create_default_context() if self._secure else None
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue(idle)

    def call(self, target: str, body: bytes) -> Reply:
        """The service's answer, whatever its status. Raises `WireFailed`."""
        headers = self._signer.headers(self._netloc, target, body, self._now().strftime("%Y%m%dT%H%M%SZ"))
        try:
            kept = self._idle.get_nowait()
        except queue.Empty:
            return self._exchange(self._connected(), body, headers)
        try:
            return self._exchange(kept, body, headers)
        except _WentAway:
            return self._exchange(self._connected(), body, headers)  # it was closed while it lay idle

    def close(self) -> None:
        """Let go of the connections that lie idle."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def __del__(self) -> None:
        self.close()

    def _connected(self) -> http.client.HTTPConnection:
        timeout = self._connect_timeout_s
        if self._tls is not None:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=self._tls
            )
        else:
            made = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            made.connect()
        except OSError as error:
            made.close()
            raise WireFailed(f"cannot connect to {self._netloc}: {error}") from error
        made.sock.settimeout(self._read_timeout_s)
        return made

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> Reply:
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            reply = Reply(response.status, _whole(response))
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            connection.close()
            raise _WentAway(f"{self._netloc} closed the connection") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise WireFailed(f"{self._netloc} did not answer: {error}") from error
        if response.will_close:
            connection.close()
        else:
            self._keep(connection)
        return reply

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()


def _whole(response: http.client.HTTPResponse) -> bytes:
    """The answer's body. A part of one is no answer, nor is one whose end cannot be told."""
    if response.length is None and not response.chunked:
        raise http.client.IncompleteRead(b"")
    body = response.read(LARGEST_ANSWER)
    if response.length or response.read(1):
        raise http.client.IncompleteRead(b"", response.length)
    return body


class _WentAway(WireFailed):
    """The other side closed before it answered anything."""
