"""Take down what AWS holds for a destination that nobody sees, and what is noted of it."""

from __future__ import annotations

from typing import Protocol

from penstock.domain.config import Remove
from penstock.domain.destinations import Unfinished, import_name
from penstock.steps.keep_alerts import forget_alerts
from penstock.steps.record import Ledger


class Queues(Protocol):
    """The destinations' queues. Raises `QueueUnavailable`; what is gone already is no error."""

    def delete(self, destination_id: str) -> None: ...


class Mappings(Protocol):
    """The event source mappings from those queues to `deliver`. Raises `QueueUnavailable` likewise."""

    def delete(self, destination_id: str, known_id: str | None) -> None:
        """Every mapping of the queue; `known_id` is the one that is remembered, where there is one."""


class Gates(Protocol):
    """What is noted of destinations while they are sent to. Raises `StoreUnavailable`."""

    def forget(self, workspace_id: str, destination_id: str) -> None: ...


class Works(Protocol):
    """What a destination was made with."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def queues(self) -> Queues: ...

    @property
    def mappings(self) -> Mappings: ...

    @property
    def gates(self) -> Gates: ...


def take_down(item: Unfinished, works: Works) -> None:
    """Its jobs go with its queues. Done again it goes on where it broke off. Raises `Unavailable`.

    What is noted of it goes last: by that somebody finds what is left.
    """
    unmap(item, works.mappings)
    works.queues.delete(item.id)
    works.queues.delete(import_name(item.id))
    forget_alerts(works.ledger, item.workspace_id, item.id)
    works.ledger.store.commit([Remove(item)], None)
    works.gates.forget(item.workspace_id, item.id)


def unmap(item: Unfinished, mappings: Mappings) -> None:
    """From now on nobody empties its queues by themselves. Raises `QueueUnavailable`."""
    mappings.delete(item.id, item.mapping_id)
    mappings.delete(import_name(item.id), None)
