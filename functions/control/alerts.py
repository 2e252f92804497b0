"""Alerts: who is told when a destination does not do well, and when it does again."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain.alerts import Alert, AlertChange, AlertList, AlertView, NewAlert
from penstock.steps import keep_alerts

resource = Resource("alerts")
ALL = "/control/destinations/{destination_id}/alerts"
ONE = ALL + "/{alert_id}"


@resource.operation(
    "POST",
    ALL,
    name="createAlert",
    summary="Have a webhook or an SNS topic told when a destination does not do well",
    scope="destinations:write",
    body=NewAlert,
    answer=AlertView,
    status=201,
    conflicts=True,
)
def create(call: Call) -> AlertView:
    return keep_alerts.create_alert(call.ports.alerts, call.caller, call.ids["destination_id"], call.body)


@resource.operation(
    "GET",
    ALL,
    name="listAlerts",
    summary="List a destination's alerts and how they stand",
    scope="destinations:read",
    answer=AlertList,
    paged=True,
)
def listed(call: Call) -> AlertList:
    window = call.window(Alert.kind)
    return AlertList(*keep_alerts.list_alerts(call.ports.alerts, call.caller, call.ids["destination_id"], window))


@resource.operation(
    "GET",
    ONE,
    name="getAlert",
    summary="Read an alert and how it stands",
    scope="destinations:read",
    answer=AlertView,
)
def read(call: Call) -> AlertView:
    return keep_alerts.read_alert(call.ports.alerts, call.caller, call.ids["destination_id"], call.ids["alert_id"])


@resource.operation(
    "PATCH",
    ONE,
    name="changeAlert",
    summary="Change an alert",
    scope="destinations:write",
    body=AlertChange,
    answer=AlertView,
    conflicts=True,
)
def change(call: Call) -> AlertView:
    destination_id, alert_id = call.ids["destination_id"], call.ids["alert_id"]
    return keep_alerts.change_alert(call.ports.alerts, call.caller, destination_id, alert_id, call.body)


@resource.operation(
    "DELETE",
    ONE,
    name="deleteAlert",
    summary="Delete an alert",
    scope="destinations:write",
    status=204,
    conflicts=True,
)
def delete(call: Call) -> None:
    keep_alerts.delete_alert(call.ports.alerts, call.caller, call.ids["destination_id"], call.ids["alert_id"])
