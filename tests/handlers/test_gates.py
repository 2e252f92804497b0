"""Pausing, resuming and looking at a destination's gate, through the control API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.adapters.chores import chore_in
from penstock.adapters.gate_table import GateTable
from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.gate import Gate
from tests.control_api import Tenant, control_cloud, tenant

NOW = 1_790_000_000.0
Client = Callable[[str], Any]


@pytest.fixture
def client() -> Iterator[Client]:
    with control_cloud() as made:
        yield made


@pytest.fixture
def acme(client: Client) -> Tenant:
    return tenant()


def book(client: Client) -> GateTable:
    return GateTable(client("dynamodb"), "penstock-test-gates", lambda: NOW)


def chores(client: Client) -> list[tuple[str, str]]:
    arn = os.environ["PENSTOCK_CHORES_QUEUE_ARN"]
    url = client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    found = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [chore_in(each["Body"]) for each in found]


def actions(acme: Tenant) -> list[tuple[str, str]]:
    log = acme.call("GET", "/control/audit").body["audit"]
    return [(entry["action"], entry["actor"]) for entry in log if entry["action"].startswith("destination.")]


def test_a_new_destinations_gate_is_open(acme: Tenant) -> None:
    gate = acme.call("GET", f"/control/destinations/{acme.destination()['id']}/gate").body
    assert gate == {
        "state": "open",
        "reason": None,
        "since": None,
        "pool": "fast",
        "strikes": 0,
        "next_probe_at": None,
    }


def test_a_destination_is_paused_with_a_reason_and_resumed_and_both_are_entered(acme: Tenant, client: Client) -> None:
    one = f"/control/destinations/{acme.destination()['id']}"
    paused = acme.call("POST", f"{one}/pause", {"reason": "the shop moves"})
    assert (paused.status, paused.body["state"], paused.body["reason"]) == (200, "paused", "the shop moves")
    assert acme.call("GET", f"{one}/gate").body == paused.body
    resumed = acme.call("POST", f"{one}/resume")
    assert (resumed.status, resumed.body["state"], resumed.body["reason"]) == (200, "open", None)
    (last, actor), (first, _), *_ = actions(acme)
    assert (first, last) == ("destination.paused", "destination.resumed")
    assert actor.startswith("tok_")


def test_a_pause_needs_no_body_and_no_reason(acme: Tenant) -> None:
    one = f"/control/destinations/{acme.destination()['id']}"
    assert acme.call("POST", f"{one}/pause").body["reason"] == "paused"
    assert acme.call("POST", f"{one}/pause", {}).status == 200


@pytest.mark.parametrize("body", [{"reason": ""}, {"reason": "x" * 201}, {"reason": 1}, {"other": "x"}, []])
def test_a_pause_refuses_what_it_does_not_know(acme: Tenant, body: Any) -> None:
    answer = acme.call("POST", f"/control/destinations/{acme.destination()['id']}/pause", body)
    assert answer.status == 400


def test_the_gatekeeper_is_told_of_a_pause_and_of_a_resumption(acme: Tenant, client: Client) -> None:
    made = acme.destination()
    acme.call("POST", f"/control/destinations/{made['id']}/pause")
    assert chores(client) == [(acme.id, made["id"])]
    acme.call("POST", f"/control/destinations/{made['id']}/resume")
    assert chores(client) == [(acme.id, made["id"])]
    gate = book(client).read(acme.id, made["id"])
    assert [(change.before, change.after) for change in gate.untold] == [("open", "paused"), ("paused", "open")]


def test_resuming_a_gate_that_closed_by_itself_has_it_probed_at_once(acme: Tenant, client: Client) -> None:
    made = acme.destination()
    closed = replace(moves.closed(Gate(), gates.FAILING, NOW), next_probe_at=4e9)
    book(client).save(acme.id, made["id"], Gate(), closed)
    answer = acme.call("POST", f"/control/destinations/{made['id']}/resume").body
    assert (answer["state"], answer["reason"]) == ("closed", "failing")
    assert book(client).read(acme.id, made["id"]).next_probe_at < 4e9  # type: ignore[operator]
    assert chores(client) == [(acme.id, made["id"])]


def test_a_paused_gate_stays_paused_whatever_its_settings_are_changed_to(acme: Tenant) -> None:
    one = f"/control/destinations/{acme.destination()['id']}"
    acme.call("POST", f"{one}/pause")
    for enabled in (False, True):
        acme.call("PATCH", one, {"enabled": enabled})
    assert acme.call("GET", f"{one}/gate").body["state"] == "paused"


def test_a_deleted_destinations_gate_is_nobodys(acme: Tenant) -> None:
    one = f"/control/destinations/{acme.destination()['id']}"
    acme.call("POST", f"{one}/pause")
    assert acme.call("DELETE", one).status == 204
    assert acme.call("GET", f"{one}/gate").status == 404
    assert acme.call("POST", f"{one}/pause").status == 404
