"""What a running hub is called and where it is: `hub.json` for everybody, `state.json` for ourselves."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from penstock.local.files import write_whole
from penstock.local.home import Home
from penstock.local.processes import Background
from penstock.local.trouble import Trouble


class Hub(msgspec.Struct, frozen=True):
    """All that a client needs; URLs without a slash at their end."""

    url: str
    token: str
    workspace_id: str
    source_id: str
    write_key: str
    sink_url: str


class State(msgspec.Struct):
    """What runs in the background, on which ports, and where its APIs are."""

    ports: dict[str, int] = {}
    processes: dict[str, Background] = {}
    apis: dict[str, str] = {}
    stream: str = ""

    def all_alive(self) -> bool:
        return bool(self.processes) and all(background.is_alive() for background in self.processes.values())


def write_hub(home: Home, hub: Hub) -> None:
    write_whole(home.hub_file, json.dumps(msgspec.to_builtins(hub), indent=2) + "\n")


def read_hub(home: Home) -> Hub | None:
    """The hub that `make up` wrote, or None where there is none."""
    try:
        return msgspec.json.decode(home.hub_file.read_bytes(), type=Hub)
    except (OSError, msgspec.MsgspecError):
        return None


def write_state(home: Home, state: State) -> None:
    write_whole(home.state_file, json.dumps(msgspec.to_builtins(state), indent=2) + "\n")


def read_state(home: Home) -> State:
    """What was last noted; nothing where there is no note."""
    try:
        return msgspec.json.decode(home.state_file.read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return State()


def hub_for(home: Home, environment: Mapping[str, str]) -> Hub:
    """The hub that a command speaks to: PENSTOCK_URL and PENSTOCK_TOKEN, else the one on this machine."""
    url = environment.get("PENSTOCK_URL", "").rstrip("/")
    if url:
        token = environment.get("PENSTOCK_TOKEN", "")
        return Hub(
            url, token, "", "", environment.get("PENSTOCK_WRITE_KEY", ""), environment.get("PENSTOCK_SINK_URL", "")
        )
    hub = read_hub(home)
    if hub is None:
        raise Trouble("no hub is running here (`make up` starts one), and PENSTOCK_URL is not set")
    return hub
