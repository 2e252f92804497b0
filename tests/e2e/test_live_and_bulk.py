"""History and a source above its quota take the bulk stream: everything arrives, each user's in order."""

from __future__ import annotations

import time

import requests

from tests.e2e.running_hub import Pipe, RunningHub, numbers, track
from tests.e2e.waiting import wait_for

ABOVE = 2_600  # events within a window, of a source that may send 200 a second


def mode_of(pipe: Pipe) -> str:
    found = pipe.running.control.all_of("sources", at="quotas")
    return next(str(each["mode"]) for each in found if each["source_id"] == pipe.source_id)


def test_history_arrives_in_order_through_a_queue_of_its_own(running: RunningHub) -> None:
    pipe = running.new_pipe()
    batch = {"batch": [track("ada", n) for n in range(300)]}
    answer = requests.post(f"{running.hub.url}/v1/import", json=batch, auth=(pipe.write_key, ""), timeout=35)
    assert answer.json()["accepted"] == 300
    pipe.post(track("ada", 1_000))
    arrived = pipe.wait_for_events(301)
    assert [n for n in numbers(arrived, "ada") if n < 1_000] == list(range(300))
    wanted = f"{pipe.destinations[0]['id']}-import.fifo"
    assert any(url.endswith(wanted) for url in running.queues())


def test_a_source_above_its_quota_goes_to_bulk_and_each_users_events_stay_in_order(running: RunningHub) -> None:
    pipe = running.new_pipe()
    users, sent = [f"user-{n}" for n in range(20)], 0
    began = time.monotonic()
    while sent < ABOVE or (mode_of(pipe) != "bulk" and time.monotonic() - began < 60):
        batch = [track(user, sent // len(users) + n) for n in range(10) for user in users]
        assert pipe.post(*batch).json()["accepted"] == len(batch)
        sent += len(batch)
        if sent > ABOVE:
            time.sleep(1.0)
    assert mode_of(pipe) == "bulk"
    for number in range(3):
        pipe.post(*[track(user, sent // len(users) + number) for user in users])
    sent += 3 * len(users)
    arrived = pipe.wait_for_events(sent, within_s=180)
    for user in users:
        assert numbers(arrived, user) == list(range(sent // len(users)))
    wait_for("the move in the audit log", lambda: moved(pipe))


def moved(pipe: Pipe) -> bool:
    entries = pipe.running.control.get("/control/audit")["audit"]
    return any((each["action"], each["target"]) == ("source.to_bulk", pipe.source_id) for each in entries)
