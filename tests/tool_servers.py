"""Servers on loopback that behave as badly as servers do, and the tool that calls them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock.adapters.tool_http import ToolHttp
from penstock.domain.delivery import Answer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


BODY = b'{"type":"track"}'


Talk = Callable[["Caller"], None]


class Caller:
    """One connection to the server, with what was asked on it so far."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.requests: list[bytes] = []

    def hear(self) -> bytes:
        """The next request, whole; empty when the caller has hung up."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        while len(body) < length:
            body += self.sock.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """Hang up with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()


class Server:
    """Talks to each connection as `talk` does, in a thread of its own."""

    def __init__(
        self, talk: Talk, family: socket.AddressFamily = socket.AF_INET, tls: ssl.SSLContext | None = None
    ) -> None:
        self._talk = talk
        self._tls = tls
        self._listener = socket.socket(family)
        self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(50)
        self.port = self._listener.getsockname()[1]
        self.callers: list[Caller] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                caller = Caller(sock, len(self.callers))
                self.callers.append(caller)
                threading.Thread(target=self._meet, args=(caller,), daemon=True).start()

    def _meet(self, caller: Caller) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                caller.sock = self._tls.wrap_socket(caller.sock, server_side=True)
            self._talk(caller)
            caller.sock.close()

    @property
    def requests(self) -> list[bytes]:
        return [request for caller in self.callers for request in caller.requests]

    def close(self) -> None:
        self._listener.close()
        for caller in self.callers:
            caller.sock.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(talk: Talk, **given: Any) -> Server:
        servers.append(Server(talk, **given))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def answering(*answers: bytes) -> Talk:
    """Answers the requests of each connection in turn, the last answer for ever."""

    def talk(caller: Caller) -> None:
        turn = 0
        while caller.hear():
            caller.say(answers[min(turn, len(answers) - 1)])
            turn += 1

    return talk


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.005)


def tool(seconds: float = 5.0, **given: Any) -> ToolHttp:
    return ToolHttp(seconds, **({"allow_loopback": True} | given))


def post(http: ToolHttp, server: Server, path: str = "/hook", **headers: str) -> Answer:
    return http.post(f"http://127.0.0.1:{server.port}{path}", headers, BODY)


def timed(act: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.monotonic()
    return act(), time.monotonic() - began


def failing(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 422 No", *headers, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


def dribbling(start: bytes, drop: bytes) -> Talk:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(start)
        while True:
            time.sleep(0.05)
            caller.say(drop)

    return talk


def resolving(*rounds: list[str]) -> Callable[..., list[tuple[Any, ...]]]:
    """A resolver that answers differently each time, as one does that is after our inside."""
    asked = []

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        addresses = rounds[min(len(asked), len(rounds)) - 1]
        return [entry for address in addresses for entry in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)]

    return resolve
