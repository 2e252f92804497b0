"""A destination's first import, through the real handlers and their wiring, on moto."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from msgspec.structs import replace

from functions.fanout.handler import handler as fan_out
from penstock.adapters.chores import chore_in
from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.gate import Gate, Mapped, Pool
from tests.control_api import REGION
from tests.gatekeeper_cloud import book, cloud_with_gatekeeper, tend
from tests.handlers.test_pipeline import Cloud, Context, kinesis_event


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_with_gatekeeper() as made:
        yield made


def take_import(cloud: Cloud) -> None:
    run = replace(cloud.run(1), bulk=True)
    assert fan_out(kinesis_event(run), Context()) == {"batchItemFailures": []}


def mapping(cloud: Cloud) -> Any:
    """(state, name of the function) of the mapping of its queue for imports."""
    lambdas = boto3.client("lambda", region_name=REGION)
    (found,) = [
        each
        for each in lambdas.list_event_source_mappings()["EventSourceMappings"]
        if each["EventSourceArn"].endswith(f"{cloud.destination}-import.fifo")
    ]
    return found["State"], found["FunctionArn"].rpartition(":")[2]


def chores() -> list[tuple[str, str]]:
    sqs = boto3.client("sqs", region_name=REGION)
    url = sqs.get_queue_url(QueueName="penstock-test-chores")["QueueUrl"]
    return [chore_in(each["Body"]) for each in sqs.receive_message(QueueUrl=url).get("Messages", [])]


def test_the_mapping_is_made_off_and_switched_on_by_the_chore_that_fan_out_sent(cloud: Cloud) -> None:
    take_import(cloud)
    assert mapping(cloud) == ("Disabled", "penstock-test-deliver")
    assert chores() == [(cloud.tenant.id, cloud.destination)]
    tend(cloud)
    assert mapping(cloud)[0] == "Enabled"


def test_a_paused_destinations_stays_off_and_a_slow_ones_goes_to_the_slow_function(cloud: Cloud) -> None:
    assert cloud.tenant.call("POST", f"/control/destinations/{cloud.destination}/pause").status == 200
    take_import(cloud)
    tend(cloud)
    assert mapping(cloud)[0] == "Disabled"
    paused = book().read(cloud.tenant.id, cloud.destination)
    slow = Gate(pool=Pool.SLOW, mapped=Mapped(False))
    book().save(cloud.tenant.id, cloud.destination, paused, slow)
    tend(cloud)
    assert mapping(cloud) == ("Enabled", "penstock-test-deliver_slow")


def test_a_destination_that_has_only_imports_is_probed_with_them(cloud: Cloud) -> None:
    take_import(cloud)
    noted = book().read(cloud.tenant.id, cloud.destination)
    closed = moves.closed(noted, gates.FAILING, time.time() - gates.FIRST_PROBE_S)
    book().save(cloud.tenant.id, cloud.destination, noted, closed)
    cloud.tool.status = 503
    tend(cloud)
    assert [json.loads(body)["properties"]["n"] for _, body in cloud.tool.received] == [1]
    assert book().read(cloud.tenant.id, cloud.destination).probes == 1
