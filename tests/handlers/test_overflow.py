"""Jobs that wait outside their queue, through the real handlers and their wiring, on moto."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from msgspec.structs import replace

from functions.fanout.handler import handler as fan_out
from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.gate import Gate, GateState
from penstock.domain.overflow import Limits
from penstock.wiring import fanout as fanout_wiring
from tests.control_api import REGION, Json
from tests.gatekeeper_cloud import book, cloud_with_gatekeeper, tend
from tests.handlers.test_pipeline import Cloud, Context, kinesis_event

SHALLOW = Limits(deep=2, asked_every=0, most_waiting=1)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_with_gatekeeper() as made:
        yield made


def waiting(cloud: Cloud) -> int:
    stored = boto3.client("dynamodb", region_name=REGION).scan(TableName="penstock-test-overflow")["Items"]
    return sum(1 for item in stored if "body" in item)


def health(cloud: Cloud) -> Json:
    found: Json = cloud.tenant.call("GET", f"/control/destinations/{cloud.destination}/health").body
    return found


def work_off(cloud: Cloud) -> None:
    while records := cloud.received():
        assert cloud.deliver(records) == []


def fill(cloud: Cloud, count: int) -> None:
    """A user's events, record by record, into a queue that is soon deep."""
    fanout_wiring.ports().spill._limits = SHALLOW  # type: ignore[attr-defined]
    for number in range(1, count + 1):
        assert fan_out(kinesis_event(cloud.run(number), first=number), Context()) == {"batchItemFailures": []}


def test_what_a_deep_queue_should_not_hold_waits_outside_it_and_comes_back_in_order(cloud: Cloud) -> None:
    fill(cloud, 8)
    outside = waiting(cloud)
    assert outside == 5
    assert health(cloud)["queued"] == 8
    assert fan_out(kinesis_event(cloud.run(9, key="grace"), first=9), Context()) == {"batchItemFailures": []}
    work_off(cloud)
    assert tend(cloud).state is GateState.OPEN
    assert waiting(cloud) == 0
    fan_out(kinesis_event(cloud.run(10), first=10), Context())
    work_off(cloud)
    assert [number for number in cloud.tool.numbers if number != 9] == [1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert (cloud.books.accepted, cloud.books.delivered, health(cloud)["queued"]) == (10, 10, 0)


def test_a_gate_that_is_shut_for_long_has_its_queue_parked_and_is_probed_with_what_is_put_back(cloud: Cloud) -> None:
    for number in range(1, 4):
        fan_out(kinesis_event(cloud.run(number), first=number), Context())
    closed = replace(moves.closed(Gate(), gates.FAILING, 0.0), next_probe_at=0.0)
    book().save(cloud.tenant.id, cloud.destination, Gate(), closed)
    assert tend(cloud).has_parked
    assert (cloud.received(), waiting(cloud), health(cloud)["queued"]) == ([], 3, 3)
    parked = book().read(cloud.tenant.id, cloud.destination)
    book().save(cloud.tenant.id, cloud.destination, parked, replace(parked, next_probe_at=0.0))
    assert tend(cloud).state is GateState.OPEN
    work_off(cloud)
    assert cloud.tool.numbers == [1, 2, 3]
    assert waiting(cloud) == 0
