"""Bring up the whole hub on this machine: the local cloud, the app deployed to it, its front door and a sink."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import requests
from rich.table import Table

from penstock.local import demo, processes
from penstock.local.cloud import start_cloud, wait_until_ready
from penstock.local.control_client import ControlClient
from penstock.local.deployment import deploy
from penstock.local.down import stop
from penstock.local.home import Home
from penstock.local.hub import Hub, State, read_hub, read_state, write_hub, write_state
from penstock.local.lock import alone
from penstock.local.ports import refuse_taken
from penstock.local.processes import Background
from penstock.local.progress import Progress
from penstock.local.trouble import Trouble

ANSWER_WITHIN_S = 15.0


def up(home: Home, progress: Progress) -> Hub:
    """The running hub: the one that runs already, else a new one. Raises `Trouble`; what was begun is ended then."""
    with alone(home):
        running = running_hub(home)
        if running is not None:
            progress.say(f"The hub is running already at {running.url}; nothing was changed.")
            return running
        clear_away_the_dead(home, progress)
        refuse_taken(home)
        with undone_on_failure(home):
            return bring_up(home, progress)


def running_hub(home: Home) -> Hub | None:
    """The hub of this home if all of it is alive and answers."""
    hub, state = read_hub(home), read_state(home)
    if hub is None or not state.all_alive() or not answers(f"{hub.url}/health") or not answers(f"{hub.sink_url}/"):
        return None
    try:
        ControlClient(hub.url, hub.token).get("/control/sources", limit=1)
    except Trouble:
        return None
    return hub


def clear_away_the_dead(home: Home, progress: Progress) -> None:
    """A hub that is half dead helps nobody: what is left of it goes."""
    if home.hub_file.exists() or home.state_file.exists():
        progress.say("A hub was here and does not answer any more; clearing away what is left of it.")
        stop(home)


@contextlib.contextmanager
def undone_on_failure(home: Home) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stop(home)
        raise


def bring_up(home: Home, progress: Progress) -> Hub:
    state = start_processes(home)
    with progress.step("starting the local cloud", f"local cloud on {home.cloud_url}"):
        wait_until_ready(home, state.processes["cloud"])
    deployment = deploy(home, progress)
    state.apis, state.stream = deployment.apis, deployment.stream
    write_state(home, state)
    with progress.step("opening the front door", f"front door on {home.url}, sink on {home.sink_url}"):
        wait_until_answers(home)
    with progress.step("making a workspace, a source and a destination", "workspace, source and webhook destination"):
        hub = demo.make_workspace(home, deployment.operator_token)
    with progress.step(
        "sending events with the Python library", "events of segment-analytics-python arrived at the sink"
    ):
        rows = demo.wait_for_arrival(hub, demo.send_events(hub))
    progress.console.print(table_of(rows))
    write_hub(home, hub)
    progress.say(
        f"The hub is up after {progress.elapsed_s():.0f} s. What you need to talk to it is in {home.hub_file}."
    )
    return hub


def start_processes(home: Home) -> State:
    """Start all that stays; each is noted at once, so that whatever happens it can be found and ended."""
    state = State(ports=home.ports)
    for name, begin in (("cloud", start_cloud), ("front-door", start_front_door), ("sink", start_sink)):
        state.processes[name] = begin(home)
        write_state(home, state)
    return state


def start_front_door(home: Home) -> Background:
    """It answers 503 until the deploy has written where the APIs are."""
    return start_door(home, "front-door", home.port, "--state", str(home.state_file), "--logs", str(home.logs))


def start_sink(home: Home) -> Background:
    return start_door(home, "sink", home.sink_port)


def start_door(home: Home, what: str, port: int, *options: str) -> Background:
    command = [sys.executable, "-m", "penstock.local.serve", what, "--port", str(port), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return processes.start(command, home.logs / f"{what}.log", environment, home.repo)


def wait_until_answers(home: Home) -> None:
    deadline = time.monotonic() + ANSWER_WITHIN_S
    for url in (f"{home.url}/health", f"{home.sink_url}/"):
        while not answers(url):
            if time.monotonic() > deadline:
                raise Trouble(f"{url} did not answer within {ANSWER_WITHIN_S:.0f} s: see {home.logs}")
            time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def table_of(rows: list[dict[str, Any]]) -> Table:
    """What arrived, in order of arrival."""
    table = Table(title="What arrived at the demo destination", title_justify="left")
    for column in ("time", "type", "event", "user", "status"):
        table.add_column(column)
    for row in rows:
        event = json.loads(row["body"])
        name = event.get("event") or event.get("name") or ""
        table.add_row(
            row["time"], event.get("type"), name, event.get("userId") or event.get("anonymousId"), str(row["status"])
        )
    return table
