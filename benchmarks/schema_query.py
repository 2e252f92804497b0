"""Queries of a hot event's schema while an import runs: 5,000 events of 300 paths stored, 200 readers at once.

The store is the local cloud in a process of its own, on the same two cores as readers and import. What one read of it
takes, alone and beside the import, is measured and printed apart: it is the local cloud's time, not DynamoDB's.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from benchmarks.report import Row, within
from penstock import tables
from penstock.adapters.schema_table import SchemaTable
from penstock.domain.schema_counts import BEGINNING, Count
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_model import EventSchema, Place
from penstock.domain.schema_tree import INTEGER, KINDS, OBJECT, Node, Tally
from penstock.local import processes
from penstock.local.cloud import start_cloud, wait_until_ready
from penstock.local.home import ACCESS_KEY, REGION, SECRET_KEY, Home
from penstock.local.ports import free_port
from penstock.steps.look_up import LookUp
from penstock.steps.read_schema import VIEW, Asked, answer

PLACES, SCHEMAS, CHANGES = (f"bench-{table.name}" for table in (tables.PLACES, tables.SCHEMAS, tables.CHANGES))
EVENTS, PATHS = 5_000, 300
READERS, READS_EACH = 200, 50
FRESH_S, STALE_S = 0.2, 1.0  # as the control function has it
LIMIT_MS = 100.0
SHARD = "shardId-000000000000"
AT = "2026-11-23T16:00:00.000Z"
WORKSPACE, SOURCE = "ws_" + "a" * 12, "src_" + "q" * 12


def run() -> list[Row]:
    with store() as endpoint:
        schemas = SchemaTable(client(endpoint), SCHEMAS)
        fill(schemas)
        hot = Asked(key(0), "variant", VIEW)
        alone = timed(lambda: schemas.read(hot.key), 200)
        with importing(endpoint):
            beside = timed(lambda: schemas.read(hot.key), 100)
            whole = timed(lambda: answer(hot, schemas), 100)
            answers: LookUp[Asked, Any] = LookUp(lambda asked: answer(asked, schemas), FRESH_S, STALE_S, capacity=64)
            cold = concurrently(lambda: answers.get(hot))  # all of them wait for the first answer
            hundreds = concurrently(lambda: answers.get(hot))
    print(f"the store's own read, ms: alone p50 {at(alone, 50):.1f} p99 {at(alone, 99):.1f}, ", end="")
    print(f"beside the import p50 {at(beside, 50):.1f} p99 {at(beside, 99):.1f}")
    print(f"200 readers who all begin with nothing remembered: p99 {at(cold, 99):.1f} ms, most {max(cold):.1f} ms")
    print(f"200 readers: p50 {at(hundreds, 50):.2f} ms, p99 {at(hundreds, 99):.2f} ms, most {max(hundreds):.1f} ms")
    return [
        within("schema query p99, 200 readers of one event, import beside", at(hundreds, 99), LIMIT_MS, "ms"),
        within("schema query p99, the same with nothing remembered at first", at(cold, 99), LIMIT_MS, "ms"),
        within("schema query p99, one reader, nothing remembered, import beside", at(whole, 99), LIMIT_MS, "ms"),
        within("schema query p50, of which not the store's", at(whole, 50) - at(beside, 50), LIMIT_MS, "ms"),
    ]


def client(endpoint: str) -> Any:
    return get_session().create_client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(max_pool_connections=32, connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 2}),
    )


@contextmanager
def store() -> Iterator[str]:
    """The local cloud with the tables of schemas."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder), cloud_port=free_port())
        cloud = start_cloud(home)
        try:
            wait_until_ready(home, cloud)
            dynamodb = client(home.cloud_url)
            for name, table in ((PLACES, tables.PLACES), (SCHEMAS, tables.SCHEMAS), (CHANGES, tables.CHANGES)):
                keys = [(table.partition_key, "HASH"), (table.sort_key, "RANGE")]
                dynamodb.create_table(
                    TableName=name,
                    BillingMode="PAY_PER_REQUEST",
                    AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each, _ in keys],
                    KeySchema=[{"AttributeName": each, "KeyType": kind} for each, kind in keys],
                )
            yield home.cloud_url
        finally:
            processes.end(cloud)


@contextmanager
def importing(endpoint: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.schema_import", endpoint]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first batch is in
        try:
            yield
        finally:
            process.kill()


def fill(schemas: SchemaTable) -> None:
    places = tuple(
        Place(
            f"properties.section_{number % 10}.field_{number}",
            (KINDS[number % 6],),
            KINDS[number % 6],
            AT,
            {"string": f"section_{number % 10}_field_{number}"},
            (),
            (AT,),
        )
        for number in range(PATHS)
    )
    tree = Node({OBJECT: Tally(1, AT, "m", AT)}, {"properties": Node({OBJECT: Tally(1, AT, "m", AT)})})
    for number in range(10):
        section = tree.names["properties"].names[f"section_{number}"] = Node({OBJECT: Tally(1, AT, "m", AT)})
        section.names = {f"field_{n}": Node({INTEGER: Tally(n, AT, "m", AT)}) for n in range(number, PATHS, 10)}
    for number in range(EVENTS):
        schemas.publish(key(number), EventSchema("track", key(number).event, f"t{number}", 1, AT, places), "")
        schemas.save(key(number), SHARD, Count("2026-11-23", "1", tree), BEGINNING)


def key(number: int) -> EventKey:
    return EventKey(WORKSPACE, SOURCE, "track", f"Event {number}")


def timed(act: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append(1000 * (time.perf_counter() - began))
    return found


def concurrently(act: Callable[[], object]) -> list[float]:
    """Milliseconds of each read of all readers, who begin together and never pause."""
    found: list[list[float]] = [[] for _ in range(READERS)]
    begin = threading.Barrier(READERS)

    def read(mine: list[float]) -> None:
        begin.wait()
        mine += timed(act, READS_EACH)

    readers = [threading.Thread(target=read, args=(each,)) for each in found]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return [each for mine in found for each in mine]


def at(measured: list[float], percent: int) -> float:
    return statistics.quantiles(measured, n=100)[percent - 1]
