"""Destinations."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import destinations
from penstock.domain.destinations import (
    Destination,
    DestinationChange,
    DestinationList,
    DestinationView,
    NewDestination,
)
from penstock.domain.webhook_settings import NewSecret, Rotation
from penstock.steps import keep_destinations

resource = Resource("destinations")
ONE = "/control/destinations/{destination_id}"


@resource.operation(
    "POST",
    "/control/destinations",
    name="createDestination",
    summary="Create a destination with its own queue",
    scope="destinations:write",
    body=NewDestination,
    answer=DestinationView,
    status=201,
)
def create(call: Call) -> DestinationView:
    return destinations.view(keep_destinations.create_destination(call.ports.works, call.caller, call.body))


@resource.operation(
    "GET",
    "/control/destinations",
    name="listDestinations",
    summary="List destinations",
    scope="destinations:read",
    answer=DestinationList,
    paged=True,
)
def listed(call: Call) -> DestinationList:
    found, more = call.ports.ledger.page(Destination, call.caller.workspace_id, call.window(Destination.kind))
    return DestinationList([destinations.view(item) for item in found], more)


@resource.operation(
    "GET",
    ONE,
    name="getDestination",
    summary="Read a destination",
    scope="destinations:read",
    answer=DestinationView,
)
def read(call: Call) -> DestinationView:
    return destinations.view(call.ports.ledger.get(Destination, call.caller.workspace_id, call.ids["destination_id"]))


@resource.operation(
    "PATCH",
    ONE,
    name="changeDestination",
    summary="Change a destination; settings merge at their top level, a masked secret stays as it is",
    scope="destinations:write",
    body=DestinationChange,
    answer=DestinationView,
    conflicts=True,
)
def change(call: Call) -> DestinationView:
    changed = keep_destinations.change_destination(call.ports.works, call.caller, call.ids["destination_id"], call.body)
    return destinations.view(changed)


@resource.operation(
    "POST",
    ONE + "/rotate-secret",
    name="rotateSigningSecret",
    summary="Make a signing secret, the first or a new one; the one before it stays valid for a while",
    scope="destinations:write",
    body=Rotation,
    needs_body=False,
    answer=NewSecret,
    status=201,
    conflicts=True,
)
def rotate_secret(call: Call) -> NewSecret:
    return keep_destinations.rotate_signing_secret(call.ports.works, call.caller, call.ids["destination_id"], call.body)


@resource.operation(
    "DELETE",
    ONE,
    name="deleteDestination",
    summary="Delete a destination; what still waits for it becomes dead letters",
    scope="destinations:write",
    status=204,
    conflicts=True,
)
def delete(call: Call) -> None:
    keep_destinations.delete_destination(call.ports.works, call.caller, call.ids["destination_id"])
