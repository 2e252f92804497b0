"""The stage's EventBridge bus, for whoever wants to react to what the hub learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.adapters.aws_errors import asking
from penstock.errors import BusUnavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "penstock"
SCHEMA_CHANGED = "Schema Changed"
GATE_CHANGED = "Gate Changed"


class EventBus:
    def __init__(self, client: EventBridgeClient, bus: str) -> None:
        self._client = client
        self._bus = bus

    def put(self, events: Sequence[tuple[str, bytes]]) -> None:
        """Put up to ten schema changes, as (id, JSON). Raises `BusUnavailable` where not all were taken."""
        self._put(SCHEMA_CHANGED, events)

    def tell_gate(self, event_id: str, detail: bytes) -> None:
        """Put that a gate opened, closed or was paused. Raises `BusUnavailable`."""
        self._put(GATE_CHANGED, [(event_id, detail)])

    def _put(self, kind: str, events: Sequence[tuple[str, bytes]]) -> None:
        entries = [
            {
                "Source": SOURCE,
                "DetailType": kind,
                "Resources": [event_id],
                "Detail": detail.decode(),
                "EventBusName": self._bus,
            }
            for event_id, detail in events
        ]
        with asking("EventBridge", BusUnavailable):
            answer = self._client.put_events(Entries=entries)  # type: ignore[arg-type]
        if answer["FailedEntryCount"]:
            raise BusUnavailable(f"EventBridge: {answer['FailedEntryCount']} of {len(events)} were not taken")
