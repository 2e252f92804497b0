"""What closes a gate, what does not, and that nothing is lost if the Lambda dies in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, deliver_receipt
from penstock.domain.evidence import Evidence
from penstock.domain.gate import Gate, GateState, Pool
from penstock.errors import QueueUnavailable
from penstock.steps.watch_gate import WatchGate
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.fakes_gate import MemoryChores, MemoryDeliveries, MemoryGates
from tests.fakes_pipeline import Clock, MemoryReceipts

KEY = (WORKSPACE, DESTINATION)


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.gates, self.chores = MemoryGates(self.clock), MemoryChores(self.clock)
        self.receipts = MemoryReceipts()
        deliveries = MemoryDeliveries(self.receipts.read)
        self.watch = WatchGate(self.gates, self.gates, deliveries, self.chores, self.clock)

    @property
    def gate(self) -> Gate:
        return self.gates.find(KEY)

    def report(self, *failed: str, **fields: Any) -> None:
        given = {"groups_failed": frozenset(failed), "delivered": 0, "requests": 1, "mean_s": 0.1} | fields
        self.watch.report(*KEY, Evidence(**given))

    def deliver(self) -> None:
        at = iso(self.clock.now)
        self.receipts.keep_deliver(*KEY, deliver_receipt(at, {"job": (0, [DELIVERED])}))

    def fail(self, groups: Sequence[str], every_s: float = 3.0) -> None:
        """One batch of each group, one after the other."""
        for group in groups:
            self.report(group)
            self.clock.now += every_s


@pytest.fixture
def world() -> World:
    return World()


def test_a_destination_that_fails_for_three_users_is_closed_and_the_gatekeeper_told(world: World) -> None:
    world.fail(["ada", "grace", "alan"])
    assert (world.gate.state, world.gate.reason) == (GateState.CLOSED, "failing")
    assert [at - world.gate.since for at, _ in world.chores.waiting] == [0, 15]


def test_a_single_users_event_never_closes_the_gate(world: World) -> None:
    world.fail(["ada"] * 500)
    assert world.gate.state is GateState.OPEN


def test_two_users_events_that_can_never_be_delivered_do_not_close_it_either(world: World) -> None:
    world.fail(["ada", "grace"] * 100)
    assert world.gate.state is GateState.OPEN


def test_a_success_between_begins_the_count_anew(world: World) -> None:
    for _ in range(20):
        world.fail(["ada", "grace"])
        world.report(delivered=1)
        world.fail(["alan"])
        world.report(delivered=1)
    assert world.gate.state is GateState.OPEN
    assert world.gate.strikes == frozenset()


def test_a_batch_that_delivered_something_is_a_success_whatever_failed_in_it(world: World) -> None:
    for _ in range(10):
        world.report("ada", "grace", "alan", delivered=1)
        world.clock.now += 10
    assert world.gate.state is GateState.OPEN


def test_receipts_of_others_speak_for_a_destination_that_was_struck_out(world: World) -> None:
    """Whoever delivered to it may not have known of the strikes yet."""
    for _ in range(10):
        world.deliver()
        world.fail(["ada", "grace", "alan"])
    assert world.gate.state is GateState.OPEN
    world.clock.now += 61
    world.fail(["ada"])
    assert world.gate.state is GateState.CLOSED


def test_a_blip_closes_nothing(world: World) -> None:
    world.report("ada", "grace", "alan", "edsger")
    assert world.gate.state is GateState.OPEN


def test_being_told_to_slow_down_is_no_strike(world: World) -> None:
    for _ in range(50):
        world.report(requests=10, throttled=10)
        world.clock.now += 5
    assert world.gate == Gate()


@pytest.mark.parametrize("reason", [gates.CREDENTIALS, gates.ADDRESS])
def test_what_a_person_has_to_mend_closes_the_gate_at_once_with_its_reason(world: World, reason: str) -> None:
    world.report(stop=reason)
    assert (world.gate.state, world.gate.reason) == (GateState.CLOSED, reason)


def test_one_event_that_is_forbidden_while_others_get_through_closes_nothing(world: World) -> None:
    world.report(stop=gates.CREDENTIALS, delivered=3)
    world.deliver()
    world.clock.now += 5
    world.report(stop=gates.CREDENTIALS)
    assert world.gate.state is GateState.OPEN
    world.clock.now += 10
    world.report(stop=gates.CREDENTIALS)
    assert world.gate.state is GateState.CLOSED


def test_a_gate_that_somebody_else_closed_is_closed_once(world: World) -> None:
    world.report(stop=gates.CREDENTIALS)
    before = world.gate
    world.report("ada", "grace", "alan", stop=gates.ADDRESS)
    assert world.gate == before
    assert len(world.gate.untold) == 1


def test_a_paused_gate_is_left_as_it_is(world: World) -> None:
    world.gates.save(*KEY, Gate(), moves.paused(Gate(), "holiday", "tok_a", world.clock.now))
    world.report(stop=gates.CREDENTIALS)
    assert world.gate.state is GateState.PAUSED


def test_a_crash_before_the_gatekeeper_is_told_loses_nothing(world: World) -> None:
    world.chores.down = True
    with pytest.raises(QueueUnavailable):
        world.report(stop=gates.CREDENTIALS)
    assert world.gate.state is GateState.CLOSED
    assert world.gates.due(world.clock.now + 60, 10) == [KEY]


def test_of_two_who_change_a_gate_at_once_the_second_gives_way(world: World) -> None:
    read = world.gates.read

    def overtaken(workspace: str, destination: str) -> Gate:
        gate = read(workspace, destination)
        if gate.version == 0:
            world.gates.save(*KEY, gate, moves.paused(gate, "holiday", "tok_a", world.clock.now))
        return gate

    world.gates.read = overtaken  # type: ignore[method-assign]
    world.report(stop=gates.CREDENTIALS)
    assert world.gate.state is GateState.PAUSED


def test_a_slow_destination_is_moved_to_its_own_pool(world: World) -> None:
    world.report(delivered=1, mean_s=5.0)
    assert (world.gate.state, world.gate.pool) == (GateState.OPEN, Pool.SLOW)
    assert world.chores.take() == [KEY]


def test_a_destination_that_hangs_is_slow_and_closed_in_one(world: World) -> None:
    for group in ("ada", "grace", "alan"):
        world.report(group, mean_s=10.0)
        world.clock.now += 10
    assert (world.gate.state, world.gate.pool) == (GateState.CLOSED, Pool.SLOW)


def test_usual_batches_write_nothing_and_ask_nobody(world: World) -> None:
    world.gates.read = None  # type: ignore[assignment, method-assign]
    for _ in range(100):
        world.report(delivered=10)
    assert world.gates.gates == {}
