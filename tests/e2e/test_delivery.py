"""From a real library to a webhook: everything arrives, each user's in order, and one that fails holds up no other."""

from __future__ import annotations

import hashlib
import hmac
import time

import requests

from tests.e2e.running_hub import RunningHub, numbers, send_by_library, track
from tests.e2e.waiting import wait_for


def test_a_thousand_events_of_fifty_users_arrive_each_users_in_order(running: RunningHub) -> None:
    pipe = running.new_pipe()
    send_by_library(pipe, users=50, each=20)
    arrived = pipe.wait_for_events(1_000)
    assert len(arrived) == 1_000
    for user in range(50):
        assert numbers(arrived, f"user-{user}") == list(range(20))


def test_the_library_may_compress(running: RunningHub) -> None:
    pipe = running.new_pipe()
    send_by_library(pipe, users=3, each=5, gzip=True)
    arrived = pipe.wait_for_events(15)
    for user in range(3):
        assert numbers(arrived, f"user-{user}") == list(range(5))


def test_a_destination_that_fails_gets_its_events_in_order_once_it_recovers(running: RunningHub) -> None:
    pipe = running.new_pipe()
    running.behave(pipe.path, status=500, times=3)
    for number in range(4):
        assert pipe.post(track("ada", number)).json()["success"] is True
    assert numbers(pipe.wait_for_events(4)) == [0, 1, 2, 3]
    statuses = [row["status"] for row in running.received(pipe.path)]
    assert statuses == [500, 500, 500, 200, 200, 200, 200]
    keys = {row["headers"]["Idempotency-Key"] for row in running.received(pipe.path)[:4]}
    assert len(keys) == 1


def test_one_failing_destination_does_not_delay_the_others(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=2)
    down, well = pipe.paths
    running.behave(down, status=503)
    began = time.monotonic()
    pipe.post(*[track(f"user-{n % 5}", n) for n in range(50)])
    assert len(pipe.wait_for_events(50, well)) == 50
    assert time.monotonic() - began < 15
    assert pipe.delivered(down) == []
    running.behave(down)
    arrived = pipe.wait_for_events(50, down, within_s=120)
    for user in range(5):
        assert numbers(arrived, f"user-{user}") == list(range(user, 50, 5))


def test_one_user_that_is_refused_does_not_delay_the_others(running: RunningHub) -> None:
    pipe = running.new_pipe()
    running.behave(pipe.path, status=500, times=1)
    pipe.post(track("unlucky", 0))
    wait_for("the first failure", lambda: len(running.received(pipe.path)) == 1)
    pipe.post(track("lucky", 1))
    assert sorted(numbers(pipe.wait_for_events(2))) == [0, 1]


def test_an_event_chooses_its_destinations(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=2)
    first, second = pipe.destinations
    pipe.post(
        track("ada", 1, integrations={"All": False, first["name"]: True}),
        track("ada", 2, integrations={second["id"]: False}),
        track("ada", 3),
    )
    assert numbers(pipe.wait_for_events(3, pipe.paths[0])) == [1, 2, 3]
    assert numbers(pipe.wait_for_events(1, pipe.paths[1])) == [3]


def test_requests_are_signed_and_carry_the_event_as_it_was_sent(running: RunningHub) -> None:
    pipe = running.new_pipe()
    properties = '{"big":12345678901234567890,"one":1.0}'
    answer = requests.post(
        f"{running.hub.url}/v1/track",
        data='{"event":"Paid","userId":"ada","messageId":"m-1","properties":' + properties + "}",
        auth=(pipe.write_key, ""),
        headers={"Content-Type": "text/plain"},
        timeout=30,
    )
    assert answer.status_code == 200
    pipe.wait_for_events(1)
    row = running.received(pipe.path)[0]
    assert properties in row["body"]
    assert row["headers"]["X-Signature"] == hmac.new(b"s3cret", row["body"].encode(), hashlib.sha1).hexdigest()
    assert row["headers"]["Content-Type"].startswith("application/json")
