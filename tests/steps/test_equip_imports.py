"""A destination's queue for imports is made once, and its mapping does what the gate wants, whoever dies or races."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.domain import gate_moves as moves
from penstock.domain.config import Change
from penstock.domain.destinations import Destination
from penstock.domain.evidence import Evidence
from penstock.domain.gate import GateState, Mapped, Pool
from penstock.errors import QueueGone, Unavailable
from penstock.steps.equip_imports import ImportQueues, Ports
from penstock.steps.keep_gates import tend
from tests.builders_pipeline import DESTINATION, WORKSPACE, route
from tests.fakes_control import Crash, Faults, MemoryQueues, unavailable
from tests.gate_world import IMPORT_MAPPING, KEY, World

IMPORT = f"{DESTINATION}-import"
URL = f"https://queues.example.com/{IMPORT}.fifo"
CALLS = range(1, 7)


class Meanwhile(Faults):
    """Somebody else does something just before the n-th call."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        super().__init__(at, Crash, after=False)
        self._act = act

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._act()
            return call(*given)

        return called


class Hub(World):
    """A destination with a job that it does not take, before its first import."""

    def __init__(self) -> None:
        super().__init__()
        self.made = MemoryQueues()
        self.send("ada")

    def get(self, faults: Faults | None = None) -> str:
        """As a fan-out does that starts cold."""
        given = faults or Faults(0, Crash, after=False)
        ports = Ports(
            queues=given.around(self.made, "create", "delete"),
            mappings=given.around(self, "create", "delete"),
            notes=given.around(self, "note_mapping", "note_queue"),
            gates=given.around(self.gates, "save"),
            chores=given.around(self.chores, "send"),
        )
        return ImportQueues(ports).get(WORKSPACE, self.route())

    def route(self) -> Any:
        item = self.item()
        return route(import_queue_url=item.import_queue_url if item else None)

    def item(self) -> Destination | None:
        return self.store.find(Destination, *KEY)

    def create(self, workspace_id: str, destination_id: str) -> str:
        self.switch.mappings.setdefault(IMPORT_MAPPING, Mapped(False))
        return IMPORT_MAPPING

    def delete(self, destination_id: str, known_id: str | None) -> None:
        self.switch.mappings.pop(IMPORT_MAPPING, None)

    def note_mapping(self, workspace_id: str, destination_id: str, mapping_id: str) -> bool:
        return self._note(import_mapping_id=mapping_id)

    def note_queue(self, workspace_id: str, destination_id: str, queue_url: str) -> bool:
        self.queues.make(queue_url)
        return self._note(import_queue_url=queue_url)

    def _note(self, **fields: str) -> bool:
        item = self.item()
        return item is not None and not self.store.commit([Change(item, replace(item, **fields))], None)

    def pause(self) -> None:
        self.gates.save(*KEY, self.gate, moves.paused(self.gate, "holiday", "ada", self.clock.now))

    def slow_down(self) -> None:
        self.watch.report(*KEY, Evidence(frozenset(), 5, None, 8.0, 5))

    def recover(self) -> None:
        """It was slow, and its mapping is not back yet."""
        self.gates.save(*KEY, self.gate, replace(self.gate, mapped=Mapped(True, Pool.SLOW)))
        self.switch.mappings[f"mapping-of-{DESTINATION}"] = Mapped(True, Pool.SLOW)

    @property
    def imports_mapped(self) -> Mapped:
        return self.switch.mappings[IMPORT_MAPPING]

    @property
    def is_settled(self) -> bool:
        """Whether both mappings do what the gate wants, and it says so."""
        return self.gate.wanted == self.gate.mapped == self.mapped == self.imports_mapped


def in_trouble(hub: Hub, trouble: str) -> None:
    act = {"closed": hub.close, "paused": hub.pause, "slow": hub.slow_down, "over": hub.recover}.get(trouble)
    if act is not None:
        act()


TROUBLES = ["none", "closed", "paused", "slow"]


def test_the_first_import_makes_queue_and_mapping_and_the_next_finds_them() -> None:
    hub = Hub()
    assert {hub.get() for _ in range(3)} == {URL}
    item = hub.item()
    assert item is not None and (item.import_queue_url, item.import_mapping_id) == (URL, IMPORT_MAPPING)
    assert hub.made.made == {IMPORT}
    assert hub.chores.take() == [KEY]


