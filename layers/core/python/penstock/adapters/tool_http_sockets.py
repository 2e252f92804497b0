"""The sockets of `tool_http`: to judged addresses alone, and with one deadline for a whole exchange.

However slowly the other side resolves, connects, reads or dribbles: each wait gets what is left of the exchange's time.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from penstock.domain.addresses import is_allowed

CONNECT_TIMEOUT_S = 3.0
RESOLVE_TIMEOUT_S = 3.0
MOST_QUESTIONS_OF_A_HOST = 4  # those of one that hangs must not cost the others theirs
MOST_QUESTIONS = 256

Resolve = Callable[..., list[tuple[Any, ...]]]


class BlockedAddress(Exception):
    """A name resolved to no address that a destination may have."""


class NotResolved(Exception):
    """A name resolved to nothing, or not in time."""


class NoRoom(Exception):
    """Too many questions of names wait for an answer: this one was not asked, and nothing sent."""


class Exchange(threading.local):
    """The exchange that the present thread is in: when it has to be over, and what is known of it so far."""

    deadline = 0.0
    is_answered = False
    is_on_kept_connection = False

    def begin(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.is_answered = self.is_on_kept_connection = False

    def left_s(self) -> float:
        """Seconds until the deadline. Raises `TimeoutError` past it."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange has taken all of its time")
        return left


exchange = Exchange()


class TimedSocket(socket.socket):
    def recv_into(self, *given: Any, **named: Any) -> int:
        self.settimeout(exchange.left_s())
        received = super().recv_into(*given, **named)
        exchange.is_answered = exchange.is_answered or received > 0
        return received

    def sendall(self, *given: Any, **named: Any) -> None:
        self.settimeout(exchange.left_s())
        super().sendall(*given, **named)


class TimedTlsSocket(ssl.SSLSocket):
    def recv_into(self, *given: Any, **named: Any) -> int:
        self.settimeout(exchange.left_s())
        received = super().recv_into(*given, **named)
        exchange.is_answered = exchange.is_answered or received > 0
        return received

    def send(self, *given: Any, **named: Any) -> int:
        self.settimeout(exchange.left_s())
        return super().send(*given, **named)


class Questions:
    """Counts those that the system's resolver has not answered yet, by host; nobody waits for another host's."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._changed = threading.Condition()

    def begin(self, host: str, seconds: float) -> None:
        """As soon as the host has room for one more, within so many seconds. Raises `NoRoom`."""
        with self._changed:
            has_room = self._changed.wait_for(lambda: self._asked[host] < MOST_QUESTIONS_OF_A_HOST, seconds)
            if not has_room or self._asked.total() >= MOST_QUESTIONS:
                raise NoRoom(host)
            self._asked[host] += 1

    def end(self, host: str) -> None:
        with self._changed:
            self._asked[host] -= 1
            if not self._asked[host]:
                del self._asked[host]
            self._changed.notify_all()


class Connector:
    """Connects to names whose addresses are public; to this machine too where loopback is allowed."""

    def __init__(self, resolve: Resolve, allow_loopback: bool) -> None:
        self._resolve = resolve
        self._allow_loopback = allow_loopback
        self._questions = Questions()

    def connect(self, host: str, port: int) -> socket.socket:
        """Raises `BlockedAddress`, `NotResolved`, `NoRoom` or `OSError` (`TimeoutError` included)."""
        allowed = [entry for entry in self._resolved(host, port) if is_allowed(entry[4][0], self._allow_loopback)]
        if not allowed:
            raise BlockedAddress(host)
        until = time.monotonic() + min(CONNECT_TIMEOUT_S, exchange.left_s())
        for place, entry in enumerate(allowed):
            share_s = max((until - time.monotonic()) / (len(allowed) - place), 0.05)
            try:
                return _connected(entry, share_s)
            except OSError as error:
                last = error
        raise last

    def _resolved(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """The system's resolver takes no time limit, so it is asked from a thread of its own."""
        answer: queue.SimpleQueue[list[tuple[Any, ...]]] = queue.SimpleQueue()
        self._questions.begin(host, min(RESOLVE_TIMEOUT_S, exchange.left_s()))

        def ask() -> None:
            try:
                answer.put(self._resolve(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError):
                answer.put([])
            finally:
                self._questions.end(host)

        threading.Thread(target=ask, daemon=True).start()
        try:
            found = answer.get(timeout=min(RESOLVE_TIMEOUT_S, exchange.left_s()))
        except queue.Empty:
            found = []
        if not found:
            raise NotResolved(host)
        return found


def _connected(entry: tuple[Any, ...], seconds: float) -> socket.socket:
    family, kind, protocol, _, address = entry
    made = TimedSocket(family, kind, protocol)
    try:
        made.settimeout(seconds)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect(address)
        made.settimeout(exchange.left_s())  # for the TLS handshake
    except BaseException:
        made.close()
        raise
    return made
