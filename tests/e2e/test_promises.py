"""What one destination is promised: once, in order, held by its gate, kept when refused, replayed, traced, signed."""

from __future__ import annotations

import json
from typing import Any

import requests
from standardwebhooks.webhooks import Webhook

from tests.e2e.running_hub import Pipe, RunningHub, numbers, track, wait_for_effect
from tests.e2e.waiting import wait_for


def of(pipe: Pipe, rest: str = "", number: int = 0) -> str:
    return f"/control/destinations/{pipe.destinations[number]['id']}{rest}"


def test_an_event_that_is_sent_twice_arrives_once(running: RunningHub) -> None:
    pipe = running.new_pipe()
    for _ in range(3):
        assert pipe.post(track("ada", 1, messageId="twice"), track("ada", 1, messageId="twice")).ok
    pipe.post(track("ada", 2, messageId="once"))
    assert numbers(pipe.wait_for_events(2)) == [1, 2]
    found = wait_for("the counts", lambda: counted(running, pipe, 2))
    assert (found["delivered"], found["duplicates"]) == (2, 5)


def counted(running: RunningHub, pipe: Pipe, accepted: int) -> dict[str, Any] | None:
    found = running.control.get(of(pipe, "/health"))
    return found if found["accepted"] == accepted == found["delivered"] + found["discarded"] else None


def test_a_paused_destination_gets_nothing_until_it_is_resumed(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=2)
    paused, other = pipe.paths
    running.control.post(of(pipe, "/pause"), {"reason": "moving house"})
    wait_for_effect()
    pipe.post(*[track("ada", number) for number in range(5)])
    pipe.wait_for_events(5, other)
    assert pipe.delivered(paused) == []
    found = running.control.get(of(pipe, "/health"))
    assert (found["gate"]["state"], found["queued"] > 0) == ("paused", True)
    running.control.post(of(pipe, "/resume"))
    assert numbers(pipe.wait_for_events(5, paused, within_s=120)) == [0, 1, 2, 3, 4]


def test_rotated_credentials_cost_no_event(running: RunningHub) -> None:
    pipe = running.new_pipe()
    running.behave(pipe.path, status=401)
    pipe.post(track("ada", 1), track("grace", 2))
    closed = wait_for("a closed gate", lambda: gate(running, pipe, "closed"))
    assert closed["reason"] == "credentials"
    running.behave(pipe.path)
    running.control.post(of(pipe, "/resume"))
    assert sorted(numbers(pipe.wait_for_events(2, within_s=120))) == [1, 2]


def gate(running: RunningHub, pipe: Pipe, state: str) -> dict[str, Any] | None:
    found = running.control.get(of(pipe, "/gate"))
    return found if found["state"] == state else None


def test_a_refused_event_is_kept_looked_at_and_replayed(running: RunningHub) -> None:
    pipe = running.new_pipe()
    running.behave(pipe.path, status=422, times=2)
    pipe.post(*[track("ada", number, messageId=f"refused-{number}") for number in range(4)])
    assert numbers(pipe.wait_for_events(2)) == [2, 3]
    letters = wait_for("two letters", lambda: two_letters(running, pipe))
    one = running.control.get(of(pipe, f"/letters/{letters[0]['id']}"))
    assert (one["kind"], one["reason"], one["response"]["status"]) == ("discarded", "http_422", 422)
    assert json.loads(one["request"]["body"])["messageId"].startswith("refused-")
    replay = running.control.post(of(pipe, "/replays"), {"filter": {}})
    assert numbers(pipe.wait_for_events(4))[2:] == [0, 1]
    done = wait_for("the replay's end", lambda: ended(running, pipe, replay["id"]))
    assert (done["state"], done["sent"]) == ("done", 2)
    keys = [row["headers"]["Idempotency-Key"] for row in running.received(pipe.path)]
    assert len(set(keys)) == 4


def two_letters(running: RunningHub, pipe: Pipe) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = running.control.get(of(pipe, "/letters"))["letters"]
    return found if len(found) == 2 else None


def ended(running: RunningHub, pipe: Pipe, replay: str) -> dict[str, Any] | None:
    found = running.control.get(of(pipe, f"/replays/{replay}"))
    return found if found["state"] not in ("pending", "running") else None


def test_one_event_can_be_traced(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=2)
    running.control.patch(of(pipe, number=1), {"subscription": "properties.n > 100"})
    wait_for_effect()
    pipe.post(track("ada", 7, messageId="a strange id"))
    pipe.wait_for_events(1)
    verdicts = wait_for("a trace", lambda: traced(running, "a%20strange%20id", "ada"))
    assert [verdicts[each["id"]] for each in pipe.destinations] == ["delivered", "filtered"]


def traced(running: RunningHub, message_id: str, user: str) -> dict[str, str] | None:
    """The verdict of every destination, once there is one."""
    events = running.control.get(f"/control/trace/{message_id}", user=user)["events"]
    found = {each["id"]: each["verdict"] for event in events for each in event["destinations"]}
    return found if found and "waiting" not in found.values() else None


def test_an_import_arrives_in_order_on_a_queue_of_its_own(running: RunningHub) -> None:
    pipe = running.new_pipe()
    events = [track(f"user-{n % 3}", n, timestamp="2020-01-01T00:00:00Z") for n in range(30)]
    answer = requests.post(
        f"{running.hub.url}/v1/import", json={"batch": events}, auth=(pipe.write_key, ""), timeout=30
    )
    assert answer.json()["success"] is True
    arrived = pipe.wait_for_events(30, within_s=120)
    for user in range(3):
        assert numbers(arrived, f"user-{user}") == list(range(user, 30, 3))
    assert any(pipe.destinations[0]["id"] in url and "import" in url for url in running.queues())


def test_a_standard_webhook_verifies_with_its_library(running: RunningHub) -> None:
    pipe = running.new_pipe()
    rotated = running.control.post(of(pipe, "/rotate-secret"), {})
    wait_for_effect()
    pipe.post(track("ada", 1))
    pipe.wait_for_events(1)
    (row,) = running.received(pipe.path)
    headers = {name.lower(): value for name, value in row["headers"].items()}
    assert Webhook(rotated["signing_secret"]).verify(row["body"], headers)["properties"] == {"n": 1}
