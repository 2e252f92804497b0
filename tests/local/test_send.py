"""A file of events goes through the front door in its order, and what was refused is named by its line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aiohttp import BasicAuth, web
from hypothesis import given
from hypothesis import strategies as st

from penstock.local import send as sending
from penstock.local.send import Report, batches_of, lines_of, send
from penstock.local.trouble import Trouble
from tests.local.local_servers import served


class Hub:
    """Answers as collect does: refuses events without a user, and whatever `trouble` says first."""

    def __init__(self, *trouble: web.Response) -> None:
        self.batches: list[list[dict]] = []
        self.keys: list[str] = []
        self._trouble = list(trouble)

    async def take(self, request: web.Request) -> web.Response:
        self.keys.append(BasicAuth.decode(request.headers["Authorization"]).login)
        if self._trouble:
            return self._trouble.pop(0)
        batch = (await request.json())["batch"]
        self.batches.append(batch)
        rejected = [
            {"index": index, "messageId": None, "code": "missing_identifier", "message": "no userId"}
            for index, event in enumerate(batch)
            if "userId" not in event
        ]
        if len(rejected) == len(batch):
            return web.json_response({"success": False, "rejected": rejected}, status=400)
        return web.json_response({"success": True, "accepted": len(batch) - len(rejected), "rejected": rejected})


@contextmanager
def hub_at(hub: Hub) -> Iterator[str]:
    app = web.Application()
    app.router.add_post("/v1/batch", hub.take)
    with served(app) as url:
        yield url


def events(count: int) -> list[bytes]:
    return [json.dumps({"type": "track", "event": "E", "userId": "u", "n": n}).encode() + b"\n" for n in range(count)]


def no_pause(_: float) -> None:
    return None


def test_every_event_arrives_once_in_the_order_of_the_file() -> None:
    hub = Hub()
    with hub_at(hub) as url:
        report = send(events(1_201), url, "key")
    assert report == Report(accepted=1_201)
    assert [event["n"] for batch in hub.batches for event in batch] == list(range(1_201))
    assert [len(batch) for batch in hub.batches] == [500, 500, 201]
    assert set(hub.keys) == {"key"}


def test_what_is_refused_is_named_by_its_line() -> None:
    file = [b'{"userId": "u"}\n', b"\n", b"{broken\n", b'["no object"]\n', b'{"event": "nobody"}\n', b'{"userId": "u"}']
    with hub_at(Hub()) as url:
        report = send(file, url, "key")
    assert report.accepted == 2
    assert [(one.line, one.code) for one in report.rejected] == [
        (3, "invalid_json"),
        (4, "invalid_event"),
        (5, "missing_identifier"),
    ]


def test_a_batch_refused_whole_but_event_by_event_does_not_end_the_file() -> None:
    with hub_at(Hub()) as url:
        report = send([b'{"event": "nobody"}\n'], url, "key")
    assert (report.accepted, [one.line for one in report.rejected]) == (0, [1])


def test_a_hub_that_is_busy_is_asked_again_when_it_said() -> None:
    pauses: list[float] = []
    busy = web.json_response({}, status=503, headers={"Retry-After": "3"})
    hub = Hub(busy, web.json_response({}, status=429))
    with hub_at(hub) as url:
        report = send(events(1), url, "key", pauses.append)
    assert report.accepted == 1
    assert pauses == [3.0, 0.5]


def test_an_unknown_write_key_is_one_clear_line() -> None:
    refusal = web.json_response({"success": False, "code": "unknown_write_key", "message": "no such key"}, status=401)
    with hub_at(Hub(refusal)) as url, pytest.raises(Trouble, match="line 1 on with 401: no such key"):
        send(events(1), url, "key")


def test_a_hub_that_is_gone_is_one_clear_line() -> None:
    with hub_at(Hub()) as url:
        pass
    with pytest.raises(Trouble, match="took nothing from line 1 on after 8 tries"):
        send(events(1), url, "key", no_pause)


@given(sizes=st.lists(st.integers(2, 200_000), max_size=12))
def test_batches_keep_the_order_and_their_limits(sizes: list[int]) -> None:
    report = Report()
    file = [b'"' + b"x" * (size - 2) + b'"' for size in sizes]
    objects = [b'{"a":' + text + b"}" for text in file]
    batches = list(batches_of(lines_of(objects, report)))
    assert [line.number for batch in batches for line in batch] == list(range(1, len(sizes) + 1))
    assert all(sum(len(line.text) for line in batch) <= sending.MAX_BYTES for batch in batches)
    assert all(0 < len(batch) <= sending.MAX_EVENTS for batch in batches)


@pytest.mark.parametrize("make", [lambda: b"x" * 500_000, lambda: b"[" * 200_000])
def test_a_line_that_no_hub_would_take_is_not_sent(make: Callable[[], bytes]) -> None:
    report = Report()
    assert list(lines_of([make()], report)) == []
    assert [one.code for one in report.rejected] == ["invalid_json"]
