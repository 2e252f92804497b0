"""A hub that is half dead is seen as such, and the next `up` brings it back whole."""

from __future__ import annotations

from penstock.local import processes
from penstock.local.hub import read_hub, read_state
from tests.e2e.running_hub import RunningHub, penstock, track


def test_a_hub_whose_cloud_died_is_brought_back(running: RunningHub) -> None:
    before = read_state(running.home)
    processes.end(before.processes["cloud"])
    assert penstock(running.home, "status").code == 1
    assert running.home.hub_file.exists()

    done = penstock(running.home, "up", "--no-env")

    assert done.code == 0, done.said + done.complaint
    assert "clearing away what is left of it" in done.said
    assert [name for name, process in before.processes.items() if process.is_alive()] == []
    hub = read_hub(running.home)
    assert hub is not None
    assert hub.workspace_id != running.hub.workspace_id
    running.hub = hub
    pipe = running.new_pipe()
    pipe.post(track("ada", 1))
    assert len(pipe.wait_for_events(1)) == 1
    assert penstock(running.home, "status").code == 0
