"""Connections to customers' endpoints: kept, shared, lost, and whose answer is whose."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from penstock.domain.delivery import Answer, Trouble
from tests.tool_servers import OK, Caller, Server, answering, failing, post, tool, wait_until


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
