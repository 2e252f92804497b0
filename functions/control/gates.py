"""The gates of destinations: whether their events flow, and pausing them."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import gate
from penstock.domain.gate import GateView, Pause
from penstock.steps import switch_gates

resource = Resource("gates")
ONE = "/control/destinations/{destination_id}"


@resource.operation(
    "GET",
    f"{ONE}/gate",
    name="getGate",
    summary="Read whether a destination's events flow, and why not",
    scope="destinations:read",
    answer=GateView,
)
def read(call: Call) -> GateView:
    return gate.view(switch_gates.read_gate(call.ports.gates, call.caller, call.ids["destination_id"]))


@resource.operation(
    "POST",
    f"{ONE}/pause",
    name="pauseDestination",
    summary="Send a destination nothing until it is resumed; its queue still fills",
    scope="destinations:write",
    body=Pause,
    needs_body=False,
    answer=GateView,
    conflicts=True,
)
def pause(call: Call) -> GateView:
    paused = switch_gates.pause(call.ports.gates, call.caller, call.ids["destination_id"], call.body.reason)
    return gate.view(paused)


@resource.operation(
    "POST",
    f"{ONE}/resume",
    name="resumeDestination",
    summary="Let a paused destination's events flow again; try one that closed by itself at once",
    scope="destinations:write",
    answer=GateView,
    conflicts=True,
)
def resume(call: Call) -> GateView:
    return gate.view(switch_gates.resume(call.ports.gates, call.caller, call.ids["destination_id"]))
