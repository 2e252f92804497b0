"""Keep alerts: the rules of destinations, each of them watched from before it is there until after it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.domain import alerts
from penstock.domain.alerts import MOST_ALERTS, Alert, AlertChange, AlertState, AlertView, Key, NewAlert
from penstock.domain.config import Change, Create, Remove, Require
from penstock.domain.destinations import Destination
from penstock.domain.paging import Window, cut
from penstock.domain.tokens import Caller
from penstock.errors import Conflict, NotFound
from penstock.steps.record import Ledger, settled


class Watched(Protocol):
    """Which rules are looked at every minute, and how they stand. Raises `StoreUnavailable`."""

    def watch(self, key: Key) -> None:
        """From in a minute on; a rule that is not found by then is watched no more."""

    def read(self, key: Key) -> AlertState: ...

    def forget(self, key: Key) -> None: ...


@dataclass(frozen=True)
class AlertWorks:
    """All that an alert takes; `topics` is what the ARNs of topics begin with that a workspace may name."""

    ledger: Ledger
    watched: Watched
    topics: str
    allow_loopback: bool


def create_alert(works: AlertWorks, caller: Caller, destination_id: str, wanted: NewAlert) -> AlertView:
    """Raises `Invalid`, `NotFound` or `Conflict`."""
    ledger = works.ledger
    ledger.get(Destination, caller.workspace_id, destination_id)
    made = alerts.made(caller.workspace_id, destination_id, ledger.new_id("alr_"), wanted, ledger.now())
    item = alerts.checked(made, works.topics, works.allow_loopback)
    if len(_of(ledger, caller.workspace_id, destination_id, Window(MOST_ALERTS))) >= MOST_ALERTS:
        raise Conflict("too_many_alerts", f"a destination has at most {MOST_ALERTS} alerts")
    works.watched.watch(_key(item))
    present = Require(Destination, caller.workspace_id, destination_id)
    if ledger.commit(caller, "alert.created", item, [Create(item), present]):
        raise NotFound("destination_not_found", "this workspace has no such destination")
    return alerts.view(item, AlertState())


def list_alerts(
    works: AlertWorks, caller: Caller, destination_id: str, asked: Window
) -> tuple[list[AlertView], str | None]:
    works.ledger.get(Destination, caller.workspace_id, destination_id)
    found, more = cut(
        _of(works.ledger, caller.workspace_id, destination_id, asked), asked, Alert.kind, caller.workspace_id
    )
    return [alerts.view(item, works.watched.read(_key(item))) for item in found], more


def read_alert(works: AlertWorks, caller: Caller, destination_id: str, alert_id: str) -> AlertView:
    item = _found(works.ledger, caller.workspace_id, destination_id, alert_id)
    return alerts.view(item, works.watched.read(_key(item)))


def change_alert(
    works: AlertWorks, caller: Caller, destination_id: str, alert_id: str, change: AlertChange
) -> AlertView:
    """An incident that is on stays on until it is measured again."""

    def attempt() -> Alert | None:
        before = _found(works.ledger, caller.workspace_id, destination_id, alert_id)
        changed = alerts.changed(before, change, works.ledger.now())
        after = alerts.checked(changed, works.topics, works.allow_loopback)
        fields = alerts.fields_of(change)
        clashes = works.ledger.commit(caller, "alert.changed", before, [Change(before, after)], fields)
        return None if clashes else after

    item = settled(attempt)
    return alerts.view(item, works.watched.read(_key(item)))


def delete_alert(works: AlertWorks, caller: Caller, destination_id: str, alert_id: str) -> None:
    """What a crash leaves of it the next look at it takes away."""

    def attempt() -> Alert | None:
        before = _found(works.ledger, caller.workspace_id, destination_id, alert_id)
        return None if works.ledger.commit(caller, "alert.deleted", before, [Remove(before)]) else before

    works.watched.forget(_key(settled(attempt)))


def forget_alerts(ledger: Ledger, workspace: str, destination_id: str) -> None:
    """All rules of a destination that is gone. Raises `StoreUnavailable` with some of them still there."""
    for item in _of(ledger, workspace, destination_id, Window(MOST_ALERTS)):
        ledger.store.commit([Remove(item)], None)


def _found(ledger: Ledger, workspace: str, destination_id: str, alert_id: str) -> Alert:
    return ledger.get(Alert, workspace, alerts.item_id(destination_id, alert_id))


def _of(ledger: Ledger, workspace: str, destination_id: str, asked: Window) -> Sequence[Alert]:
    from_there = Window(asked.limit, asked.after or alerts.item_id(destination_id, ""))
    found = ledger.store.page(Alert, workspace, from_there)
    return [each for each in found if each.destination_id == destination_id]


def _key(item: Alert) -> Key:
    return Key(item.workspace_id, item.destination_id, item.alert_id)
