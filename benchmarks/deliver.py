"""Deliveries: the CPU of one request as deliver makes it, beside `requests`; then the steps alone, without network.

`requests` is given body and headers ready made and keeps its connection; ours makes them of the job's bytes, signs
twice, and posts. The tool is a small server in a process of its own, so that the CPU time which counts is the client's.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from multiprocessing.queues import Queue
from typing import Any

import requests

from benchmarks import corpus
from benchmarks.report import Row, compared, within
from benchmarks.timing import rates
from penstock.adapters.tool_http import ToolHttp
from penstock.domain import webhook
from penstock.domain.delivery import Answer, Patience
from penstock.domain.gate import Gate
from penstock.domain.run import Run
from penstock.domain.signature import SigningSecret
from penstock.domain.webhook import Webhook
from penstock.steps.deliver import UNLIMITED, Ports, deliver
from penstock.steps.fan_out import Record
from penstock.steps.settle import Batch
from tests.builders_pipeline import DESTINATION, job_of, message, record_of, run_of, url_of
from tests.fakes_pipeline import Inline
from tests.fan_out_works import Works

EVENTS, ROUNDS = 300, 11
REQUESTED = 3.33  # a request for 0.3 of the CPU that `requests` takes
DELIVER_US, FAN_OUT_US = 200.0, 200.0  # of one core, for one event
AT = datetime(2026, 11, 23, 16, 0, 1, tzinfo=UTC)
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"success":true}'
SIGNING = SigningSecret("whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def run() -> list[Row]:
    context = multiprocessing.get_context("spawn")
    ports: Queue[int] = context.Queue()
    tool = context.Process(target=_serve, args=(ports,), daemon=True)
    tool.start()
    try:
        url = f"http://127.0.0.1:{ports.get(timeout=60)}/hook"
        found = rates({"ours": _ours(url), "requests": _with_requests(url)}, ROUNDS)
    finally:
        tool.terminate()
    return [
        compared("deliver: one request", "requests", REQUESTED, "requests/CPU s", found["ours"], found["requests"]),
        within("deliver: a batch of ten, no network, per event", _microseconds(_batches()), DELIVER_US, "CPU µs"),
        within("fan_out with dedup, no network, per event", _microseconds(_fan_outs), FAN_OUT_US, "CPU µs"),
    ]


def settings(url: str) -> Webhook:
    return Webhook(True, url, {"X-Team": "growth"}, "a secret", signing_secrets=(SIGNING,))


def runs() -> list[Run]:
    """Runs of one event each, as most browsers send them."""
    return [run_of(each, key=each["anonymousId"]) for each in corpus.events(EVENTS)]


def _ours(url: str) -> Callable[[], int]:
    tool, to, each = ToolHttp(10.0, allow_loopback=True), settings(url), runs()

    def contender() -> int:
        for one in each:
            made = webhook.request_for(one, one.events[0], to, AT.timestamp())
            assert made is not None
            assert tool.post(made.url, made.headers, made.body).status == 200
        return EVENTS

    return contender


def _with_requests(url: str) -> Callable[[], int]:
    session = requests.Session()
    made = [webhook.request_for(one, one.events[0], settings(url), AT.timestamp()) for one in runs()]

    def contender() -> int:
        for one in made:
            assert one is not None
            assert session.post(one.url, data=one.body, headers=one.headers, timeout=10).status_code == 200
        return EVENTS

    return contender


class Quiet:
    """Every port of deliver but the tool: a healthy destination, and stores that take everything."""

    def __init__(self) -> None:
        self._settings = settings("https://example.com/hook")

    def get(self, *_: Any) -> Any:
        return self._settings

    def post(self, *_: Any) -> Answer:
        return Answer(200)

    def lease(self, *_: Any) -> Any:
        return UNLIMITED

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class OpenGates:
    def get(self, *_: Any) -> Gate:
        return Gate()


def _batches() -> Callable[[], int]:
    quiet = Quiet()
    messages = [message(job_of(each, number)) for number, each in enumerate(runs())]
    batches = [Batch(DESTINATION, url_of(DESTINATION), messages[first : first + 10]) for first in range(0, EVENTS, 10)]
    ports = Ports(
        destinations=quiet,
        gates=OpenGates(),
        watch=quiet,
        rate=quiet,
        tool=quiet,
        progress=quiet,
        queue=quiet,
        letters=quiet,
        receipts=quiet,
        threads=ThreadPoolExecutor(10),
        now=lambda: AT,
        seconds=time.monotonic,
        chance=lambda: 0.5,
        patience=Patience(4.0, 10.0),
    )

    def contender() -> int:
        return sum(deliver(each, ports, lambda: True).delivered for each in batches)

    return contender


def _fan_outs() -> int:
    """Three batches of a hundred records, each of one event that one destination wants; memory for every store."""
    works = Works(threads=Inline())
    records = _records()
    for first in range(0, EVENTS, 100):
        works.fan_out(*records[first : first + 100])
    assert len(works.queues.queues[url_of(DESTINATION)].held) == EVENTS
    return EVENTS


@cache
def _records() -> list[Record]:
    return [record_of(each, number) for number, each in enumerate(runs())]


def _microseconds(contender: Callable[[], int]) -> float:
    return 1e6 / statistics.median(rates({"ours": contender}, ROUNDS)["ours"])


def _serve(ports: Queue[int]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ports.put(listener.getsockname()[1])
    while True:
        caller, _ = listener.accept()
        threading.Thread(target=_answer, args=(caller,), daemon=True).start()


def _answer(caller: socket.socket) -> None:
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    heard = b""
    while more := caller.recv(65536):
        heard += more
        head, found, body = heard.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0) if found else 1
        if found and len(body) >= length:
            heard = body[length:]
            caller.sendall(ANSWER)
