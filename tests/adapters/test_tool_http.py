"""HTTP to customers' endpoints, against servers on loopback that behave as badly as servers do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from penstock.adapters.tool_http import LARGEST_ANSWER
from penstock.domain.delivery import Answer, Trouble
from tests.tool_servers import BODY, OK, Caller, Server, Talk, answering, dribbling, failing, post, timed, tool


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


def silent(caller: Caller) -> None:
    caller.hear()
    caller.sock.recv(1)


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


def test_a_silent_tool_is_a_time_out(serve: Callable[..., Server]) -> None:
    assert post(tool(0.3), serve(silent)) == Answer(None, trouble=Trouble.TIMEOUT)


def test_a_request_may_have_a_time_of_its_own(serve: Callable[..., Server]) -> None:
    server = serve(silent)
    url = f"http://127.0.0.1:{server.port}/hook"
    answer, seconds = timed(lambda: tool(60.0).post(url, {}, BODY, 0.3))
    assert answer == Answer(None, trouble=Trouble.TIMEOUT)
    assert seconds < 30


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


def test_a_proxy_of_the_environment_is_not_asked(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server, proxy = serve(answering(OK)), serve(answering(OK))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert post(tool(), server) == Answer(200)
    assert proxy.callers == []
