"""A hub of the tests' own, worked from outside: by its command line, its front door and its sink."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import requests
from segment.analytics import Client

from penstock.local.control_client import ControlClient
from penstock.local.deployment import PREFIX, session
from penstock.local.home import REPO, Home
from penstock.local.hub import Hub, read_hub
from penstock.local.ports import free_port
from tests.e2e.waiting import wait_for

NUMBERS = count(1)
COMMAND_WITHIN_S = 300
TAKES_EFFECT_WITHIN_S = 2.0


def wait_for_effect() -> None:
    """What is created or changed takes effect within so long: that is promised, and relied on."""
    time.sleep(TAKES_EFFECT_WITHIN_S)


@dataclass(frozen=True)
class Command:
    """How a command of the command line ended."""

    code: int
    said: str
    complaint: str


@dataclass
class RunningHub:
    home: Home
    hub: Hub

    @property
    def control(self) -> ControlClient:
        return ControlClient(self.hub.url, self.hub.token)

    def received(self, path: str) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.hub.sink_url}/received", params={"path": path}, timeout=30)
        assert answer.status_code == 200
        return answer.json()

    def delivered(self, path: str) -> list[dict[str, Any]]:
        """The events that a path of the sink has taken, in order of arrival."""
        return [json.loads(row["body"]) for row in self.received(path) if row["status"] < 300]

    def behave(self, path: str, **order: int) -> None:
        assert requests.post(f"{self.hub.sink_url}/behave", json={"path": path, **order}, timeout=10).ok

    def new_pipe(self, destinations: int = 1) -> Pipe:
        """A source of its own that feeds destinations of its own, each at a path of its own."""
        number = next(NUMBERS)
        source = self.control.post("/control/sources", {"name": f"Source {number}"})
        pipe = Pipe(self, source["id"], source["write_keys"][0]["key"])
        for letter in "abcdefghijklmnop"[:destinations]:
            pipe.add_destination(f"Hook {number}{letter}", f"/{number}{letter}")
        wait_for_effect()
        return pipe

    def queues(self) -> list[str]:
        """The queues of the local cloud."""
        sqs = session().client("sqs", endpoint_url=self.home.cloud_url)
        return sqs.list_queues(QueueNamePrefix=PREFIX).get("QueueUrls", [])


@dataclass
class Pipe:
    """A source and its destinations."""

    running: RunningHub
    source_id: str
    write_key: str
    paths: list[str] = field(default_factory=list)
    destinations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.paths[0]

    def add_destination(self, name: str, path: str) -> dict[str, Any]:
        made = self.running.control.post(
            "/control/destinations",
            {
                "name": name,
                "type": "webhook",
                "source_ids": [self.source_id],
                "enabled": True,
                "settings": {"url": self.running.hub.sink_url + path, "secret": "s3cret"},
            },
        )
        self.paths.append(path)
        self.destinations.append(made)
        return made

    def post(self, *events: dict[str, Any], write_key: str | None = None) -> requests.Response:
        """One request to /v1/batch."""
        return requests.post(
            f"{self.running.hub.url}/v1/batch",
            json={"batch": list(events)},
            auth=(write_key or self.write_key, ""),
            timeout=35,
        )

    def delivered(self, path: str | None = None) -> list[dict[str, Any]]:
        return self.running.delivered(path or self.path)

    def wait_for_events(self, number: int, path: str | None = None, within_s: float = 90.0) -> list[dict[str, Any]]:
        wait_for(f"{number} events at {path or self.path}", lambda: len(self.delivered(path)) >= number, within_s)
        return self.delivered(path)


def track(user: str, number: int, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Counted", "userId": user, "properties": {"n": number}, **more}


def numbers(events: list[dict[str, Any]], user: str | None = None) -> list[int]:
    """What the events count, in the order given, of one user or of all."""
    return [event["properties"]["n"] for event in events if user is None or event["userId"] == user]


def send_by_library(pipe: Pipe, users: int, each: int, gzip: bool = False) -> None:
    """Every user's events in turn, sent by the Python library, unmodified."""
    troubles: list[Exception] = []
    client = Client(
        pipe.write_key,
        host=pipe.running.hub.url,
        gzip=gzip,
        on_error=lambda error, _: troubles.append(error),
    )
    for number in range(each):
        for user in range(users):
            client.track(f"user-{user}", "Counted", {"n": number})
    client.flush()
    client.join()
    assert troubles == []


def penstock(home: Home, *arguments: str, **more: str) -> Command:
    """Run the command line from outside, as a person would; its output is a pipe that has to end with it."""
    ports = {variable: str(port) for variable, port in home.ports.items()}
    environment = {**os.environ, "PENSTOCK_HOME": str(home.folder), "COLUMNS": "200", **ports, **more}
    done = subprocess.run(
        [sys.executable, "-m", "penstock.local.cli", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_WITHIN_S,
        env=environment,
        check=False,
    )
    return Command(done.returncode, done.stdout, done.stderr)


def bring_up(home: Home) -> RunningHub:
    done = penstock(home, "up", "--no-env")
    assert done.code == 0, done.said + done.complaint
    hub = read_hub(home)
    assert hub is not None
    return RunningHub(home, hub)


@contextmanager
def hub_of_its_own(name: str) -> Iterator[RunningHub]:
    """A fresh hub in `.penstock/<name>`, on free ports, and its end; what an earlier one left there is taken down."""
    folder = REPO / ".penstock" / name
    home = Home(folder, cloud_port=free_port(), port=free_port(), sink_port=free_port())
    if folder.exists():
        penstock(home, "down", "--no-env")
        shutil.rmtree(folder)
    try:
        yield bring_up(home)
    finally:
        penstock(home, "down", "--no-env")
