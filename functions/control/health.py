"""How a destination does: its figures since it began and of late, what waits, what failed."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import health
from penstock.domain.destinations import Destination
from penstock.domain.health import MOST_MINUTES, USUAL_MINUTES, HealthView
from penstock.domain.openapi import Parameter
from penstock.steps import read_health

resource = Resource("health")
MINUTES = Parameter(
    "minutes",
    "Of how many minutes the window is, the present one included",
    {"type": "integer", "minimum": 1, "maximum": MOST_MINUTES, "default": USUAL_MINUTES},
)


@resource.operation(
    "GET",
    "/control/destinations/{destination_id}/health",
    name="getHealth",
    summary="Read what became of a destination's events, what waits, and what failed",
    scope="destinations:read",
    answer=HealthView,
    query=(MINUTES,),
)
def read(call: Call) -> HealthView:
    asked = health.minutes_asked(call.query.get("minutes"))
    item = call.ports.ledger.get(Destination, call.caller.workspace_id, call.ids["destination_id"])
    return read_health.health_of(item, asked, call.ports.health)
