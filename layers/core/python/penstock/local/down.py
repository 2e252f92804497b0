"""Take the local hub away: destroy the stacks, look for what is left, end every process."""

from __future__ import annotations

import shutil
from dataclasses import replace

from penstock.local import processes
from penstock.local.cloud import is_healthy, scratch
from penstock.local.deployment import audit, destroy
from penstock.local.home import Home
from penstock.local.hub import State, read_state
from penstock.local.lock import alone
from penstock.local.ports import wait_until_free
from penstock.local.progress import Progress
from penstock.local.trouble import Trouble

FREE_WITHIN_S = 10.0
LAST = "cloud"


def down(home: Home, progress: Progress) -> None:
    """Take the hub away, whatever state it is in. Raises `Trouble` where something is left."""
    with alone(home):
        state = read_state(home)
        if not state.processes and not home.hub_file.exists():
            progress.say("No hub is running; nothing to do.")
            return
        found = home_of(home, state)
        left = take_away_the_stacks(found, state, progress)
        with progress.step("ending what runs in the background", "front door, sink and local cloud ended"):
            left += stop(found)
        if left:
            raise Trouble("; ".join(left))
        progress.say(
            f"Nothing is left: no stack, no resource, no process, no open port. ({progress.elapsed_s():.0f} s)"
        )


def home_of(home: Home, state: State) -> Home:
    """The hub's own ports, whatever the environment says by now."""
    ports = {**home.ports, **state.ports}
    return replace(
        home,
        cloud_port=ports["PENSTOCK_CLOUD_PORT"],
        port=ports["PENSTOCK_PORT"],
        sink_port=ports["PENSTOCK_SINK_PORT"],
    )


def take_away_the_stacks(home: Home, state: State, progress: Progress) -> list[str]:
    """Destroy the stacks and what was made at run time, and look whether it went; what went wrong."""
    cloud = state.processes.get("cloud")
    if cloud is None or not cloud.is_alive() or not is_healthy(home):
        progress.say("The local cloud runs no more, and everything in it went with it.")
        return []
    if not state.apis:
        progress.say("Nothing was deployed.")
        return []
    try:
        destroy(home, progress)
        audit(home, progress)
    except Trouble as trouble:
        return [str(trouble)]
    return []


def stop(home: Home) -> list[str]:
    """End every process that was started for this hub and remove its files; what could not be ended, by name."""
    state = read_state(home)
    left = []
    for name, background in sorted(state.processes.items(), key=lambda item: item[0] == LAST):
        processes.end(background)
        if background.is_alive():
            left.append(f"process {background.pid} ({name})")
    for variable, port in state.ports.items():
        if state.processes and not wait_until_free(port, FREE_WITHIN_S):
            left.append(f"port {port} ({variable})")
    shutil.rmtree(scratch(home), ignore_errors=True)
    home.hub_file.unlink(missing_ok=True)
    home.state_file.unlink(missing_ok=True)
    return left
