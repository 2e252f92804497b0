"""The tracking API's hot path: a batch of 100 events, as API Gateway hands it over, to the bytes for Kinesis.

The peers do the same work with what most would take for it: parse the envelope, check the same headers of each event,
give it what is missing, gather by ordering key into one record each, and let boto3 serialise and sign PutRecords. None
of them sends anything: each gets the same canned answer in place of the network, once its request's bytes are made. The
envelope is parsed by the standard library for all: AWS's runtime does that, before any handler is asked.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import itertools
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks import corpus
from benchmarks.collect_peers import Boto3, Record, answer_to, with_orjson, with_pydantic
from benchmarks.report import Row, compared
from benchmarks.timing import rates
from functions.collect import handler as collect
from penstock.adapters.aws_wire import utc_now
from penstock.adapters.event_stream import KinesisStream
from penstock.domain import batch
from penstock.domain import envelope as envelopes
from penstock.domain.known_key import KnownKey
from penstock.domain.sigv4 import Signer
from penstock.domain.stream_record import StreamRecord, record_of
from penstock.steps.collect import Ports
from penstock.wiring.collect import new_id

EVENTS = 4_000
BATCH = 100
WORKSPACE, SOURCE, WRITE_KEY = "ws_" + "a" * 12, "src_" + "b" * 12, "a" * 12 + "k" * 24
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/penstock"
IP = "203.0.113.9"
Peer = Callable[[str], None]


def run() -> list[Row]:
    bodies = batches()
    envelopes = [json.dumps(envelope(body)) for body in bodies]
    gc.collect()
    gc.freeze()  # what the benches themselves hold is no garbage
    return [*_inner(bodies), *_whole(envelopes)]


def batches() -> list[str]:
    events = corpus.events(EVENTS)
    around = {"sentAt": "2024-06-10T06:13:20.300Z", "writeKey": WRITE_KEY}
    parts = iter(lambda: list(itertools.islice(events, BATCH)), [])
    return [json.dumps({"batch": part, **around}, separators=(",", ":")) for part in parts]


def envelope(body: str) -> dict[str, Any]:
    """The payload-2.0 event of an HTTP API."""
    return {
        "version": "2.0",
        "routeKey": "POST /v1/batch",
        "rawPath": "/v1/batch",
        "rawQueryString": "",
        "headers": {
            "authorization": "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode(),
            "content-type": "application/json",
            "content-length": str(len(body)),
            "host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "user-agent": "analytics-python/2.4.0",
            "x-forwarded-for": IP,
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "http": {"method": "POST", "path": "/v1/batch", "protocol": "HTTP/1.1", "sourceIp": IP, "userAgent": "x"},
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /v1/batch",
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": False,
    }


def _inner(bodies: list[str]) -> list[Row]:
    """A body to the stream's records, against only decoding it."""
    texts = [body.encode() for body in bodies]
    origin = batch.Origin(WORKSPACE, SOURCE, datetime.now(UTC), IP, new_id)

    def ours() -> int:
        for text in texts:
            for each in batch.sort(envelopes.opened(envelopes.inflated(text), None), origin).runs:
                record_of(each)
        return EVENTS

    def orjson_alone() -> int:
        for text in texts:
            orjson.loads(text)
        return EVENTS

    found = rates({"ours": ours, "orjson": orjson_alone})
    bench = "collect: validate, enrich, encode"
    return [compared(bench, "orjson.loads alone", 1.2, "events/s", found["ours"], found["orjson"])]


def _whole(envelopes: list[str]) -> list[Row]:
    """The whole body: the envelope's text in, a signed PutRecords out."""
    boto3 = Boto3(STREAM)
    peers: dict[str, tuple[float, Callable[[dict[str, Any]], list[Record]]]] = {
        "pydantic + boto3": (4.0, with_pydantic),
        "orjson + boto3": (3.0, with_orjson),
    }

    def whole(prepared: Callable[[dict[str, Any]], list[Record]]) -> Peer:
        return lambda text: boto3.put(prepared(json.loads(text)))

    contenders = {"ours": _ours()} | {name: whole(prepared) for name, (_, prepared) in peers.items()}

    def over_all(peer: Peer) -> Callable[[], int]:
        def contender() -> int:
            for text in envelopes:
                peer(text)
            return EVENTS

        return contender

    with contextlib.redirect_stderr(io.StringIO()):
        found = rates({name: over_all(peer) for name, peer in contenders.items()})
    return [
        compared(f"collect: whole body, against {peer}", peer, target, "events/s", found["ours"], found[peer])
        for peer, (target, _) in peers.items()
    ]


class Unsent:
    """Makes each call's request, signature and all, and answers in place of the network."""

    def __init__(self) -> None:
        self.records = 0
        self.sent = b""
        self._signer = Signer("AKIDEXAMPLE", "secret", "token" * 40, "us-east-1", "kinesis")

    def call(self, target: str, body: bytes) -> tuple[int, bytes]:
        timestamp = utc_now().strftime("%Y%m%dT%H%M%SZ")
        headers = self._signer.headers("kinesis.us-east-1.amazonaws.com", target, body, timestamp)
        headers["content-length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.sent = f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body
        return 200, answer_to(self.records)


class Stream(KinesisStream):
    """Tells the canned wire how many records it would see: looking for them in the body is no work of ours."""

    def __init__(self, wire: Unsent) -> None:
        super().__init__(wire, STREAM, (OSError,))
        self._unsent = wire

    def request(self, records: Sequence[StreamRecord]) -> bytes:
        self._unsent.records = len(records)
        return super().request(records)


class Known:
    """A warm Lambda's memory of the one write key."""

    def get(self, key: str) -> KnownKey | None:
        return KnownKey(WORKSPACE, SOURCE, True) if key == WRITE_KEY else None


def _ours() -> Peer:
    """The real handler, with these ports in place of those that the environment would give it."""
    ports = Ports(Known(), Stream(Unsent()), Stream(Unsent()), lambda: datetime.now(UTC), new_id)
    collect.ports = lambda: ports

    def peer(text: str) -> None:
        answer = collect.handler(json.loads(text), None)
        assert answer["statusCode"] == 200, answer

    return peer
