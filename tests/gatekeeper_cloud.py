"""The cloud of the pipeline's handlers, with all that the gatekeeper needs besides."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from functions.gatekeeper.handler import handler as gatekeeper
from penstock.adapters.chores import chore_in
from penstock.adapters.gate_table import GateTable
from penstock.wiring import fanout as fanout_wiring
from penstock.wiring import gatekeeper as wiring
from tests.control_api import REGION, make_deliver
from tests.handlers.test_pipeline import Cloud, Context, cloud_of_its_own


@contextmanager
def cloud_with_gatekeeper() -> Iterator[Cloud]:
    with cloud_of_its_own() as made:
        chores = boto3.client("sqs", region_name=REGION).create_queue(QueueName="penstock-test-chores")["QueueUrl"]
        account = chores.split("/")[-2]
        boto3.client("events", region_name=REGION).create_event_bus(Name="penstock-test")
        os.environ.update(
            PENSTOCK_DELIVER_SLOW_FUNCTION_ARN=make_deliver("deliver_slow"),
            PENSTOCK_EVENT_BUS="penstock-test",
            PENSTOCK_CHORES_QUEUE_ARN=f"arn:aws:sqs:{REGION}:{account}:penstock-test-chores",
        )
        _forget_wiring()
        yield made
        _forget_wiring()


def _forget_wiring() -> None:
    ours = (wiring.ports, wiring._store, wiring._delivering, wiring.alert_ports, wiring.quota_ports, wiring.count_ports)
    for each in (wiring.given, *ours, fanout_wiring.ports):
        each.cache_clear()


def do(*chores: tuple[str, str]) -> None:
    """A batch of chores is done."""
    bodies = [json.dumps({"workspace": workspace, "destination": what}) for workspace, what in chores]
    answer = gatekeeper({"Records": [{"body": body} for body in bodies]}, Context())
    assert answer == {"batchItemFailures": []}


def wake() -> list[tuple[str, str]]:
    """The scheduler wakes the gatekeeper; the chores that it sends."""
    assert gatekeeper({"tick": True}, Context()) == {}
    return sent()


def sent() -> list[tuple[str, str]]:
    """The chores that wait."""
    sqs = boto3.client("sqs", region_name=REGION)
    url = sqs.get_queue_url(QueueName="penstock-test-chores")["QueueUrl"]
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [chore_in(each["Body"]) for each in found]


def tend(cloud: Cloud) -> Any:
    """What a chore has done; the gate then."""
    do((cloud.tenant.id, cloud.destination))
    return book().read(cloud.tenant.id, cloud.destination)


def book() -> GateTable:
    return GateTable(boto3.client("dynamodb", region_name=REGION), "penstock-test-gates", lambda: 0.0)
