"""A bus that is down is told later, and nothing else waits for it."""

from __future__ import annotations

import pytest

from penstock.domain import audit
from penstock.domain import gate_moves as moves
from penstock.domain.gate import GateState
from penstock.errors import BusUnavailable
from penstock.steps.keep_gates import tend, tend_all
from tests.gate_world import KEY, World


@pytest.fixture
def world() -> World:
    return World()


class Down:
    """A bus that takes nothing."""

    def tell_gate(self, event_id: str, detail: bytes) -> None:
        raise BusUnavailable("down")


def test_a_bus_that_is_down_is_told_later(world: World) -> None:
    world.send("ada")
    world.close()
    assert tend_all([KEY], world.ports(bus=Down())) == {KEY: "closed, untold"}
    assert not world.mapped.on
    world.pass_(90)
    assert [each["to"] for each in world.told()] == ["closed"]


def test_a_bus_that_is_down_keeps_no_gate_from_being_probed_and_opened(world: World) -> None:
    world.send("ada")
    world.close()
    bus, world.bus = world.bus, Down()  # type: ignore[assignment]
    world.pass_(100)
    world.down = lambda _: False
    world.pass_(120)
    assert (world.gate.state, world.mapped.on, world.queue.held) == (GateState.OPEN, True, [])
    assert list({entry.id: entry.action for entry in world.store.log}.values()) == ["gate.closed", "gate.opened"]
    world.bus = bus
    world.pass_(120)
    assert [each["to"] for each in world.told()] == ["closed", "open"]


def test_of_what_a_bus_does_not_take_for_long_the_newest_is_told_and_all_is_in_the_audit_log(world: World) -> None:
    for _ in range(moves.MOST_UNTOLD):
        world.clock.now += 1
        world.close()
        tend(*KEY, world.ports(bus=Down()))
        world.clock.now += 16
        tend(*KEY, world.ports(bus=Down()))
    assert len({entry.id for entry in world.store.log}) == 2 * moves.MOST_UNTOLD
    newest = world.gate.since
    tend(*KEY, world.ports())
    assert len(world.told()) == moves.MOST_UNTOLD
    assert world.told()[-1]["at"] == audit.iso(newest)
