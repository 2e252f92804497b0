"""Names and their addresses: which are called, and what a name server that hangs costs."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock.domain.delivery import Answer, Trouble
from tests.tool_servers import BODY, OK, Caller, Server, answering, resolving, timed, tool, wait_until

# Addresses


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
