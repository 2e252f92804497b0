"""Taking the hub away leaves nothing. This test comes last: it ends the hub of all the others."""

from __future__ import annotations

from penstock.local import processes
from penstock.local.hub import read_state
from penstock.local.ports import is_taken
from tests.e2e.running_hub import RunningHub, penstock


def test_down_leaves_nothing(running: RunningHub) -> None:
    state = read_state(running.home)
    assert set(state.processes) == {"cloud", "front-door", "sink"}
    done = penstock(running.home, "down", "--no-env")
    assert done.code == 0, done.said + done.complaint
    assert "Nothing is left" in done.said
    assert [pid for one in state.processes.values() for pid in processes.living_members(one.pid)] == []
    assert [port for port in running.home.ports.values() if is_taken(port)] == []
    assert not running.home.hub_file.exists()
    assert penstock(running.home, "down", "--no-env").code == 0
