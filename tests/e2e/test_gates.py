"""A destination's gate on the whole hub: it closes, is probed, opens; and nothing is lost or out of order."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.running_hub import Pipe, RunningHub, numbers, track
from tests.e2e.waiting import wait_for

USERS = 5


def gate(running: RunningHub, pipe: Pipe) -> dict[str, Any]:
    return running.control.get(f"/control/destinations/{pipe.destinations[0]['id']}/gate")


def act(running: RunningHub, pipe: Pipe, what: str) -> dict[str, Any]:
    return running.control.post(f"/control/destinations/{pipe.destinations[0]['id']}/{what}", {})


def wait_for_state(running: RunningHub, pipe: Pipe, state: str, within_s: float) -> None:
    wait_for(f"a gate that is {state}", lambda: gate(running, pipe)["state"] == state, within_s)


def in_order(arrived: list[dict[str, Any]], each: int) -> bool:
    return all(numbers(arrived, f"user-{user}") == list(range(each)) for user in range(USERS))


def test_a_destination_that_is_down_is_closed_and_drains_within_two_minutes_of_its_recovery(
    running: RunningHub,
) -> None:
    pipe = running.new_pipe()
    running.behave(pipe.path, status=503)
    for number in range(3):
        pipe.post(*[track(f"user-{user}", number) for user in range(USERS)])
    wait_for_state(running, pipe, "closed", within_s=60)
    assert gate(running, pipe)["reason"] == "failing"
    time.sleep(3)  # for batches in flight, and the mapping
    asked = len(running.received(pipe.path))
    pipe.post(*[track(f"user-{user}", 3) for user in range(USERS)])
    time.sleep(10)
    assert len(running.received(pipe.path)) - asked <= 12  # one probe
    running.behave(pipe.path)
    recovered = time.monotonic()
    arrived = pipe.wait_for_events(4 * USERS, within_s=120)
    assert time.monotonic() - recovered < 120
    assert in_order(arrived, 4)
    assert gate(running, pipe)["state"] == "open"
    log = running.control.get("/control/audit?limit=50")["audit"]
    mine = [entry["action"] for entry in log if entry["target"] == pipe.destinations[0]["id"]]
    assert mine[:2] == ["gate.opened", "gate.closed"]


def test_a_destination_that_refuses_its_credentials_is_closed_and_tried_at_once_when_it_is_resumed(
    running: RunningHub,
) -> None:
    pipe = running.new_pipe()
    running.behave(pipe.path, status=401)
    pipe.post(*[track(f"user-{user}", 0) for user in range(USERS)])
    wait_for_state(running, pipe, "closed", within_s=20)
    assert gate(running, pipe)["reason"] == "credentials"
    running.behave(pipe.path)
    act(running, pipe, "resume")
    assert in_order(pipe.wait_for_events(USERS, within_s=90), 1)


def test_a_paused_destination_gets_nothing_and_everything_once_it_is_resumed(running: RunningHub) -> None:
    pipe = running.new_pipe()
    assert act(running, pipe, "pause")["state"] == "paused"
    time.sleep(2)  # what deliver knows of a gate is a little old
    pipe.post(*[track(f"user-{user}", number) for number in range(3) for user in range(USERS)])
    time.sleep(20)
    assert running.received(pipe.path) == []
    assert gate(running, pipe)["state"] == "paused"
    assert act(running, pipe, "resume")["state"] == "open"
    assert in_order(pipe.wait_for_events(3 * USERS, within_s=90), 3)
