"""Equip imports: a destination's queue for imports, made with its mapping when the first import comes.

Events that are sent as they happen never stand behind a year of history in one queue. Both names follow from the
destination's, so making them again gives the same, and deleting a destination finds them whoever made them.

The mapping is made switched off, for the gate may be shut or the destination slow, and the gatekeeper has it do what
the gate wants. So the mapping is noted first, then in the gate that somebody has to look, and last the queue: until
that is there, nothing is sent to it, and whoever has something to send does all of it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from penstock.domain import gate_moves as moves
from penstock.domain.destinations import import_name
from penstock.domain.gate import Gate
from penstock.domain.routing import Route
from penstock.errors import QueueGone, StoreChanged, Unavailable
from penstock.steps.watch_gate import Chore

MOST_KNOWN = 10_000
TRIES = 5


class Queues(Protocol):
    """The destinations' queues. Raises `QueueUnavailable`; what is there or gone already is no error."""

    def create(self, workspace_id: str, destination_id: str) -> str: ...

    def delete(self, destination_id: str) -> None: ...


class Mappings(Protocol):
    """The event source mappings from those queues to `deliver`, switched off. Raises `QueueUnavailable` likewise."""

    def create(self, workspace_id: str, destination_id: str) -> str: ...

    def delete(self, destination_id: str, known_id: str | None) -> None: ...


class Notes(Protocol):
    """Notes with the destination what was made; False where that is gone. Raises `StoreUnavailable`."""

    def note_mapping(self, workspace_id: str, destination_id: str, mapping_id: str) -> bool: ...

    def note_queue(self, workspace_id: str, destination_id: str, queue_url: str) -> bool: ...


class Gates(Protocol):
    """Where gates are kept. Raises `StoreUnavailable`."""

    def read(self, workspace: str, destination: str) -> Gate: ...

    def save(self, workspace: str, destination: str, before: Gate, after: Gate) -> Gate:
        """Raises `StoreChanged` where somebody else has changed the gate since it was read."""


class Chores(Protocol):
    def send(self, chores: Sequence[Chore]) -> None:
        """Raises `QueueUnavailable`."""


@dataclass(frozen=True)
class Ports:
    queues: Queues
    mappings: Mappings
    notes: Notes
    gates: Gates
    chores: Chores


@dataclass
class ImportQueues:
    """What a warm Lambda has made it knows; what others have made stands in the route."""

    ports: Ports
    made: OrderedDict[str, str] = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    def get(self, workspace: str, route: Route) -> str:
        """The queue's URL. Raises `QueueGone` where the destination is, or `Unavailable`."""
        if route.import_queue_url is not None:
            return route.import_queue_url
        with self.lock:
            if route.id not in self.made:
                self.made[route.id] = self._make(workspace, route.id)
                while len(self.made) > MOST_KNOWN:
                    self.made.popitem(last=False)
            return self.made[route.id]

    def _make(self, workspace: str, destination: str) -> str:
        name = import_name(destination)
        url = self.ports.queues.create(workspace, name)
        mapping_id = self.ports.mappings.create(workspace, name)
        if self._noted(workspace, destination, mapping_id, url):
            with suppress(Unavailable):  # the tick finds what the gate says is due
                self.ports.chores.send([Chore(workspace, destination)])
            return url
        with suppress(Unavailable):
            self.ports.mappings.delete(name, mapping_id)
            self.ports.queues.delete(name)
        raise QueueGone("the destination was deleted")

    def _noted(self, workspace: str, destination: str, mapping_id: str, url: str) -> bool:
        """In this order; False where the destination is gone. A gate that is noted of one is forgotten by the tick."""
        if not self.ports.notes.note_mapping(workspace, destination, mapping_id):
            return False
        self._have_switched(workspace, destination)
        return self.ports.notes.note_queue(workspace, destination, url)

    def _have_switched(self, workspace: str, destination: str) -> None:
        """Saved even if the gate says so already: whoever read it before may not know of the mapping."""
        for _ in range(TRIES - 1):
            try:
                self._note_in_gate(workspace, destination)
                return
            except StoreChanged:
                continue
        self._note_in_gate(workspace, destination)

    def _note_in_gate(self, workspace: str, destination: str) -> None:
        gate = self.ports.gates.read(workspace, destination)
        self.ports.gates.save(workspace, destination, gate, moves.unsure(gate))
