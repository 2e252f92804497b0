"""What the two streams' fan-outs and the gatekeeper do with jobs that wait outside their queues, all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import boto3

from penstock.adapters.gate_table import GateTable
from penstock.domain import gate
from penstock.domain import gate_moves as moves
from penstock.domain.overflow import Limits
from penstock.wiring import fanout, gatekeeper
from tests.infra.iam_bulk import of_turn

Json = dict[str, Any]
Call = Callable[..., Any]
SHALLOW = Limits(deep=0, asked_every=0, most_waiting=0)


def overflows(call: Call, control: Call, made: Json, record: Json, tap: str) -> None:
    """A destination whose queues are deep for both fan-outs, put back, released, parked; another that is deleted."""
    source, token = made["source"]["id"], made["token"]
    hook = {"name": "Deep", "type": "webhook", "source_ids": [source], "settings": {"url": "https://example.com"}}
    deep, gone = (control("POST", "/control/destinations", token, hook)["id"] for _ in range(2))
    live, bulk = record["eventSourceARN"], record["eventSourceARN"].replace("-events", "-bulk")
    tapped = {"AWS_ENDPOINT_URL_KINESIS": tap, "AWS_ENDPOINT_URL_DYNAMODB": tap}

    def fan_out(function: str, stream: str, number: int, **given: Any) -> None:
        several = of_turn(record, stream, number, "deep", everywhere=True, **given)
        assert call(function, {"Records": [several]}, **tapped) == {"batchItemFailures": []}
        for name in tapped:
            del os.environ[name]

    def fill() -> None:
        """From now on each queue is deep for a fan-out that starts cold, and each lane long."""
        fanout.ports.cache_clear()
        fanout.ports().spill._limits = SHALLOW  # type: ignore[attr-defined]

    for function, stream, first, given in (("fanout", live, 20, {}), ("fanout_bulk", bulk, 30, {"bulk": True})):
        fanout.ports.cache_clear()
        fan_out(function, stream, first, **given)
        fill()
        fan_out(function, stream, first + 1, **given)
    queued = control("GET", "/control/destinations/{destination_id}/health", token, destination_id=deep)["queued"]
    assert queued == 4, queued
    control("DELETE", "/control/destinations/{destination_id}", token, destination_id=gone)
    gatekeeper.ports.cache_clear()
    workspace = token.split(".")[1]
    records = [{"body": json.dumps({"workspace": workspace, "destination": each})} for each in (deep, gone)]
    call("gatekeeper", {"Records": records})
    fanout.ports.cache_clear()
    fan_out("fanout", live, 22)
    fan_out("fanout_bulk", bulk, 32, bulk=True)
    book = GateTable(boto3.client("dynamodb"), "penstock-dev-gates", lambda: 0.0)
    noted = book.read(workspace, deep)
    book.save(workspace, deep, noted, moves.closed(noted, gate.FAILING, 0.0))
    call("gatekeeper", {"Records": records[:1]})
    assert book.read(workspace, deep).has_parked
