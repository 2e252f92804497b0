"""What a fresh hub is filled with: a workspace, a source, a webhook destination, and a few events of a real library."""

from __future__ import annotations

import logging
import time
from typing import Any

import requests
from segment.analytics import Client

from penstock.local.control_client import ControlClient
from penstock.local.home import Home
from penstock.local.hub import Hub
from penstock.local.trouble import Trouble

PATH = "/demo"
ARRIVE_WITHIN_S = 60.0
LOOK_EVERY_S = 0.1


def make_workspace(home: Home, operator_token: str) -> Hub:
    """A workspace with a token, a source with a write key, and a destination that is the sink."""
    made = ControlClient(home.url, operator_token).post("/control/workspaces", {"name": "Demo"})
    token = text_in(made["token"], "token")
    control = ControlClient(home.url, token)
    source = control.post("/control/sources", {"name": "Demo source"})
    control.post(
        "/control/destinations",
        {
            "name": "Demo webhook",
            "type": "webhook",
            "source_ids": [source["id"]],
            "enabled": True,
            "settings": {"url": home.sink_url + PATH},
        },
    )
    return Hub(
        url=home.url,
        token=token,
        workspace_id=made["id"],
        source_id=source["id"],
        write_key=source["write_keys"][0]["key"],
        sink_url=home.sink_url,
    )


def text_in(said: Any, field: str) -> str:
    """A value given as text, or as an object that holds it."""
    return str(said[field] if isinstance(said, dict) else said)


def send_events(hub: Hub) -> list[str]:
    """A visit, as the Python library sends it; the message ids in the order of sending."""
    troubles: list[Exception] = []
    Client.log.setLevel(logging.CRITICAL)  # what it would say of a failure, we say in one line
    client = Client(hub.write_key, host=hub.url, on_error=lambda error, _: troubles.append(error), max_retries=3)
    sent = [
        client.identify("ada", {"email": "ada@example.com", "plan": "free"}),
        client.page("ada", "Docs", "Welcome", {"path": "/welcome"}),
        client.track("ada", "Product Viewed", {"sku": "P-1", "price": 19.5}),
        client.track("ada", "Order Completed", {"order_id": "O-1", "total": 99.5}),
        client.group("ada", "analytical-engines", {"employees": 2}),
    ]
    client.flush()
    client.join()
    if troubles:
        raise Trouble(f"the library could not send: {troubles[0]}")
    return [message["messageId"] for _, message in sent]


def wait_for_arrival(hub: Hub, message_ids: list[str]) -> list[dict[str, Any]]:
    """The rows of the sink that carry these events, once all are there. Raises `Trouble` after a minute."""
    deadline = time.monotonic() + ARRIVE_WITHIN_S
    while True:
        rows = [row for row in received(hub) if row["status"] < 300]
        arrived = [row for row in rows if any(one in row["body"] for one in message_ids)]
        if len(arrived) >= len(message_ids):
            return arrived
        if time.monotonic() > deadline:
            raise Trouble(f"{len(arrived)} of {len(message_ids)} events arrived within {ARRIVE_WITHIN_S:.0f} s")
        time.sleep(LOOK_EVERY_S)


def received(hub: Hub, path: str = PATH) -> list[dict[str, Any]]:
    answer = requests.get(f"{hub.sink_url}/received", params={"path": path}, timeout=(5, 30))
    answer.raise_for_status()
    rows: list[dict[str, Any]] = answer.json()
    return rows
