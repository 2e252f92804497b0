"""HTTP to customers' endpoints, against servers on loopback that behave as badly as servers do."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from penstock.adapters.tool_http import LARGEST_ANSWER, ToolHttp
from penstock.domain.delivery import Answer, Trouble

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


def test_a_request_arrives_as_it_was_meant(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    headers = {"Content-Type": "application/json", "User-Agent": "Penstock/1.0", "Idempotency-Key": "src:m%201"}
    assert post(tool(), server, "/hook?x=1&y=a%20b", **headers) == Answer(200)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?x=1&y=a%20b HTTP/1.1"
    assert {f"Host: 127.0.0.1:{server.port}", *(f"{name}: {value}" for name, value in headers.items())} <= set(lines)
    assert sum(line.lower().startswith("user-agent:") for line in lines) == 1
    assert body == BODY


@pytest.mark.parametrize("status", [200, 204, 301, 400, 404, 429, 500, 503])
def test_a_status_is_an_answer(serve: Callable[..., Server], status: int) -> None:
    server = serve(answering(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n".encode()))
    answer = post(tool(), server)
    assert (answer.status, answer.retry_after, answer.trouble, answer.body) == (status, "7", None, b"")


def failing(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 422 No", *headers, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


def test_what_a_failing_tool_says_is_kept(serve: Callable[..., Server]) -> None:
    server = serve(answering(failing(b'{"error":"no such field"}', b"X-Request-Id: 7", b"X-A: 1", b"x-a: 2")))
    assert post(tool(), server) == Answer(
        422,
        headers={"X-Request-Id": "7", "X-A": "1, 2", "Content-Length": "25"},
        body=b'{"error":"no such field"}',
    )


def test_what_is_kept_of_an_answer_is_bounded(serve: Callable[..., Server]) -> None:
    many = [b"X-%d: " % number + b"y" * 300 for number in range(30)]
    answer = post(tool(), serve(answering(failing(b"x" * 10_000, b"Set-Cookie: session=1", *many))))
    assert answer.headers == {f"X-{number}": "y" * 200 for number in range(20)}
    assert answer.body == b"x" * 4096


def test_nothing_is_kept_of_an_answer_that_the_event_is_safe(serve: Callable[..., Server]) -> None:
    assert post(tool(), serve(answering(OK))) == Answer(200)


CHUNKED = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n3\r\nway\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (failing(b""), b""),
        (failing(b"no"), b"no"),
        (failing(b"x" * 60_000), b"x" * 4096),
        (CHUNKED, b"noway"),
        (b"HTTP/1.1 304 No\r\n\r\n", b""),
    ],
)
def test_connections_of_failing_requests_are_kept(serve: Callable[..., Server], answer: bytes, body: bytes) -> None:
    server, http = serve(answering(answer)), tool()
    assert [post(http, server).body for _ in range(3)] == [body] * 3
    assert len(server.callers) == 1


def test_what_came_of_a_body_that_never_ends_is_kept(serve: Callable[..., Server]) -> None:
    head = b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\nbroken"
    answer, seconds = timed(lambda: post(tool(0.4), serve(dribbling(head, b"."))))
    assert answer.status == 500
    assert answer.body.startswith(b"broken.")
    assert seconds < 3


def test_no_more_of_a_huge_failure_is_read_than_needed(serve: Callable[..., Server]) -> None:
    sent = []

    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(b"HTTP/1.1 500 No\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            caller.say(b"x" * 0x10000)
            sent.append(0x10000)

    assert len(post(tool(), serve(talk)).body) == 4096
    assert sum(sent) < 30_000_000


def test_connections_are_kept(serve: Callable[..., Server]) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    server, http = serve(answering(OK, chunked, b"HTTP/1.1 204 No\r\n\r\n", OK)), tool()
    assert [post(http, server).status for _ in range(8)] == [200, 200, 204, 200, 200, 200, 200, 200]
    assert len(server.callers) == 1


def test_two_destinations_share_no_connection(serve: Callable[..., Server]) -> None:
    server, http = serve(answering(OK)), tool()
    for path in ("/one", "/two", "/one", "/two"):
        assert post(http, server, path).status == 200
    assert len(server.callers) == 2


@pytest.mark.parametrize("farewell", ["close", "reset"])
def test_a_kept_connection_that_was_closed_meanwhile_costs_no_attempt(
    serve: Callable[..., Server], farewell: str
) -> None:
    def talk(caller: Caller) -> None:
        while caller.hear():
            if caller.number == 0 and len(caller.requests) == 2:
                return caller.reset() if farewell == "reset" else caller.sock.close()
            caller.say(OK)
        return None

    server, http = serve(talk), tool()
    assert [post(http, server, "/", **{"Idempotency-Key": str(n)}).status for n in (1, 2)] == [200, 200]
    assert len(server.callers) == 2
    assert server.callers[0].requests[1] == server.callers[1].requests[0]


def test_a_kept_connection_closed_while_idle_is_replaced_unseen(serve: Callable[..., Server]) -> None:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(OK)

    server, http = serve(talk), tool()
    for number in range(3):
        assert post(http, server).status == 200
        wait_until(lambda number=number: server.callers[number].sock.fileno() == -1)  # type: ignore[misc]
    assert len(server.requests) == 3


def test_a_new_connection_that_is_closed_is_not_tried_again(serve: Callable[..., Server]) -> None:
    server = serve(lambda caller: bool(caller.hear()) and caller.reset())
    assert post(tool(), server) == Answer(None, trouble=Trouble.CONNECTION)
    assert len(server.requests) == 1


def test_a_kept_connection_that_breaks_within_an_answer_is_not_tried_again(serve: Callable[..., Server]) -> None:
    def talk(caller: Caller) -> None:
        while caller.hear():
            if len(caller.requests) == 2:
                caller.say(b"HTTP/1.1 20")
                return
            caller.say(OK)

    server, http = serve(talk), tool()
    assert post(http, server).status == 200
    assert post(http, server).status is None
    assert len(server.requests) == 2


def test_a_connection_lost_after_the_status_is_still_an_answer(serve: Callable[..., Server]) -> None:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nok")
        caller.reset()

    assert post(tool(), serve(talk)) == Answer(200)


def silent(caller: Caller) -> None:
    caller.hear()
    caller.sock.recv(1)


def dribbling(start: bytes, drop: bytes) -> Talk:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(start)
        while True:
            time.sleep(0.05)
            caller.say(drop)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        silent,
        dribbling(b"", b"H"),
        dribbling(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dribbling(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"),
        dribbling(b"HTTP/1.1 103 Early Hints\r\n", b"X: y\r\n"),
    ],
)
def test_a_tool_that_never_comes_to_a_verdict_is_left_in_time(serve: Callable[..., Server], talk: Talk) -> None:
    answer, seconds = timed(lambda: post(tool(0.4), serve(talk)))
    assert answer.status is None
    assert answer.trouble in (Trouble.TIMEOUT, Trouble.CONNECTION)
    assert seconds < 3


def with_headers(status: int, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d Said" % status, *headers, b"Content-Length: 0", b"", b""])


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("headers", [[b"X: y"] * 120, [b"X: " + b"y" * 70_000], [b"X" * 5_000_000]])
def test_a_status_is_the_verdict_however_many_and_long_the_headers_are(
    serve: Callable[..., Server], status: int, headers: list[bytes]
) -> None:
    server, http = serve(answering(with_headers(status, *headers))), tool()
    assert [post(http, server) for _ in range(2)] == [Answer(status)] * 2
    assert len(server.callers) == len(server.requests) == 2


@pytest.mark.parametrize("end", ["close", "reset", "dribble"])
def test_a_status_is_the_verdict_though_its_headers_never_end(serve: Callable[..., Server], end: str) -> None:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(b"HTTP/1.1 200 OK\r\nX: ")
        while end == "dribble":
            time.sleep(0.05)
            caller.say(b"y")
        if end == "reset":
            caller.reset()

    answer, seconds = timed(lambda: post(tool(0.4), serve(talk)))
    assert answer == Answer(200)
    assert seconds < 3


@pytest.mark.parametrize("interim", [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 102 On It\r\n\r\n"])
def test_each_request_gets_its_own_answer_though_others_come_before_it(
    serve: Callable[..., Server], interim: bytes
) -> None:
    def talk(caller: Caller) -> None:
        for final in (OK, failing(b"no"), OK):
            caller.hear()
            caller.say(interim + interim)
            time.sleep(0.05)
            caller.say(interim + final)

    server, http = serve(talk), tool()
    assert [post(http, server).status for _ in range(3)] == [200, 422, 200]
    assert len(server.callers) == 1


def test_a_connection_that_is_lost_before_the_final_answer_has_none(serve: Callable[..., Server]) -> None:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    assert post(tool(), serve(talk)) == Answer(None, trouble=Trouble.CONNECTION)


def test_a_connection_that_speaks_something_else_from_now_on_is_not_kept(serve: Callable[..., Server]) -> None:
    server, http = serve(answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")), tool()
    assert [post(http, server).status for _ in range(2)] == [101, 101]
    assert len(server.callers) == 2


def test_a_silent_tool_is_a_time_out(serve: Callable[..., Server]) -> None:
    assert post(tool(0.3), serve(silent)) == Answer(None, trouble=Trouble.TIMEOUT)


def test_a_tool_that_dribbles_its_body_has_answered(serve: Callable[..., Server]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
    answer, seconds = timed(lambda: post(tool(0.4), serve(dribbling(head, b"x"))))
    assert answer == Answer(200)
    assert seconds < 3


def test_a_tool_that_reads_nothing_is_left_in_time(serve: Callable[..., Server]) -> None:
    server = serve(lambda caller: time.sleep(20))
    http = tool(0.4)
    answer, seconds = timed(lambda: http.post(f"http://127.0.0.1:{server.port}/", {}, b"x" * 30_000_000))
    assert answer == Answer(None, trouble=Trouble.TIMEOUT)
    assert seconds < 3


@pytest.mark.parametrize(
    "head", [b"Content-Length: 50000000", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip"]
)
def test_no_more_of_a_huge_body_is_read_than_needed(serve: Callable[..., Server], head: bytes) -> None:
    sent = []

    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        piece = (b"fff0\r\n" + b"x" * 0xFFF0 + b"\r\n") if b"chunked" in head else b"x" * 0x10000
        for _ in range(500):
            caller.say(piece)
            sent.append(len(piece))

    server, http = serve(talk), tool()
    assert post(http, server) == Answer(200)
    assert post(http, server) == Answer(200)
    assert len(server.callers) == 2
    assert sum(sent) < 30_000_000
    assert LARGEST_ANSWER < 100_000


@pytest.mark.parametrize(
    "said",
    [
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"\0" * 100_000,
        b"",
    ],
)
def test_what_is_no_http_is_no_answer(serve: Callable[..., Server], said: bytes) -> None:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.say(said)

    assert post(tool(2.0), serve(talk)).status is None


def test_nobody_there_is_a_connection_trouble() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert tool().post(url, {}, BODY) == Answer(None, trouble=Trouble.CONNECTION)


@pytest.mark.parametrize("url", ["", "ftp://example.com/", "http://", "http:///x", "http://[::1", "/x", "http://\x00/"])
def test_what_is_no_url_raises_nothing(url: str) -> None:
    assert tool().post(url, {}, BODY).status is None


def test_a_header_that_no_request_can_hold_raises_nothing(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    assert post(tool(), server, "/", X="a\r\nB: c").status is None
    assert server.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve: Callable[..., Server], status: int) -> None:
    secret = serve(answering(OK))
    where = f"HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:{secret.port}/\r\nContent-Length: 0\r\n\r\n"
    assert post(tool(), serve(answering(where.encode()))).status == status
    assert secret.callers == []


# Addresses


def resolving(*rounds: list[str]) -> Callable[..., list[tuple[Any, ...]]]:
    """A resolver that answers differently each time, as one does that is after our inside."""
    asked = []

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        addresses = rounds[min(len(asked), len(rounds)) - 1]
        return [entry for address in addresses for entry in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)]

    return resolve


LOCAL_NAMES = [
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "localhost",
    "0.0.0.0",
    "0",
    "[::]",
    "[::ffff:7f00:1]",
]


@pytest.mark.parametrize("host", LOCAL_NAMES)
def test_this_machine_is_not_called_whatever_it_is_called(serve: Callable[..., Server], host: str) -> None:
    server = serve(answering(OK))
    answer = tool(allow_loopback=False).post(f"http://{host}:{server.port}/", {}, BODY)
    assert answer == Answer(None, trouble=Trouble.BLOCKED_ADDRESS)
    assert server.callers == []


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "fd00:ec2::254", "fe80::1", "0.0.0.0"]
)
def test_a_name_that_resolves_to_a_private_address_is_not_called_even_on_the_local_hub(address: str) -> None:
    http = tool(resolve=resolving([address]))
    assert http.post("http://innocent.example.com/", {}, BODY) == Answer(None, trouble=Trouble.BLOCKED_ADDRESS)


def test_the_address_that_was_judged_is_the_one_that_is_called(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    resolve = resolving(["127.0.0.1"], ["10.0.0.1"])
    assert tool(resolve=resolve).post(f"http://rebinding.example.com:{server.port}/", {}, BODY) == Answer(200)
    assert f"Host: rebinding.example.com:{server.port}".encode() in server.requests[0]


def test_a_name_that_turns_private_later_is_judged_anew(serve: Callable[..., Server]) -> None:
    def once(caller: Caller) -> None:
        caller.hear()
        caller.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    server = serve(once)
    http = tool(resolve=resolving(["127.0.0.1"], ["169.254.169.254"]))
    url = f"http://rebinding.example.com:{server.port}/"
    assert http.post(url, {}, BODY) == Answer(200)
    assert http.post(url, {}, BODY) == Answer(None, trouble=Trouble.BLOCKED_ADDRESS)


def test_of_several_addresses_only_those_allowed_are_called(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    http = tool(resolve=resolving(["10.0.0.1", "127.0.0.1"]))
    assert http.post(f"http://mixed.example.com:{server.port}/", {}, BODY) == Answer(200)


def test_an_address_that_refuses_gives_way_to_the_next(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    http = tool(resolve=resolving(["::1", "127.0.0.1"]))
    assert http.post(f"http://two.example.com:{server.port}/", {}, BODY) == Answer(200)


def test_an_ipv6_address_is_called_by_its_own_name(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK), family=socket.AF_INET6)
    assert tool().post(f"http://[::1]:{server.port}/", {}, BODY) == Answer(200)
    assert f"Host: [::1]:{server.port}".encode() in server.requests[0]


def test_a_name_that_does_not_exist_is_a_trouble_of_names() -> None:
    def resolve(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(-2, "Name or service not known")

    assert tool(resolve=resolve).post("http://nowhere.example.com/", {}, BODY) == Answer(None, trouble=Trouble.DNS)


def test_a_name_server_that_hangs_is_left_in_time() -> None:
    let_go = threading.Event()

    def resolve(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        let_go.wait(20)
        return []

    http = tool(0.3, resolve=resolve)
    answer, seconds = timed(lambda: http.post("http://slow.example.com/", {}, BODY))
    let_go.set()
    assert answer == Answer(None, trouble=Trouble.DNS)
    assert seconds < 3


def test_a_name_server_that_hangs_for_one_host_answers_for_the_others(serve: Callable[..., Server]) -> None:
    server, let_go = serve(answering(OK)), threading.Event()
    asked: list[str] = []

    def resolve(host: str, *given: Any, **named: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        if host == "hangs.example.com":
            let_go.wait(20)
        return socket.getaddrinfo("127.0.0.1", *given, **named)

    http = tool(0.5, resolve=resolve)
    answers: list[Answer] = []

    def ask() -> None:
        answers.append(http.post(f"http://hangs.example.com:{server.port}/", {}, BODY))

    threads = [threading.Thread(target=ask) for _ in range(70)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answer.trouble for answer in answers) == {Trouble.DNS: 4, Trouble.NO_ROOM: 66}
    assert asked == ["hangs.example.com"] * 4
    assert http.post(f"http://healthy.example.com:{server.port}/", {}, BODY) == Answer(200)
    let_go.set()
    wait_until(lambda: http.post(f"http://hangs.example.com:{server.port}/", {}, BODY) == Answer(200))


def test_a_host_may_have_more_connections_than_questions(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))

    def resolve(host: str, *given: Any, **named: Any) -> list[tuple[Any, ...]]:
        time.sleep(0.05)
        return socket.getaddrinfo("127.0.0.1", *given, **named)

    http = tool(60.0, resolve=resolve)
    url = f"http://slow.example.com:{server.port}/"
    with ThreadPoolExecutor(10) as threads:
        assert list(threads.map(lambda _: http.post(url, {}, BODY), range(10))) == [Answer(200)] * 10


def test_a_proxy_of_the_environment_is_not_asked(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server, proxy = serve(answering(OK)), serve(answering(OK))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert post(tool(), server) == Answer(200)
    assert proxy.callers == []


# TLS


def certificate(folder: Path, name: str, days: int = 1) -> tuple[ssl.SSLContext, str]:
    """(the server's side, path of the certificate) for a certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{abs(hash((name, days)))}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    side.load_cert_chain(path)
    return side, str(path)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def trusting(path: str) -> Callable[[], ssl.SSLContext]:
    return lambda: ssl.create_default_context(cafile=path)


def test_tls_is_verified_by_name_though_an_address_is_called(serve: Callable[..., Server], tmp_path: Path) -> None:
    side, path = certificate(tmp_path, "tool.example.com")
    names: list[str | None] = []
    side.sni_callback = lambda _, name, __: names.append(name)
    server = serve(answering(OK), tls=side)
    http = tool(resolve=resolving(["127.0.0.1"]), tls=trusting(path))
    url = f"https://tool.example.com:{server.port}/hook"
    assert [http.post(url, {}, BODY) for _ in range(3)] == [Answer(200)] * 3
    assert (len(server.callers), names) == (1, ["tool.example.com"])


@pytest.mark.parametrize(
    ("name", "days", "trusts"),
    [("other.example.com", 1, True), ("tool.example.com", -1, True), ("tool.example.com", 1, False)],
)
def test_a_certificate_that_does_not_hold_ends_the_request(
    serve: Callable[..., Server], tmp_path: Path, name: str, days: int, trusts: bool
) -> None:
    side, path = certificate(tmp_path, name, days)
    server = serve(answering(OK), tls=side)
    given = {"tls": trusting(path)} if trusts else {}
    http = tool(resolve=resolving(["127.0.0.1"]), **given)
    answer = http.post(f"https://tool.example.com:{server.port}/", {}, BODY)
    assert answer == Answer(None, trouble=Trouble.TLS)
    assert server.requests == []


def test_a_server_that_speaks_no_tls_is_a_trouble_of_tls(serve: Callable[..., Server]) -> None:
    def talk(caller: Caller) -> None:
        caller.sock.recv(100)
        caller.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = serve(talk)
    assert tool().post(f"https://127.0.0.1:{server.port}/", {}, BODY) == Answer(None, trouble=Trouble.TLS)


def test_a_handshake_that_hangs_is_left_in_time(serve: Callable[..., Server]) -> None:
    server = serve(lambda caller: time.sleep(20))
    answer, seconds = timed(lambda: tool(0.4).post(f"https://127.0.0.1:{server.port}/", {}, BODY))
    assert answer == Answer(None, trouble=Trouble.TIMEOUT)
    assert seconds < 3


def test_a_tool_that_dribbles_over_tls_is_left_in_time(serve: Callable[..., Server], tmp_path: Path) -> None:
    side, path = certificate(tmp_path, "127.0.0.1")
    server = serve(dribbling(b"HTTP/1.1 2", b"0"), tls=side)
    answer, seconds = timed(lambda: tool(0.6, tls=trusting(path)).post(f"https://127.0.0.1:{server.port}/", {}, BODY))
    assert answer.status is None
    assert seconds < 3


@pytest.mark.parametrize("farewell", ["close", "reset"])
def test_a_kept_tls_connection_that_was_closed_meanwhile_costs_no_attempt(
    serve: Callable[..., Server], tmp_path: Path, farewell: str
) -> None:
    def talk(caller: Caller) -> None:
        while caller.hear():
            if caller.number == 0 and len(caller.requests) == 2:
                return caller.reset() if farewell == "reset" else caller.sock.close()
            caller.say(OK)
        return None

    side, path = certificate(tmp_path, "127.0.0.1")
    server, http = serve(talk, tls=side), tool(tls=trusting(path))
    url = f"https://127.0.0.1:{server.port}/"
    assert [http.post(url, {}, BODY).status for _ in range(3)] == [200, 200, 200]
    assert len(server.callers) == 2


def test_many_threads_share_a_tool(serve: Callable[..., Server]) -> None:
    """Nothing is answered before all have connected; a machine that stalls for seconds is no fault of the tool."""

    def talk(caller: Caller) -> None:
        while caller.hear():
            wait_until(lambda: len(server.callers) >= 10)
            caller.say(OK)

    server, http = serve(talk), tool(60.0)
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(post(http, server) for _ in range(20))) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [Answer(200)] * 200
    assert len(server.callers) == 10


def test_old_pools_give_way_and_their_connections_are_closed(serve: Callable[..., Server]) -> None:
    server, http = serve(answering(OK)), tool()
    for number in range(70):
        assert post(http, server, f"/{number}") == Answer(200)
    assert len(http._lines) == 64
