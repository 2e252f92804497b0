"""Watch what the sink, or a source through the stream, receives."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from penstock.domain.run import decode_run
from penstock.local.cli_output import json_of, show
from penstock.local.home import ACCESS_KEY, REGION, SECRET_KEY, Home
from penstock.local.trouble import Trouble

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

LOOK_EVERY_S = 0.3
TIMEOUT_S = (5, 60)


def tail_sink(sink_url: str, path: str, count: int, from_start: bool, as_json: bool) -> None:
    """Print requests as they arrive; `count` 0 goes on until interrupted."""
    if not sink_url:
        raise Trouble("no sink is known: it belongs to a local hub")
    for row in bounded(rows_of(sink_url, path, from_start), count):
        show(json_of(row) if as_json else "{time} {path} {status} {body}".format(**row))


def rows_of(sink_url: str, path: str, from_start: bool) -> Iterator[dict[str, Any]]:
    after = 0 if from_start else int(ask_sink(sink_url, {"after": str(2**62)}).headers["Penstock-Arrived"])
    while True:
        query = {"after": str(after), **({"path": path} if path else {})}
        answer = ask_sink(sink_url, query)
        after = int(answer.headers["Penstock-Arrived"])
        yield from answer.json()
        time.sleep(LOOK_EVERY_S)


def ask_sink(sink_url: str, query: dict[str, str]) -> requests.Response:
    try:
        answer = requests.get(f"{sink_url}/received", params=query, timeout=TIMEOUT_S)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise Trouble(f"the sink at {sink_url} does not answer ({type(error).__name__})") from error
    return answer


def tail_source(home: Home, stream: str, source: str, count: int, as_json: bool) -> None:
    """Print a source's events as the stream of the local cloud has them."""
    if not stream:
        raise Trouble("no hub is running here: a source is watched on the local cloud's stream")
    for event in bounded(events_of(home, stream, source), count):
        show(json_of(event) if as_json else f"{event['receivedAt']} {json_of(event['event'])}")


def events_of(home: Home, stream: str, source: str) -> Iterator[dict[str, Any]]:
    kinesis = boto3.client(
        "kinesis",
        endpoint_url=home.cloud_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3}),
    )
    try:
        positions = latest_of(kinesis, stream)
        while True:
            for shard, position in list(positions.items()):
                records = kinesis.get_records(ShardIterator=position)
                positions[shard] = records["NextShardIterator"]
                for record in records["Records"]:
                    yield from events_in(record["Data"], source)
            time.sleep(LOOK_EVERY_S)
    except (BotoCoreError, ClientError) as error:
        raise Trouble(f"the local cloud's stream cannot be read ({type(error).__name__})") from error


def latest_of(kinesis: KinesisClient, stream: str) -> dict[str, str]:
    """A position at the end of every shard."""
    return {
        shard["ShardId"]: kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
        )["ShardIterator"]
        for shard in kinesis.list_shards(StreamName=stream, MaxResults=1000)["Shards"]
    }


def events_in(record: bytes, source: str) -> Iterator[dict[str, Any]]:
    run = decode_run(record)
    if run.source == source:
        for event in run.events:
            yield {"receivedAt": run.received_at, "key": run.key, "event": json.loads(bytes(event))}


def bounded(items: Iterator[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    return islice(items, count) if count else items
