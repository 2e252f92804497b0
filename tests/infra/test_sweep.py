"""What the control plane made at run time is swept before a destroy, whatever comes in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from infra import sweep
from infra.account import MakeClient
from infra.stages import stage
from infra.sweep import Clock, StillThere, let_control_plane_run
from tests.infra.moto_stage import DEV, destination, function, mapping, moto_clients, queue


class Time:
    """Time that passes only by waiting; at each pause something may happen."""

    def __init__(self, *happenings) -> None:
        self.seconds = 0.0
        self._happenings = list(happenings)
        self.clock = Clock(lambda: self.seconds, self._pause)

    def _pause(self, seconds: float) -> None:
        self.seconds += seconds
        if self._happenings:
            self._happenings.pop(0)()


@pytest.fixture
def client() -> Iterator[MakeClient]:
    with mock_aws():
        yield moto_clients()


@pytest.fixture
def deliver(client: MakeClient) -> str:
    function(client, "penstock-dev-control")
    return function(client, "penstock-dev-deliver")


def reserved(client: MakeClient) -> int | None:
    answer = client("lambda").get_function_concurrency(FunctionName="penstock-dev-control")
    return answer.get("ReservedConcurrentExecutions")


def left(client: MakeClient) -> list[str]:
    return [*sweep.queues(client, DEV), *sweep.mappings(client, DEV)]


def test_every_queue_and_mapping_of_the_stage_goes(client: MakeClient, deliver: str) -> None:
    for number in range(12):
        destination(client, DEV, f"dst_{number:012}", deliver)
    assert sweep.sweep(client, DEV, Time().clock, 0.0) == 24
    assert left(client) == []


def test_what_belongs_to_others_stays(client: MakeClient, deliver: str) -> None:
    other = stage("dev2", "us-east-1")
    kept = [destination(client, other, "dst_1", deliver)[0], queue(client, "somebody"), queue(client, "penstock-dev-x")]
    own = mapping(client, kept[1], deliver)
    destination(client, DEV, "dst_1", deliver)
    sweep.sweep(client, DEV, Time().clock, 0.0)
    assert set(client("sqs").list_queues()["QueueUrls"]) == set(kept)
    mappings = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert {found["UUID"] for found in mappings} >= {own}
    assert len(mappings) == 2


def test_the_control_plane_stands_still_before_anything_is_looked_for(client: MakeClient, deliver: str) -> None:
    sweep.sweep(client, DEV, Time().clock, 0.0)
    assert reserved(client) == 0


def test_a_queue_that_is_listed_late_is_swept_too_and_begins_the_wait_anew(client: MakeClient, deliver: str) -> None:
    time = Time(lambda: None, lambda: None, lambda: destination(client, DEV, "dst_late", deliver))
    assert sweep.sweep(client, DEV, time.clock, 60.0) == 2
    assert left(client) == []
    assert time.seconds >= 3 * sweep.LOOK_EVERY_S + 60.0


def test_nothing_is_waited_for_where_the_control_plane_is_gone(client: MakeClient) -> None:
    time = Time()
    queue(client, f"{DEV.queue_prefix}dst_1")
    assert sweep.sweep(client, DEV, time.clock, 60.0) == 1
    assert time.seconds == sweep.LOOK_EVERY_S


def test_what_never_goes_is_named(client: MakeClient, deliver: str) -> None:
    class Again(Time):
        def _pause(self, seconds: float) -> None:
            super()._pause(seconds * 100)
            queue(client, f"{DEV.queue_prefix}dst_{self.seconds:.0f}")

    queue(client, f"{DEV.queue_prefix}dst_0")
    with pytest.raises(StillThere, match=r"queue penstock-dev-d-dst_\d+\.fifo"):
        sweep.sweep(client, DEV, Again().clock, 0.0)


def test_a_deploy_lets_a_stopped_control_plane_run_again(client: MakeClient, deliver: str) -> None:
    sweep.stop_control_plane(client, DEV)
    let_control_plane_run(client, DEV)
    assert reserved(client) is None


def test_a_deploy_leaves_a_share_that_the_stage_gave_alone(client: MakeClient, deliver: str) -> None:
    client("lambda").put_function_concurrency(FunctionName="penstock-dev-control", ReservedConcurrentExecutions=7)
    let_control_plane_run(client, DEV)
    assert reserved(client) == 7


def test_a_deploy_without_a_control_plane_is_no_trouble(client: MakeClient) -> None:
    let_control_plane_run(client, DEV)
    assert left(client) == []
