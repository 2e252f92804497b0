"""The small client for AWS: one answer per call or `WireFailed`, in bounded time, over connections that are kept."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from penstock.adapters import aws_wire
from penstock.adapters.aws_wire import AwsWire, Reply, WireFailed
from penstock.domain.sigv4 import Signer
from tests.adapters.scripted_server import Answer, ScriptedServer, ok, raw

NOW = datetime(2026, 11, 23, 16, tzinfo=UTC)
SIGNER = Signer("access", "secret", "token", "us-east-1", "kinesis")


class Loopback:
    """Servers of a test and clients for them, all closed with it."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened

    def serve(self, *answers: Answer) -> ScriptedServer:
        server = ScriptedServer(*answers)
        self._opened.callback(server.close)
        return server

    def wire_to(self, url: str, read_timeout_s: float = 5.0, connect_timeout_s: float = 2.0) -> AwsWire:
        wire = AwsWire(url, SIGNER, lambda: NOW, connect_timeout_s, read_timeout_s)
        self._opened.callback(wire.close)
        return wire


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with ExitStack() as opened:
        yield Loopback(opened)


def test_a_call_is_a_signed_post(loopback: Loopback) -> None:
    server = loopback.serve(ok(b'{"a":1}'))
    assert loopback.wire_to(server.url).call("Kinesis_20131202.PutRecords", b"{body}") == Reply(200, b'{"a":1}')
    request = server.requests[0].decode().lower()
    host = server.url.removeprefix("http://")
    expected = SIGNER.headers(host, "Kinesis_20131202.PutRecords", b"{body}", "20261123T160000Z")
    assert request.startswith("post / http/1.1\r\n") and request.endswith("\r\n\r\n{body}")
    for name, value in expected.items():
        assert f"\r\n{name}: {value}\r\n".lower() in request
    assert request.count("\r\nhost:") == 1


def test_every_status_is_an_answer(loopback: Loopback) -> None:
    server = loopback.serve(ok(b"{}", 400), ok(b"", 503))
    wire = loopback.wire_to(server.url)
    assert [wire.call("T", b"").status, wire.call("T", b"").status] == [400, 503]


def test_a_connection_is_used_again_and_again(loopback: Loopback) -> None:
    server = loopback.serve(*[ok()] * 5)
    wire = loopback.wire_to(server.url)
    for _ in range(5):
        wire.call("T", b"{}")
    assert server.connections == 1


def test_an_answer_in_chunks_leaves_the_connection_in_use(loopback: Loopback) -> None:
    chunked = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", keep=True)
    server = loopback.serve(chunked, ok())
    wire = loopback.wire_to(server.url)
    assert [wire.call("T", b""), wire.call("T", b"")] == [Reply(200, b"{}")] * 2
    assert server.connections == 1


def test_a_connection_that_the_server_wants_closed_is_not_kept(loopback: Loopback) -> None:
    closing = raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    server = loopback.serve(closing, ok())
    wire = loopback.wire_to(server.url)
    assert [wire.call("T", b""), wire.call("T", b"")] == [Reply(200, b"{}")] * 2
    assert server.connections == 2


def test_a_connection_that_went_away_while_it_lay_idle_is_replaced_once(loopback: Loopback) -> None:
    gone_after = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    server = loopback.serve(gone_after, ok(b"[]"))
    wire = loopback.wire_to(server.url)
    wire.call("T", b"")
    assert wire.call("T", b"") == Reply(200, b"[]")
    assert (server.connections, len(server.requests)) == (2, 2)


def test_a_new_connection_that_goes_away_is_not_tried_again(loopback: Loopback) -> None:
    server = loopback.serve(raw(b""), ok())
    with pytest.raises(WireFailed):
        loopback.wire_to(server.url).call("T", b"")
    assert len(server.requests) == 1


def test_when_the_second_connection_goes_away_too_that_is_the_end(loopback: Loopback) -> None:
    server = loopback.serve(ok(), raw(b""), raw(b""), ok())
    wire = loopback.wire_to(server.url)
    wire.call("T", b"")
    with pytest.raises(WireFailed):
        wire.call("T", b"")
    assert len(server.requests) == 3
    assert wire.call("T", b"").status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (aws_wire.LARGEST_ANSWER + 1)
        + b" " * (aws_wire.LARGEST_ANSWER + 1),
    ],
    ids=["short body", "no body", "short chunk", "short head", "no http", "no status", "endless body"],
)
def test_a_part_of_an_answer_is_none_and_its_connection_is_not_kept(loopback: Loopback, answer: bytes) -> None:
    server = loopback.serve(raw(answer), ok())
    wire = loopback.wire_to(server.url)
    with pytest.raises(WireFailed):
        wire.call("T", b"")
    assert wire.call("T", b"") == Reply(200, b"{}")
    assert server.connections == 2


def test_a_service_that_does_not_answer_is_given_up_in_time(loopback: Loopback) -> None:
    server = loopback.serve()
    server.answers += [server.silent(), ok()]
    wire = loopback.wire_to(server.url, read_timeout_s=0.1)
    with pytest.raises(WireFailed):
        wire.call("T", b"")
    assert wire.call("T", b"").status == 200


def test_an_answer_may_take_longer_than_to_connect(loopback: Loopback) -> None:
    def late(connection: socket.socket, request: bytes) -> bool:
        threading.Event().wait(0.3)
        return ok()(connection, request)

    server = loopback.serve(late, late)
    wire = loopback.wire_to(server.url, read_timeout_s=10, connect_timeout_s=0.1)
    assert [wire.call("T", b""), wire.call("T", b"")] == [Reply(200, b"{}")] * 2


def test_a_kept_connection_that_does_not_answer_is_not_asked_twice(loopback: Loopback) -> None:
    server = loopback.serve(ok())
    server.answers += [server.silent(), ok()]
    wire = loopback.wire_to(server.url, read_timeout_s=0.1)
    wire.call("T", b"")
    with pytest.raises(WireFailed):
        wire.call("T", b"")
    assert len(server.requests) == 2


def test_a_port_that_nobody_listens_on_is_a_failure_that_names_it(loopback: Loopback) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(WireFailed, match=f"127.0.0.1:{port}"):
        loopback.wire_to(f"http://127.0.0.1:{port}").call("T", b"")


def test_a_server_that_never_accepts_is_given_up_in_time(loopback: Loopback) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with pytest.raises(WireFailed):
            loopback.wire_to(url, 0.1, 0.1).call("T", b"")


def test_what_speaks_no_tls_is_a_failure(loopback: Loopback) -> None:
    wire = loopback.wire_to(
        loopback.serve(raw(b"HTTP/1.1 400 X\r\n\r\n")).url.replace("http", "https"), connect_timeout_s=0.2
    )
    with pytest.raises(WireFailed):
        wire.call("T", b"")


def test_threads_share_connections_without_mixing_answers(loopback: Loopback) -> None:
    def echo(connection: socket.socket, request: bytes) -> bool:
        return ok(request.rpartition(b"\r\n\r\n")[2])(connection, request)

    server = loopback.serve(*[echo] * 64)
    wire = loopback.wire_to(server.url)
    found: dict[bytes, bytes] = {}

    def ask(thread: int) -> None:
        for turn in range(8):
            body = b"%d-%d" % (thread, turn)
            found[body] = wire.call("T", body).body

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 64 and all(body == answer for body, answer in found.items())
    assert server.connections <= 8