def test_a_warm_function_makes_them_once_whatever_its_route_says() -> None:
    hub = Hub()
    imports = ImportQueues(Ports(hub.made, hub, hub, hub.gates, hub.chores))
    assert {imports.get(WORKSPACE, route()) for _ in range(3)} == {URL}
    assert len(hub.chores.take()) == 1


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_mapping_for_imports_does_what_the_gate_wants_from_the_beginning(trouble: str) -> None:
    hub = Hub()
    in_trouble(hub, trouble)
    hub.get()
    assert not hub.imports_mapped.on
    hub.pass_(10)
    assert hub.imports_mapped == hub.gate.wanted
    assert hub.imports_mapped == {"none": Mapped(), "slow": Mapped(True, Pool.SLOW)}.get(trouble, Mapped(False))


def test_a_chore_that_is_lost_is_made_up_for_by_the_tick() -> None:
    hub = Hub()
    hub.chores.down = True
    hub.get()
    hub.chores.down = False
    hub.pass_(10)
    assert not hub.imports_mapped.on
    hub.pass_(80)
    assert hub.imports_mapped == Mapped()


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
@pytest.mark.parametrize("wrong", [Crash, unavailable], ids=["crash", "unavailable"])
@pytest.mark.parametrize("at", CALLS)
def test_a_fan_out_that_dies_anywhere_leaves_a_mapping_that_the_next_one_has_switched(
    at: int, wrong: Any, after: bool, trouble: str
) -> None:
    hub = Hub()
    try:
        hub.get(Faults(at, wrong, after))
    except (Crash, Unavailable):
        hub.pass_(200)
        in_trouble(hub, trouble)
        hub.get()
    hub.pass_(400)
    assert hub.route().import_queue_url == URL
    assert hub.is_settled


@pytest.mark.parametrize("before", TROUBLES)
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("at", CALLS)
def test_a_gate_that_changes_and_is_looked_after_while_the_mapping_is_made_has_it_its_way(
    at: int, trouble: str, before: str
) -> None:
    hub = Hub()
    in_trouble(hub, before)

    def look() -> None:
        in_trouble(hub, trouble)
        tend(*KEY, hub.ports())

    hub.get(Meanwhile(at, look))
    hub.pass_(400)
    assert hub.is_settled


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_gatekeeper_that_read_the_destination_before_does_not_take_the_mapping_for_settled(trouble: str) -> None:
    hub = Hub()
    in_trouble(hub, trouble)
    find = hub.store.find

    def meanwhile(kind: Any, workspace_id: str, item_id: str) -> Any:
        found = find(kind, workspace_id, item_id)
        hub.store.find = find  # type: ignore[method-assign]
        hub.get()
        return found

    hub.store.find = meanwhile  # type: ignore[method-assign]
    tend(*KEY, hub.ports())
    hub.pass_(400)
    assert hub.is_settled


@pytest.mark.parametrize("trouble", [*TROUBLES[1:], "over"])
def test_a_gatekeeper_that_is_switching_the_other_mapping_does_not_take_both_for_settled(trouble: str) -> None:
    hub = Hub()
    in_trouble(hub, trouble)
    tend(*KEY, hub.ports(switch=Meanwhile(1, hub.get).around(hub.switch, "put")))
    hub.pass_(400)
    assert hub.is_settled


def test_those_crashes_reach_every_call_that_changes_something() -> None:
    faults = Faults(CALLS[-1] + 1, Crash, after=False)
    Hub().get(faults)
    assert not faults.struck


def test_what_others_have_made_stands_in_the_route() -> None:
    hub = Hub()
    there = route(import_queue_url="there")
    assert ImportQueues(Ports(hub.made, hub, hub, hub.gates, hub.chores)).get(WORKSPACE, there) == "there"
    assert hub.made.made == set()


@pytest.mark.parametrize("at", CALLS[:-1])
def test_nothing_is_left_of_a_destination_that_is_deleted_meanwhile(at: int) -> None:
    hub = Hub()
    with pytest.raises(QueueGone):
        hub.get(Meanwhile(at, hub.store.items.clear))
    assert (hub.made.made, IMPORT_MAPPING in hub.switch.mappings) == (set(), False)
    hub.pass_(130)
    assert hub.gates.gates == {}


def test_a_gate_that_is_noted_stays_as_it_is_in_all_else() -> None:
    hub = Hub()
    hub.gates.strike(*KEY, ["ada"], hub.clock.now)
    hub.get()
    assert (hub.gate.state, hub.gate.strikes, hub.gate.untold) == (GateState.OPEN, {"ada"}, ())
