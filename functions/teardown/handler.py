"""The custom resource that guards a destroy: it refuses while something made at run time is left.

CloudFormation deletes it before the stacks that it stands for. It empties the buckets of the stage, and fails,
saying what is there and what to do, when a destination's queue or event source mapping still exists.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config

CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 3})
EMPTIED_WITHIN_S = 240.0  # of the five minutes that the function has
NAMED = 5


class SomethingLeft(Exception):
    """Resources of the stage's customers still exist."""


def handler(event: dict[str, Any], _context: object) -> None:
    """Answers CloudFormation at the URL that it gave, whatever happens."""
    reason = ""
    try:
        if event["RequestType"] == "Delete":
            clear_away(event["ResourceProperties"]["Buckets"], event["ResourceProperties"]["QueuePrefix"])
    except SomethingLeft as left:
        reason = str(left)
    except Exception as error:  # noqa: BLE001 - the outermost edge: unanswered, CloudFormation would wait for an hour
        reason = f"{type(error).__name__}: {error}"
    print(json.dumps({"message": event["RequestType"], "reason": reason}))  # noqa: T201
    answer(event, reason)


def clear_away(buckets: list[str], queue_prefix: str) -> None:
    """Raises `SomethingLeft`, naming it."""
    left = [*queues(queue_prefix), *mappings(queue_prefix)]
    if left:
        names = ", ".join(left[:NAMED]) + (" and more" if len(left) > NAMED else "")
        raise SomethingLeft(f"{len(left)} run-time resources are left: {names}. Run `make destroy`, which sweeps them")
    ends_at = time.monotonic() + EMPTIED_WITHIN_S
    for bucket in buckets:
        empty(bucket, ends_at)


def queues(prefix: str) -> list[str]:
    answer = _client("sqs").list_queues(QueueNamePrefix=prefix, MaxResults=1000)
    return [url.rsplit("/", 1)[-1] for url in answer.get("QueueUrls", [])]


def mappings(prefix: str) -> Iterator[str]:
    for page in _client("lambda").get_paginator("list_event_source_mappings").paginate():
        for found in page["EventSourceMappings"]:
            if found["EventSourceArn"].rpartition(":")[2].startswith(prefix) and found["State"] != "Deleting":
                yield f"mapping {found['UUID']}"


def empty(bucket: str, ends_at: float) -> None:
    """Delete every object and version, a page at a time. Raises `SomethingLeft` where that takes too long."""
    s3 = _client("s3")
    while time.monotonic() < ends_at:
        page = s3.list_object_versions(Bucket=bucket, MaxKeys=1000)
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not found:
            return
        keys = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    raise SomethingLeft(f"{bucket} holds more objects than can be deleted in one go: empty it, then destroy again")


def answer(event: dict[str, Any], reason: str) -> None:
    body = {
        "Status": "FAILED" if reason else "SUCCESS",
        "Reason": reason or "nothing is left",
        "PhysicalResourceId": event.get("PhysicalResourceId", "penstock-teardown"),
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    url = event["ResponseURL"]
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": ""}, method="PUT")  # noqa: S310
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310 - the URL is CloudFormation's own
        return


def _client(service: str) -> Any:
    return boto3.Session(region_name=os.environ["AWS_REGION"]).client(service, config=CONFIG)  # type: ignore[call-overload]
