"""The gatekeeper does what a gate says is due, whatever wakes it and however often; a probe needs several users."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.evidence import Evidence
from penstock.domain.gate import Gate, GateState, Mapped, Pool
from penstock.errors import Unavailable
from penstock.steps.keep_gates import tend, tend_all, tick
from penstock.steps.probe_queue import Received, Sent
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.fakes_gate import MemorySwitch
from tests.gate_world import KEY, World


@pytest.fixture
def world() -> World:
    return World()


def test_a_closed_gates_mapping_is_switched_off_and_its_workspace_told(world: World) -> None:
    world.send("ada")
    world.close(gates.CREDENTIALS)
    world.pass_(1)
    assert world.mapped == Mapped(False)
    assert world.told() == [
        {
            "workspace": WORKSPACE,
            "destination": DESTINATION,
            "from": "open",
            "to": "closed",
            "reason": "credentials",
            "at": "2023-11-14T22:13:20.000Z",
        }
    ]
    assert [(entry.actor, entry.action, entry.target) for entry in world.store.log] == [
        ("gatekeeper", "gate.closed", DESTINATION)
    ]


def test_a_destination_that_is_down_is_probed_after_15_s_and_then_ever_less_but_at_least_every_60_s(
    world: World,
) -> None:
    world.send("ada", "grace")
    world.close()
    began = world.clock.now
    world.pass_(1_000)
    times = [at - began for at, _ in world.probes]
    assert [round(later - sooner) for sooner, later in pairwise([0, *times])][:4] == [15, 30, 60, 60]
    assert max(later - sooner for sooner, later in pairwise(times)) <= 61
    assert world.gate.state is GateState.CLOSED


def test_a_probe_that_gets_through_opens_the_gate_and_switches_the_mapping_on_at_once(world: World) -> None:
    world.send("ada", "grace")
    world.close()
    world.pass_(200)
    world.down = lambda _: False
    recovered = world.clock.now
    world.pass_(61)
    assert (world.gate.state, world.mapped) == (GateState.OPEN, Mapped())
    assert world.gate.since - recovered <= 60
    assert [(each["from"], each["to"], each["reason"]) for each in world.told()][-1] == ("closed", "open", "delivered")
    assert [entry.action for entry in world.store.log] == ["gate.closed", "gate.opened"]
    assert world.queue.held == []


def test_jobs_of_a_failed_probe_are_seen_again_at_the_next_one(world: World) -> None:
    world.send("ada")
    world.close()
    for _ in range(200):
        world.pass_(1)
        wakes_at = world.queue.wakes_at()
        assert wakes_at is not None and wakes_at <= world.clock.now + 60
    assert all(groups == ["ada"] for _, groups in world.probes)


def test_a_user_whose_jobs_fill_the_head_of_the_queue_does_not_keep_the_gate_closed(world: World) -> None:
    world.send(*["poisoned"] * 50, "ada")
    world.close()
    world.down = lambda group: group == "poisoned"
    world.pass_(16)
    assert world.gate.state is GateState.OPEN
    assert len(world.queue.held) == 50


PROBES_AT_MOST = 6


@settings(max_examples=40, deadline=None)
@given(
    poisoned=st.integers(1, 20),
    jobs=st.integers(1, 25),
    is_first=st.booleans(),
    at_once=st.integers(1, 10),
    down_s=st.integers(0, 2_000),
)
def test_however_many_users_have_poisoned_events_a_healthy_one_is_found(
    poisoned: int, jobs: int, is_first: bool, at_once: int, down_s: int
) -> None:
    """Up to twenty, with any number of jobs before or behind those of the healthy one, however few the queue gives."""
    world = World()
    world.queues.at_once = at_once
    theirs = [f"poisoned-{user}" for user in range(poisoned) for _ in range(jobs)]
    world.send(*(["ada", *theirs] if is_first else [*theirs, "ada"]))
    world.close()
    world.pass_(down_s)
    before = len(world.probes)
    world.down = lambda group: group != "ada"
    world.pass_(PROBES_AT_MOST * moves.LONGEST_PROBE_S)
    assert (world.gate.state, len(world.probes) - before <= PROBES_AT_MOST) == (GateState.OPEN, True)
    assert len(world.queue.held) == poisoned * jobs


@settings(max_examples=20, deadline=None)
@given(users=st.integers(1, 60), jobs=st.integers(1, 12), recovers_after_s=st.integers(0, 1_200))
def test_a_destination_that_fails_for_all_stays_closed_and_is_found_within_a_minute_of_its_recovery(
    users: int, jobs: int, recovers_after_s: int
) -> None:
    world = World()
    world.send(*[f"user-{user}" for user in range(users) for _ in range(jobs)])
    world.close()
    world.pass_(recovers_after_s)
    assert world.gate.state is GateState.CLOSED
    wakes_at = world.queue.wakes_at()
    assert wakes_at is not None and wakes_at <= world.clock.now + moves.LONGEST_PROBE_S
    world.down = lambda _: False
    world.pass_(moves.LONGEST_PROBE_S + 2)
    assert world.gate.state is GateState.OPEN
    assert all(each.visible_at <= world.clock.now for each in world.queue.held)


def test_most_probes_of_a_destination_that_is_down_ask_no_more_than_three_users(world: World) -> None:
    world.send(*[f"user-{user}" for user in range(100) for _ in range(10)])
    world.close()
    world.pass_(1_000)
    asked = [len(set(groups)) for _, groups in world.probes]
    assert asked[:14] == [3, 6, 3, 12, 3, 24, 3, 24, 3, 24, 3, 3, 3, 24]


def test_what_a_probe_delivered_is_deleted_even_if_the_rest_failed(world: World) -> None:
    world.send("ada", "grace", "alan")
    world.close()
    world.down = lambda group: group == "ada"
    world.pass_(16)
    assert [each.group for each in world.queue.held] == ["ada"]
    assert world.gate.state is GateState.OPEN


def test_an_empty_queue_opens_the_gate(world: World) -> None:
    world.close()
    world.pass_(16)
    assert world.gate.state is GateState.OPEN
    assert world.told()[-1]["reason"] == "empty"


def test_jobs_that_are_hidden_are_waited_for(world: World) -> None:
    world.send("ada")
    world.queue.receive()
    world.close()
    world.pass_(40)
    assert (world.gate.state, world.probes) == (GateState.CLOSED, [])


def test_where_only_imports_wait_a_gate_is_probed_with_those(world: World) -> None:
    imported = world.equip_for_imports()
    for number, user in enumerate(("ada", "grace", "alan")):
        imported.take(user, f"job-{number}", "{}")
    world.close()
    world.pass_(17)
    assert imported.wakes_at() == world.gate.next_probe_at
    world.pass_(200)
    assert world.gate.state is GateState.CLOSED
    assert {tuple(groups) for _, groups in world.probes} == {("ada", "grace", "alan")}
    world.down = lambda _: False
    world.pass_(61)
    assert (world.gate.state, world.told()[-1]["reason"], imported.held) == (GateState.OPEN, "delivered", [])


def test_imports_that_are_hidden_are_waited_for(world: World) -> None:
    imported = world.equip_for_imports()
    imported.take("ada", "job", "{}")
    imported.receive()
    world.close()
    world.pass_(40)
    assert (world.gate.state, world.probes) == (GateState.CLOSED, [])


def test_no_import_is_tried_while_there_is_anything_else_to_try(world: World) -> None:
    imported = world.equip_for_imports()
    imported.take("ada", "job", "{}")
    world.send("grace")
    world.close()
    world.pass_(200)
    assert {tuple(groups) for _, groups in world.probes} == {("grace",)}


def test_a_paused_gate_is_neither_probed_nor_opened_and_its_mapping_stays_off(world: World) -> None:
    world.send("ada")
    world.close()
    world.gates.save(*KEY, world.gate, moves.paused(world.gate, "holiday", "tok_a", world.clock.now))
    world.down = lambda _: False
    world.pass_(86_400)
    assert (world.gate.state, world.gate.reason, world.mapped.on) == (GateState.PAUSED, "holiday", False)
    assert world.probes == []


def test_what_a_person_did_is_told_on_the_bus_and_not_entered_again(world: World) -> None:
    world.gates.save(*KEY, Gate(), moves.paused(Gate(), "holiday", "tok_a", world.clock.now))
    tend(*KEY, world.ports())
    assert [(each["to"], each["reason"]) for each in world.told()] == [("paused", "holiday")]
    assert world.store.log == []


def test_a_pause_during_a_probe_stands(world: World) -> None:
    world.send("ada")
    world.close()

    def paused_meanwhile(destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
        world.gates.save(*KEY, world.gate, moves.paused(world.gate, "holiday", "tok_a", world.clock.now))
        return Sent(frozenset(), len(jobs))

    world.clock.now += 15
    tend(*KEY, world.ports(deliver=paused_meanwhile))
    assert (world.gate.state, world.mapped.on) == (GateState.PAUSED, False)


def test_nobody_probes_what_somebody_is_probing(world: World) -> None:
    world.send("ada", "grace", "alan")
    world.close()

    def again(destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
        tend(*KEY, world.ports())
        return world.deliver(destination, queue_url, jobs)

    world.clock.now += 15
    tend(*KEY, world.ports(deliver=again))
    assert len(world.probes) == 1


def test_a_mapping_that_is_being_changed_is_asked_again_until_it_is_as_wanted(world: World) -> None:
    world.switch.busy = 5
    world.close()
    world.pass_(10)
    assert world.mapped.on
    world.send("ada")
    world.pass_(30)
    assert not world.mapped.on


class Slowly(MemorySwitch):
    """Begins a change, and refuses others until it is done."""

    begun: tuple[str, Mapped] | None = None

    def put(self, mapping_id: str, wanted: Mapped) -> bool:
        if self.begun is None and self.mappings[mapping_id] != wanted:
            self.begun = (mapping_id, wanted)
        return self.begun is None

    def done(self) -> None:
        if self.begun:
            self.mappings.update([self.begun])
        self.begun = None


def test_a_change_that_is_to_be_undone_before_it_is_done_is_undone_in_the_end(world: World) -> None:
    slowly = Slowly()
    slowly.mappings = world.switch.mappings
    world.switch = slowly
    world.close()
    world.pass_(3)
    world.gates.save(*KEY, world.gate, moves.paused(world.gate, "holiday", "tok_a", world.clock.now))
    world.gates.save(*KEY, world.gate, moves.resumed(world.gate, "tok_a", world.clock.now))
    world.pass_(3)
    slowly.done()
    assert not world.mapped.on
    world.pass_(70)
    slowly.done()
    world.pass_(70)
    assert world.mapped.on


def test_what_a_gatekeeper_does_late_that_read_the_gate_before_is_undone(world: World) -> None:
    paused = moves.paused(Gate(), "holiday", "tok_a", world.clock.now)
    world.gates.save(*KEY, Gate(), paused)
    tend(*KEY, world.ports())
    world.gates.save(*KEY, world.gate, moves.resumed(world.gate, "tok_a", world.clock.now))
    tend(*KEY, world.ports())
    assert world.mapped.on
    world.pass_(90)
    world.switch.mappings[f"mapping-of-{DESTINATION}"] = Mapped(False)
    world.pass_(200)
    assert (world.mapped, world.gate.mapped) == (Mapped(), Mapped())


def test_a_mapping_that_was_changed_by_hand_is_put_right_within_the_hour(world: World) -> None:
    world.gates.save(*KEY, Gate(), moves.paused(Gate(), "holiday", "tok_a", world.clock.now))
    world.pass_(61)
    world.switch.mappings[f"mapping-of-{DESTINATION}"] = Mapped()
    world.pass_(3_700)
    assert not world.mapped.on


def test_a_slow_destinations_mapping_is_moved_and_comes_back_when_it_is_quick_again(world: World) -> None:
    world.watch.report(*KEY, Evidence(frozenset(), 5, None, 8.0, 5))
    world.pass_(1)
    assert world.mapped == Mapped(True, Pool.SLOW)
    world.watch.report(*KEY, Evidence(frozenset(), 5, None, 0.1, 5))
    world.pass_(170)
    assert world.mapped == Mapped(True, Pool.SLOW)
    world.pass_(80)
    assert world.mapped == Mapped()


def test_a_gate_that_closed_is_opened_by_the_tick_alone(world: World) -> None:
    """Every chore is lost; a minute later all is as if none had been."""
    world.send("ada")
    world.close()
    world.down = lambda _: False
    world.chores.waiting.clear()
    world.pass_(130)
    assert (world.gate.state, world.mapped.on) == (GateState.OPEN, True)
    assert [each["to"] for each in world.told()] == ["closed", "open"]


def test_chores_that_come_twice_do_nothing_twice(world: World) -> None:
    world.send("ada")
    world.close()
    for _ in range(5):
        tend_all([KEY, KEY], world.ports())
    assert len(world.bus.told) == len(world.store.log) == world.switch.changes == 1
    world.clock.now += 15
    for _ in range(5):
        tend(*KEY, world.ports())
    assert len(world.probes) == 1


def test_a_destination_that_is_no_more_leaves_no_gate(world: World) -> None:
    world.close()
    world.store.items.clear()
    assert tend(*KEY, world.ports()) == "deleted"
    assert world.gates.gates == world.gates.attend_at == {}


def test_one_gate_that_cannot_be_looked_after_holds_up_no_other(world: World) -> None:
    world.send("ada")
    world.close()
    broken = ("ws_broken", DESTINATION)
    world.gates.gates[broken] = world.gate
    find = world.store.find

    def failing(kind: Any, workspace_id: str, item_id: str) -> Any:
        if workspace_id == "ws_broken":
            raise Unavailable("no answer")
        return find(kind, workspace_id, item_id)

    world.store.find = failing  # type: ignore[method-assign]
    states = tend_all([broken, KEY], world.ports())
    assert isinstance(states[broken], Unavailable)
    assert states[KEY] == "closed"


def test_a_tick_sends_a_chore_for_each_gate_that_is_overdue_and_no_other(world: World) -> None:
    world.close()
    assert tick(world.ports()) == 0
    world.clock.now += 60
    world.chores.waiting.clear()
    assert tick(world.ports()) == 1
    assert world.chores.take() == [KEY]
