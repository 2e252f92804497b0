"""The sink: what is posted to it can be read back, and it fails or crawls when told to."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Invalid
from penstock.local.sink import sink_app
from penstock.local.sink_rows import Behaviours, Row, Rows
from tests.local.local_servers import served


@pytest.fixture
def sink() -> Iterator[str]:
    with served(sink_app()) as url:
        yield url


def received(sink: str, path: str | None = None) -> list[dict]:
    answer = requests.get(f"{sink}/received", params={"path": path} if path else {}, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def test_what_is_posted_is_read_back_in_order_of_arrival(sink: str) -> None:
    for n in range(5):
        assert requests.post(f"{sink}/x", data=f"body {n}", headers={"X-Number": str(n)}, timeout=5).status_code == 200
    rows = received(sink, "/x")
    assert [row["body"] for row in rows] == [f"body {n}" for n in range(5)]
    assert [row["headers"]["X-Number"] for row in rows] == list("01234")
    assert all(set(row) == {"time", "path", "status", "headers", "body"} and row["status"] == 200 for row in rows)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_a_path_is_exact(sink: str) -> None:
    for path in ("/x", "/x/", "/x/y", "/X", "/a%20b", "/received", "/"):
        requests.post(sink + path, data=path, timeout=5)
    assert [row["body"] for row in received(sink, "/x")] == ["/x"]
    assert [row["body"] for row in received(sink, "/a b")] == ["/a%20b"]
    assert [row["body"] for row in received(sink, "/received")] == ["/received"]
    assert len(received(sink)) == 7


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET"])
def test_other_methods_are_recorded_too(sink: str, method: str) -> None:
    assert requests.request(method, f"{sink}/other", timeout=5).status_code == 200
    assert len(received(sink, "/other")) == 1


def test_nothing_has_arrived_at_first(sink: str) -> None:
    assert received(sink) == []


def test_a_body_in_chunks_a_binary_one_and_a_large_one_arrive(sink: str) -> None:
    packed = gzip.compress(b"{}")
    requests.post(f"{sink}/x", data=iter([b"in ", b"pieces"]), timeout=5)
    requests.post(f"{sink}/x", data=packed, headers={"Content-Encoding": "gzip", "X-Odd": b"\xff"}, timeout=5)
    requests.post(f"{sink}/x", data=b"x" * 9_000_000, timeout=30)
    assert requests.post(f"{sink}/x", data=b"x" * 11_000_000, timeout=30).status_code == 413
    bodies = [row["body"] for row in received(sink, "/x")]
    assert bodies == ["in pieces", packed.decode("utf-8", "replace"), "x" * 9_000_000]


def test_a_path_fails_as_often_as_it_was_told_and_no_other_does(sink: str) -> None:
    order = {"path": "/x", "status": 503, "retry_after": 7, "times": 2}
    assert requests.post(f"{sink}/behave", json=order, timeout=5).status_code == 200
    answers = [requests.post(f"{sink}/x", timeout=5) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["7", "7", None]
    assert requests.post(f"{sink}/y", timeout=5).status_code == 200
    assert [row["status"] for row in received(sink, "/x")] == [503, 503, 200]


def test_a_path_fails_until_it_is_replaced(sink: str) -> None:
    requests.post(f"{sink}/behave", json={"path": "/x", "status": 500}, timeout=5)
    assert [requests.post(f"{sink}/x", timeout=5).status_code for _ in range(3)] == [500, 500, 500]
    requests.post(f"{sink}/behave", json={"path": "/x", "status": 429}, timeout=5)
    assert requests.post(f"{sink}/x", timeout=5).status_code == 429
    requests.post(f"{sink}/behave", json={"path": "/x"}, timeout=5)
    assert requests.post(f"{sink}/x", timeout=5).status_code == 200


def test_a_path_fails_every_other_time(sink: str) -> None:
    requests.post(f"{sink}/behave", json={"path": "/x", "status": 429, "every": 2}, timeout=5)
    assert [requests.post(f"{sink}/x", timeout=5).status_code for _ in range(4)] == [200, 429, 200, 429]


def test_a_path_crawls_and_holds_up_no_other(sink: str) -> None:
    requests.post(f"{sink}/behave", json={"path": "/slow", "delay_ms": 600}, timeout=5)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(requests.post, f"{sink}/slow", timeout=5)
        while not received(sink, "/slow"):
            assert time.monotonic() - began < 5
        requests.post(f"{sink}/fast", timeout=5)
        assert time.monotonic() - began < 0.6
        assert slow.result().status_code == 200
    assert time.monotonic() - began >= 0.6
    assert [row["path"] for row in received(sink)] == ["/slow", "/fast"]


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body(sink: str, status: int) -> None:
    requests.post(f"{sink}/behave", json={"path": "/x", "status": status}, timeout=5)
    assert requests.post(f"{sink}/x", timeout=5).status_code == status


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (b"no json", None),
        (b"[]", None),
        (b"{}", "path"),
        (b'{"path": "x"}', "path"),
        (b'{"path": "/x", "status": 99}', "status"),
        (b'{"path": "/x", "status": "500"}', "status"),
        (b'{"path": "/x", "status": true}', "status"),
        (b'{"path": "/x", "delay_ms": -1}', "delay_ms"),
        (b'{"path": "/x", "delay_ms": Infinity}', "delay_ms"),
        (b'{"path": "/x", "times": 0.5}', "times"),
        (b'{"path": "/x", "times": NaN}', "times"),
        (b'{"path": "/x", "every": 0}', "every"),
        (b'{"path": "/x", "retry_after": -1}', "retry_after"),
        (b'{"path": "/x", "retry_after": "a\\r\\nb"}', "retry_after"),
        (b'{"path": "/x", "delay": 5}', "delay"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_by_its_field(sink: str, order: bytes, field: str | None) -> None:
    answer = requests.post(f"{sink}/behave", data=order, timeout=5)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"code", "message", "field"}
    assert answer.json()["error"]["field"] == field
    assert requests.post(f"{sink}/x", timeout=5).status_code == 200


def test_what_is_forgotten_is_gone_and_the_rest_stays(sink: str) -> None:
    for path in ("/x", "/y", "/x"):
        requests.post(sink + path, timeout=5)
    assert requests.delete(f"{sink}/received?path=/x", timeout=5).json() == {"forgotten": 2}
    assert [row["path"] for row in received(sink)] == ["/y"]
    assert requests.delete(f"{sink}/received", timeout=5).ok
    assert received(sink) == []


def test_a_reader_can_go_on_where_it_stopped(sink: str) -> None:
    requests.post(f"{sink}/x", data="1", timeout=5)
    arrived = requests.get(f"{sink}/received", timeout=5).headers["Penstock-Arrived"]
    requests.post(f"{sink}/x", data="2", timeout=5)
    later = requests.get(f"{sink}/received", params={"after": arrived}, timeout=5)
    assert [row["body"] for row in later.json()] == ["2"]
    assert requests.get(f"{sink}/received?after=x", timeout=5).status_code == 400


def row(path: str, body: str) -> Row:
    return Row(
        time="2026-01-01T00:00:00.000Z", path=path, status=200, headers={"Content-Type": "text/plain"}, body=body
    )


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_kept_and_read_at_once() -> None:
    rows = Rows()
    for n in range(100_000):
        rows.add(row("/x", f"{n:06d}" + "x" * 1_000))
    with served(sink_app(rows)) as sink:
        found = received(sink, "/x")
    assert [int(one["body"][:6]) for one in found] == list(range(100_000))


@given(
    bodies=st.lists(st.sampled_from(["", "a", "b" * 50]), max_size=30),
    max_rows=st.integers(1, 10),
    max_bytes=st.integers(1, 2_000),
)
def test_past_its_bounds_the_oldest_rows_fall_out(bodies: list[str], max_rows: int, max_bytes: int) -> None:
    rows = Rows(max_rows, max_bytes)
    for n, body in enumerate(bodies):
        rows.add(row(f"/{n}", body))
    kept = [json.loads(one) for one in rows.received()]
    assert [one["path"] for one in kept] == [f"/{n}" for n in range(rows.fallen, len(bodies))]
    assert len(kept) <= max_rows
    assert len(kept) <= 1 or sum(len(one) for one in rows.received()) <= max_bytes
    assert len(kept) >= min(len(bodies), 1)


def test_no_more_paths_can_be_told_how_to_behave_than_are_bounded() -> None:
    behaviours = Behaviours(max_paths=2)
    behaviours.set({"path": "/1", "status": 500})
    behaviours.set({"path": "/2", "status": 500})
    with pytest.raises(Invalid, match="at most 2 paths"):
        behaviours.set({"path": "/3", "status": 500})
    behaviours.set({"path": "/1"})
    behaviours.set({"path": "/3", "status": 500})
