"""What is created, changed or deployed anew takes effect, soon."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.e2e.running_hub import RunningHub, numbers, penstock, track
from tests.e2e.waiting import wait_for

SOON_S = 2.0
SLACK_S = 1.0  # two busy cores, and the looking itself


def soon(what: str, look: Callable[[], bool]) -> None:
    """It comes true, and within what was promised."""
    began = time.monotonic()
    wait_for(what, look, within_s=30)
    assert time.monotonic() - began < SOON_S + SLACK_S, what


def test_a_disabled_source_a_disabled_key_and_a_new_key_take_effect_soon(running: RunningHub) -> None:
    pipe = running.new_pipe()
    one = f"/control/sources/{pipe.source_id}"
    soon("a new source", lambda: pipe.post(track("ada", 1)).status_code == 200)
    running.control.patch(one, {"enabled": False})
    soon("a disabled source", lambda: pipe.post(track("ada", 2)).status_code == 403)
    running.control.patch(one, {"enabled": True})
    soon("an enabled source", lambda: pipe.post(track("ada", 3)).status_code == 200)
    key = running.control.post(f"{one}/write-keys")["key"]
    soon("a new write key", lambda: pipe.post(track("ada", 4), write_key=key).status_code == 200)
    running.control.delete(f"{one}/write-keys/{key}")
    soon("a deleted write key", lambda: pipe.post(track("ada", 5), write_key=key).status_code == 401)


def test_a_destination_is_fed_soon_after_it_was_made_and_no_more_soon_after_it_was_disabled(
    running: RunningHub,
) -> None:
    pipe = running.new_pipe()
    one = f"/control/destinations/{pipe.destinations[0]['id']}"

    def arrives(number: int) -> bool:
        pipe.post(track("ada", number))
        time.sleep(0.5)
        return number in numbers(pipe.delivered())

    soon("a new destination", lambda: arrives(1))
    running.control.patch(one, {"enabled": False})
    soon("a disabled destination", lambda: not arrives(int(time.monotonic() * 1000)))
    running.control.patch(one, {"enabled": True})
    soon("an enabled destination", lambda: arrives(int(time.monotonic() * 1000)))


def test_a_changed_address_takes_effect_soon(running: RunningHub) -> None:
    pipe = running.new_pipe()
    pipe.post(track("ada", 1))
    pipe.wait_for_events(1)
    moved = pipe.path + "-moved"
    one = f"/control/destinations/{pipe.destinations[0]['id']}"
    running.control.patch(one, {"settings": {"url": running.hub.sink_url + moved}})

    def arrives() -> bool:
        pipe.post(track("ada", 2))
        time.sleep(0.5)
        return bool(running.delivered(moved))

    soon("a changed address", arrives)


def test_a_second_up_says_so_and_changes_nothing(running: RunningHub) -> None:
    before = {file: file.read_bytes() for file in (running.home.hub_file, running.home.state_file)}
    began = time.monotonic()
    done = penstock(running.home, "up", "--no-env")
    assert time.monotonic() - began < 10
    assert done.code == 0
    assert "running already" in done.said
    assert {file: file.read_bytes() for file in before} == before
    assert running.home.hub_file.stat().st_mode & 0o777 == 0o600
