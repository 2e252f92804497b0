"""AWS on loopback for what speaks HTTP itself: moto's server, empty for each test that asks for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

from penstock import tables
from penstock.adapters.aws_wire import AwsWire
from penstock.domain.sigv4 import Signer

REGION = "us-east-1"
STREAM = "penstock-test-events"
BULK_STREAM = "penstock-test-bulk"
STREAM_ARN = f"arn:aws:kinesis:{REGION}:{DEFAULT_ACCOUNT_ID}:stream/{STREAM}"
BULK_STREAM_ARN = f"arn:aws:kinesis:{REGION}:{DEFAULT_ACCOUNT_ID}:stream/{BULK_STREAM}"
CONFIG_TABLE = "penstock-test-config"


@cache
def _client(url: str, service: str) -> Any:
    return boto3.client(service, endpoint_url=url, region_name=REGION)


class Cloud(NamedTuple):
    url: str

    def client(self, service: str) -> Any:
        return _client(self.url, service)

    def wire(self, service: str) -> AwsWire:
        return AwsWire(self.url, Signer("testing", "testing", None, REGION, service))

    def make_stream(self, name: str = STREAM, shards: int = 4) -> None:
        self.client("kinesis").create_stream(StreamName=name, ShardCount=shards)

    def make_config_table(self) -> None:
        keys = [(tables.CONFIG.partition_key, "HASH"), (tables.CONFIG.sort_key, "RANGE")]
        self.client("dynamodb").create_table(
            TableName=CONFIG_TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        )

    def records(self, stream: str = STREAM) -> list[dict[str, Any]]:
        """All that a stream holds, shard by shard, each shard in order."""
        kinesis = self.client("kinesis")
        found = []
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            place = kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )
            found += kinesis.get_records(ShardIterator=place["ShardIterator"], Limit=10_000)["Records"]
        return found

    def events(self, stream: str = STREAM) -> list[dict[str, Any]]:
        """All events in a stream's runs, each with its run's `key` and shared context."""
        runs = [json.loads(record["Data"]) for record in self.records(stream)]
        return [{**event, "_run": run} for run in runs for event in run["events"]]


@contextmanager
def moto_cloud() -> Iterator[Cloud]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    cloud = Cloud(f"http://{host}:{port}")
    try:
        yield cloud
    finally:
        for service in ("kinesis", "dynamodb"):
            cloud.client(service).close()
        _client.cache_clear()
        server.stop()


def emptied(cloud: Cloud) -> Cloud:
    """The same server with nothing in it."""
    urlopen(Request(f"{cloud.url}/moto-api/reset", method="POST"), timeout=10).close()
    return cloud


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """The process's environment with these, and afterwards as it was."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
