"""A gatekeeper may die between any two calls: what the gate says is due is done all the same."""

from __future__ import annotations

import pytest

from penstock.domain.gate import GateState, Mapped
from penstock.steps.keep_gates import tend_all
from tests.fakes_control import Crash, Faults
from tests.gate_world import World

CALLS = range(1, 20)


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
@pytest.mark.parametrize("at", CALLS)
def test_a_gatekeeper_that_dies_anywhere_is_made_up_for(at: int, after: bool) -> None:
    """The gate ends open, its mapping on, its queue empty, and both changes told, each at least once."""
    world = World()
    world.send("ada", "grace")
    world.close()
    world.down = lambda _: False
    faults = Faults(at, Crash, after)
    broken = world.ports_with(faults)
    for _ in range(200):
        try:
            tend_all(world.chores.take(), broken)
        except Crash:
            break
        world.clock.now += 1
    world.pass_(300)
    assert (world.gate.state, world.gate.mapped, world.mapped) == (GateState.OPEN, Mapped(), Mapped())
    assert world.queue.held == []
    assert {each["to"] for each in world.told()} == {"closed", "open"}
    assert [entry.action for entry in sorted(world.store.log, key=lambda each: each.id)][-1] == "gate.opened"


def test_those_crashes_reach_every_call_that_changes_something() -> None:
    world = World()
    world.send("ada", "grace")
    world.close()
    world.down = lambda _: False
    faults = Faults(CALLS[-1] + 1, Crash, after=False)
    ports = world.ports_with(faults)
    for _ in range(30):
        tend_all(world.chores.take(), ports)
        world.clock.now += 1
    assert not faults.struck
