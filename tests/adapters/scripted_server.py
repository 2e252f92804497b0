"""A server on loopback that answers each request as it was told, broken answers included."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

Answer = Callable[[socket.socket, bytes], bool]
"""Told the connection and the request; whether the connection is kept."""


def raw(data: bytes, keep: bool = False) -> Answer:
    def answer(connection: socket.socket, request: bytes) -> bool:
        connection.sendall(data)
        return keep

    return answer


def ok(body: bytes = b"{}", status: int = 200) -> Answer:
    return raw(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body), keep=True)


class ScriptedServer:
    """Each request takes the next of `answers`; `connections` counts, `requests` are whole, head and body."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def silent(self) -> Answer:
        """No answer until the server is closed."""

        def answer(connection: socket.socket, request: bytes) -> bool:
            self.released.wait(30)
            return False

        return answer

    def close(self) -> None:
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            connection.settimeout(30)
            while request := _request(reader):
                self.requests.append(request)
                if not self.answers.pop(0)(connection, request):
                    return


def _request(reader) -> bytes:  # type: ignore[no-untyped-def]
    head, length = b"", 0
    while (line := reader.readline()) not in (b"", b"\r\n"):
        head += line
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head + b"\r\n" + reader.read(length) if head else b""
