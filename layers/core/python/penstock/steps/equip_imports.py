"""Equip imports: a destination's queue for imports, made with its mapping when the first import comes.

Events that are sent as they happen never stand behind a year of history in one queue. Both names follow from the
destination's, so making them again gives the same, and deleting a destination finds them whoever made them.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from penstock.domain.destinations import import_name
from penstock.domain.routing import Route
from penstock.errors import QueueGone, Unavailable

MOST_KNOWN = 10_000


class Queues(Protocol):
    """The destinations' queues. Raises `QueueUnavailable`; what is there or gone already is no error."""

    def create(self, workspace_id: str, destination_id: str) -> str: ...

    def delete(self, destination_id: str) -> None: ...


class Mappings(Protocol):
    """The event source mappings from those queues to `deliver`. Raises `QueueUnavailable` likewise."""

    def create(self, workspace_id: str, destination_id: str) -> str: ...

    def delete(self, destination_id: str, known_id: str | None) -> None: ...


class Notes(Protocol):
    def note(self, workspace_id: str, destination_id: str, queue_url: str, mapping_id: str) -> bool:
        """Note what was made with the destination; False where that is gone. Raises `StoreUnavailable`."""


@dataclass
class ImportQueues:
    """What a warm Lambda has made it knows; what others have made stands in the route."""

    queues: Queues
    mappings: Mappings
    notes: Notes
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
        url = self.queues.create(workspace, name)
        mapping_id = self.mappings.create(workspace, name)
        if not self.notes.note(workspace, destination, url, mapping_id):
            with suppress(Unavailable):
                self.mappings.delete(name, mapping_id)
                self.queues.delete(name)
            raise QueueGone("the destination was deleted")
        return url
