"""What deduplication costs fan-out: a batch of a hundred runs looked up and claimed, beside the same calls by botocore.

DynamoDB is a small server in a process of its own, so that the CPU time which counts is that of the client alone.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.queues import Queue
from typing import Any

from msgspec import Raw

from benchmarks.report import Row, compared
from benchmarks.timing import rates
from penstock.adapters.aws_wire import AwsWire, WireFailed
from penstock.adapters.dedup_table import DedupTable
from penstock.domain.run import Run
from penstock.domain.sigv4 import Signer
from penstock.steps.claim import Arrived, arrived, claim, look

TABLE = "bench"
RUNS = 100
THREADS = 16
ARRIVED_AT, TODAY = 1_795_449_600.0, "2026-11-23"


class _Dynamo(BaseHTTPRequestHandler):
    """Nobody has claimed anything yet, and whoever claims gets it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "RequestItems" in request:
            answer: dict[str, Any] = {"Responses": {TABLE: []}, "UnprocessedKeys": {}}
        else:
            values = request["ExpressionAttributeValues"]
            names = request["ExpressionAttributeNames"].items()
            answer = {"Attributes": {name: values[":" + place[1:]] for place, name in names}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _serve(ports: Queue[int]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Dynamo)
    ports.put(server.server_port)
    server.serve_forever()


def run() -> list[Row]:
    context = multiprocessing.get_context("spawn")
    ports: Queue[int] = context.Queue()
    server = context.Process(target=_serve, args=(ports,), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{ports.get(timeout=60)}"
        with ThreadPoolExecutor(THREADS) as threads:
            found = rates({"ours": _ours(url, threads), "botocore": _botocore(url, threads)}, rounds=11)
    finally:
        server.terminate()
    return [compared("claim runs", "botocore", 2.0, "runs/CPU s", found["ours"], found["botocore"])]


def _runs() -> list[Arrived]:
    events = [json.dumps({"type": "track", "event": "E", "messageId": f"m-{n}"}).encode() for n in range(RUNS)]
    return [
        arrived(
            f"shardId-000000000000-{10**55 + n}",
            ARRIVED_AT,
            Run(1, "ws_aaaaaaaaaaaa", "src_aaaaaaaaaaaa", f"user-{n}", "2026-11-23T16:00:00.000Z", [Raw(event)]),
        )
        for n, event in enumerate(events)
    ]


def _ours(url: str, threads: ThreadPoolExecutor) -> Callable[[], int]:
    wire = AwsWire(url, Signer("bench", "bench", None, "us-east-1", "dynamodb"), idle=THREADS)
    store = DedupTable(wire, TABLE, (WireFailed,), lambda _: None)
    runs = _runs()

    def batch() -> int:
        assert all(each.kept == (0,) for each in claim(runs, look(runs, TODAY, store), store, threads))
        return RUNS

    return batch


def _botocore(url: str, threads: ThreadPoolExecutor) -> Callable[[], int]:
    """The same calls with the same parameters, and nothing around them."""
    from botocore.config import Config
    from botocore.session import get_session

    asked: list[tuple[str, dict[str, Any]]] = []
    client: Any = get_session().create_client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(max_pool_connections=THREADS),
    )

    class Noting:
        def __init__(self) -> None:
            self._wire = AwsWire(url, Signer("bench", "bench", None, "us-east-1", "dynamodb"))

        def call(self, target: str, body: bytes) -> tuple[int, bytes]:
            asked.append((target.rpartition(".")[2], json.loads(body)))
            return self._wire.call(target, body)

    store, runs = DedupTable(Noting(), TABLE, (WireFailed,), lambda _: None), _runs()
    claim(runs, look(runs, TODAY, store), store, threads)

    def batch() -> int:
        for operation, request in asked:
            if operation == "BatchGetItem":
                client.batch_get_item(**request)
        for each in [threads.submit(client.update_item, **request) for name, request in asked if name == "UpdateItem"]:
            each.result()
        return RUNS

    return batch
