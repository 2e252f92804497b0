"""What is created or changed takes effect within two seconds: each test waits so long and no longer."""

from __future__ import annotations

import time

from tests.e2e.running_hub import RunningHub, numbers, penstock, track, wait_for_effect
from tests.e2e.waiting import wait_for


def test_a_disabled_source_and_a_deleted_key_are_refused_and_a_new_key_is_taken(running: RunningHub) -> None:
    pipe = running.new_pipe()
    one = f"/control/sources/{pipe.source_id}"
    assert pipe.post(track("ada", 1)).status_code == 200
    key = running.control.post(f"{one}/write-keys")["key"]
    wait_for_effect()
    assert pipe.post(track("ada", 2), write_key=key).status_code == 200
    running.control.patch(one, {"enabled": False})
    running.control.delete(f"{one}/write-keys/{key}")
    wait_for_effect()
    assert pipe.post(track("ada", 3)).status_code == 403
    assert pipe.post(track("ada", 4), write_key=key).status_code == 401
    running.control.patch(one, {"enabled": True})
    wait_for_effect()
    assert pipe.post(track("ada", 5)).status_code == 200
    assert numbers(pipe.wait_for_events(3)) == [1, 2, 5]


def test_a_disabled_destination_is_fed_no_more_until_it_is_enabled(running: RunningHub) -> None:
    pipe = running.new_pipe()
    one = f"/control/destinations/{pipe.destinations[0]['id']}"
    pipe.post(track("ada", 1))
    pipe.wait_for_events(1)
    running.control.patch(one, {"enabled": False})
    wait_for_effect()
    pipe.post(track("ada", 2))
    running.control.patch(one, {"enabled": True})
    wait_for_effect()
    pipe.post(track("ada", 3))
    assert numbers(pipe.wait_for_events(2)) == [1, 3]


def test_a_changed_address_and_a_changed_subscription_are_followed(running: RunningHub) -> None:
    pipe = running.new_pipe()
    moved = pipe.path + "-moved"
    change = {"settings": {"url": running.hub.sink_url + moved}, "subscription": "properties.n > 10"}
    pipe.post(track("ada", 1))
    pipe.wait_for_events(1)
    running.control.patch(f"/control/destinations/{pipe.destinations[0]['id']}", change)
    wait_for_effect()
    pipe.post(track("ada", 2), track("ada", 11))
    assert numbers(pipe.wait_for_events(1, moved)) == [11]
    assert numbers(pipe.delivered()) == [1]


def test_a_deleted_destination_gets_nothing_and_soon_leaves_no_queue(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=2)
    deleted = pipe.destinations[0]["id"]
    running.control.delete(f"/control/destinations/{deleted}")
    wait_for_effect()
    pipe.post(track("ada", 1))
    assert numbers(pipe.wait_for_events(1, pipe.paths[1])) == [1]
    assert pipe.delivered(pipe.paths[0]) == []
    wait_for("the end of its queue", lambda: not [url for url in running.queues() if deleted in url])


def test_a_second_up_says_so_and_changes_nothing(running: RunningHub) -> None:
    before = {file: file.read_bytes() for file in (running.home.hub_file, running.home.state_file)}
    began = time.monotonic()
    done = penstock(running.home, "up", "--no-env")
    assert time.monotonic() - began < 10
    assert done.code == 0
    assert "running already" in done.said
    assert {file: file.read_bytes() for file in before} == before
    assert running.home.hub_file.stat().st_mode & 0o777 == 0o600
