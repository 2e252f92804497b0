"""Four sick destinations among twelve, and Lambdas that are killed: nobody else is held up, and the books balance."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from penstock.local import processes
from penstock.local.hub import read_state
from tests.e2e.running_hub import Pipe, RunningHub, numbers, track
from tests.e2e.waiting import wait_for

USERS = 10
EACH = 6
RECOVERED_WITHIN_S = 240.0  # two minutes are promised, on a machine that does nothing else


def send_all(pipe: Pipe, first: int = 0, each: int = EACH) -> None:
    """Every user's events in turn, a request for each turn; one that is not acknowledged is sent again, as it was."""
    for number in range(first, first + each):
        events = [track(f"user-{user}", number, messageId=f"{user}-{number}") for user in range(USERS)]
        wait_for("an acknowledgement", lambda events=events: pipe.post(*events).ok)  # type: ignore[misc]


def is_in_order(events: list[dict[str, Any]], expected: int) -> bool:
    """Whether every user's first deliveries are what was sent, in its order."""
    return all(list(dict.fromkeys(numbers(events, f"user-{user}"))) == list(range(expected)) for user in range(USERS))


def health(running: RunningHub, destination: dict[str, Any]) -> dict[str, Any]:
    return running.control.get(f"/control/destinations/{destination['id']}/health")


def balance(found: dict[str, Any]) -> int:
    """What the books cannot account for; `queued` has no part in it."""
    outcomes = sum(found[name] for name in ("delivered", "filtered", "discarded", "dead"))
    return int(found["accepted"] + found["created"] - outcomes)


def is_balanced(running: RunningHub, destination: dict[str, Any], accepted: int) -> bool:
    found = health(running, destination)
    return found["queued"] == 0 and found["accepted"] == accepted and balance(found) == 0


def test_four_sick_destinations_hold_up_none_of_the_others_and_recover(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=12)
    down, hanging, limiting, crawling, *well = pipe.paths
    running.behave(down, status=503)
    running.behave(hanging, delay_ms=5_000)
    running.behave(limiting, status=429, every=2)
    running.behave(crawling, delay_ms=700)
    send_all(pipe)
    for path in well:
        assert is_in_order(pipe.wait_for_events(USERS * EACH, path), EACH)
    assert pipe.delivered(down) == []
    wait_for("a closed gate", lambda: health(running, pipe.destinations[0])["gate"]["state"] in ("closed", "probing"))
    for path in (down, hanging, limiting, crawling):
        running.behave(path)
    for path in (down, hanging, limiting, crawling):
        wait_for(
            f"all events in order at {path}",
            lambda path=path: is_in_order(pipe.delivered(path), EACH),  # type: ignore[misc]
            RECOVERED_WITHIN_S,
        )
    for destination in pipe.destinations:
        wait_for("balanced books", lambda it=destination: is_balanced(running, it, USERS * EACH))  # type: ignore[misc]


def workers_of(running: RunningHub) -> list[int]:
    """The processes of Lambdas: all of the local cloud's group but itself."""
    cloud = read_state(running.home).processes["cloud"].pid
    return [pid for pid in processes.living_members(cloud) if pid != cloud]


def test_killed_workers_lose_nothing(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=2)
    for turn in range(4):
        send_all(pipe, 3 * turn, 3)
        for pid in workers_of(running):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for path in pipe.paths:
        wait_for(
            f"all events in order at {path}",
            lambda path=path: is_in_order(pipe.delivered(path), 12),  # type: ignore[misc]
            RECOVERED_WITHIN_S,
        )
    for destination in pipe.destinations:
        wait_for("balanced books", lambda it=destination: is_balanced(running, it, USERS * 12))  # type: ignore[misc]
