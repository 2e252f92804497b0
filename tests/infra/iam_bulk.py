"""What the two streams' fan-outs and the gatekeeper do for a source that is above its quota, all of it."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from typing import Any

import boto3
from msgspec import Raw

from penstock.adapters.home_table import NAMES_IN_ITEM
from penstock.adapters.quota_table import QuotaTable
from penstock.domain.run import Run, decode_run, encode_run
from penstock.wiring import fanout, gatekeeper

Json = dict[str, Any]
Call = Callable[..., Any]
LOW = {"PENSTOCK_WORKSPACE_QUOTA": "1", "PENSTOCK_SOURCE_QUOTA": "1"}


def bulk(call: Call, control: Call, made: Json, record: Json, kinesis: str) -> None:
    """Runs that are carried, held, sent and bring their key home; a source that is told to move, and back.

    `kinesis` is the endpoint at which calls that no botocore hook hears are noted.
    """
    live, other = record["eventSourceARN"], record["eventSourceARN"].replace("-events", "-bulk")
    tapped = {"AWS_ENDPOINT_URL_KINESIS": kinesis, "AWS_ENDPOINT_URL_DYNAMODB": kinesis, **LOW}
    fanout.given.cache_clear()

    def fan_out(function: str, *records: Json, anew: bool = True) -> list[Json]:
        if anew:
            fanout.ports.cache_clear()
        failures: list[Json] = call(function, {"Records": list(records)}, **tapped)["batchItemFailures"]
        for name in ("AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB"):
            del os.environ[name]
        return failures

    first = of_turn(record, live, 1, "kim", events=11, turn=2)  # of ten a window: its source has to be looked at
    fence = of_turn(record, live, 2, "kim", turn=3, fence=True)
    assert fan_out("fanout", first, fence) == []
    carried = of_turn(record, other, 3, "kim", turn=2, origin=id_of(first))
    held = of_turn(record, other, 5, "lou", turn=1)
    crowd = of_turn(record, other, 4, "crowd", events=501, bulk=True)
    answer = fan_out("fanout_bulk", of_turn(record, other, 2, "kim", turn=3), carried, crowd, garbage(held), held)
    assert answer == [{"itemIdentifier": held["kinesis"]["sequenceNumber"]}]
    short_lived = {"name": "Gone", "type": "webhook", "settings": {"url": "https://example.com"}}
    gone = control("POST", "/control/destinations", made["token"], short_lived | {"source_ids": [made["source"]["id"]]})
    assert fan_out("fanout_bulk", crowd) == []
    control("DELETE", "/control/destinations/{destination_id}", made["token"], destination_id=gone["id"])
    imported = of_turn(record, other, 6, "imp", bulk=True, everywhere=True)
    assert fan_out("fanout_bulk", imported, anew=False) == []
    hot = [of_turn(record, live, 100 + number, "hot", turn=2) for number in range(NAMES_IN_ITEM + 1)]
    for batch in (hot[:-1], hot[-1:], hot[-1:]):  # the last is noted beside the others, and found there
        assert fan_out("fanout", *batch) == []
    assert fan_out("fanout_bulk", of_turn(record, other, 300, "hot", turn=2, origin=id_of(hot[0]))) == []
    moved(call, control, made)


def id_of(record: Json) -> str:
    return f"shardId-000000000000-{record['kinesis']['sequenceNumber']}"


def moved(call: Call, control: Call, made: Json) -> None:
    gatekeeper.given.cache_clear()
    gatekeeper.quota_ports.cache_clear()
    workspace, source = made["token"].split(".")[1], made["source"]["id"]
    usage = QuotaTable(boto3.client("dynamodb"), "penstock-dev-quotas", time.time)
    usage.add(workspace, source, 100, None)
    body = json.dumps({"workspace": workspace, "destination": source})
    call("gatekeeper", {"Records": [{"body": body}]}, PENSTOCK_SETTLES_S="-1000", **LOW)
    (mode,) = {each["mode"] for each in control("GET", "/control/quotas", made["token"])["sources"]} - {"live"}
    assert mode == "to_bulk"
    usage.mark(workspace, "src_gone00000000")
    call("gatekeeper", {"tick": True})


def of_turn(
    record: Json, stream: str, number: int, key: str, events: int = 1, everywhere: bool = False, **given: Any
) -> Json:
    """A record of a stream; one for a fence has no events."""
    run = decode_run(base64.b64decode(record["kinesis"]["data"]))
    plain = {"type": "track", "event": "Crowd", "integrations": {"All": everywhere}}
    raw = [Raw(json.dumps(plain | {"messageId": f"{key}-{number}-{n}"}).encode()) for n in range(events)]
    other = Run(run.v, run.workspace, run.source, key, run.received_at, [] if "fence" in given else raw, **given)
    sequence_number = f"{int(record['kinesis']['sequenceNumber']) + 100 + number}"
    kinesis = {"data": base64.b64encode(encode_run(other)).decode(), "sequenceNumber": sequence_number}
    moved = {"eventSourceARN": stream, "eventID": f"shardId-000000000000:{sequence_number}"}
    return record | moved | {"kinesis": record["kinesis"] | kinesis}


def garbage(record: Json) -> Json:
    return record | {"kinesis": record["kinesis"] | {"data": base64.b64encode(b"garbage").decode()}}
