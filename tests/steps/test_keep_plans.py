"""Plans are kept with their sources: whoever is faster, and wherever it breaks, nothing is left of one that is gone."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.paging import Window
from penstock.domain.sources import NewSource, Source
from penstock.domain.tracking_plan import NewPlan, Plan, PlanVersion
from penstock.errors import Conflict, Invalid, NotFound, StoreUnavailable
from penstock.steps import keep_plans, keep_sources
from penstock.steps.record import Ledger
from tests.fakes_control import Faults, Hub, MemoryStore

ACTIONS: dict[str, Any] = {"violation": "block"}


def source(hub: Hub, ledger: Ledger | None = None) -> str:
    return keep_sources.create_source(ledger or hub.ledger(), hub.caller, NewSource("Web")).id


def save(hub: Hub, source_id: str, ledger: Ledger | None = None, **fields: Any) -> Plan:
    wanted = NewPlan("Shop", [], **(ACTIONS | fields))
    return keep_plans.save_plan(ledger or hub.ledger(), hub.caller, source_id, wanted, lambda _: None)


def left_of(hub: Hub, source_id: str) -> list[Any]:
    return [item for (kind, _, item_id), item in hub.store.items.items() if item_id.startswith(source_id)]


def test_a_source_takes_its_plan_with_all_versions_and_nobody_elses() -> None:
    hub = Hub()
    mine, other = source(hub), source(hub)
    for _ in range(45):
        save(hub, mine)
    save(hub, other)
    keep_sources.delete_source(hub.ledger(), hub.caller, mine)
    assert left_of(hub, mine) == []
    assert {type(item) for item in left_of(hub, other)} == {Source, Plan, PlanVersion}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
def test_what_a_crash_leaves_of_a_source_is_gone_when_it_is_deleted_again(at: int, after: bool) -> None:
    hub = Hub()
    mine = source(hub)
    for _ in range(3):
        save(hub, mine)
    faults = Faults(at, lambda: StoreUnavailable("injected"), after)
    try:
        keep_sources.delete_source(hub.ledger(faults.around(hub.store, "commit")), hub.caller, mine)
    except StoreUnavailable:
        try:
            keep_sources.delete_source(hub.ledger(), hub.caller, mine)
        except NotFound as error:
            assert error.code == "source_not_found"
    assert left_of(hub, mine) == []


class Raced(MemoryStore):
    """Somebody else does something right before the first commit."""

    def __init__(self, inner: MemoryStore, meanwhile: Any) -> None:
        self.items, self.log = inner.items, inner.log
        self._meanwhile = meanwhile

    def commit(self, steps: Any, entry: Any) -> Any:
        if (meanwhile := self._meanwhile) is not None:
            self._meanwhile = None
            meanwhile()
        return super().commit(steps, entry)


def test_of_two_who_save_at_once_each_gets_a_version() -> None:
    hub = Hub()
    mine = source(hub)
    raced = hub.ledger(Raced(hub.store, lambda: save(hub, mine)))
    assert save(hub, mine, raced).version == 2
    found = keep_plans.plan_versions(hub.ledger(), hub.caller, mine, Window())[0]
    assert [each.id for each in found] == [f"{mine}.00000001", f"{mine}.00000002"]


def test_a_plan_that_is_saved_while_its_source_is_deleted_is_not_left_behind() -> None:
    hub = Hub()
    mine = source(hub)
    raced = hub.ledger(Raced(hub.store, lambda: save(hub, mine)))
    keep_sources.delete_source(raced, hub.caller, mine)
    assert left_of(hub, mine) == []
    mine = source(hub)
    raced = hub.ledger(Raced(hub.store, lambda: keep_sources.delete_source(hub.ledger(), hub.caller, mine)))
    with pytest.raises(NotFound):
        save(hub, mine, raced)
    assert left_of(hub, mine) == []


def test_nothing_is_forwarded_to_a_source_that_is_deleted_meanwhile() -> None:
    hub = Hub()
    mine, other = source(hub), source(hub)
    raced = hub.ledger(Raced(hub.store, lambda: keep_sources.delete_source(hub.ledger(), hub.caller, other)))
    with pytest.raises(Invalid) as refusal:
        save(hub, mine, raced, violation="forward", forward_to=other)
    assert refusal.value.field == "forward_to"


def test_who_never_gets_a_turn_is_told() -> None:
    hub = Hub()
    mine = source(hub)

    class Busy(MemoryStore):
        def commit(self, steps: Any, entry: Any) -> Any:
            return steps

    busy = Busy()
    busy.items = hub.store.items
    with pytest.raises(Conflict):
        save(hub, mine, hub.ledger(busy))


def test_versions_of_a_source_that_is_gone_are_gone() -> None:
    hub = Hub()
    mine = source(hub)
    save(hub, mine)
    assert keep_plans.plan_version(hub.ledger(), hub.caller, mine, 1).id == f"{mine}.00000001"
    keep_sources.delete_source(hub.ledger(), hub.caller, mine)
    with pytest.raises(NotFound):
        keep_plans.plan_version(hub.ledger(), hub.caller, mine, 1)
