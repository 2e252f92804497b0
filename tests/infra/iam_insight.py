"""What the control API and the gatekeeper do for health, trace and alerts, all of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import boto3

from penstock.adapters.receipts import ReceiptTable
from penstock.domain.audit import iso
from penstock.domain.books import deliver_receipt

Json = dict[str, Any]
Call = Callable[..., Any]
MESSAGE, USER = "m-ada", "ada"


def insight(call: Call, control: Call, made: Json) -> None:
    """A destination in trouble some minutes ago: counted, traced to, and told of."""
    token, destination = made["token"], made["destination"]["id"]
    workspace = token.split(".")[1]
    failed_ago(900.0, workspace, destination)
    health = control("GET", "/control/destinations/{destination_id}/health", token, destination_id=destination)
    assert health["retried"] >= 1, health
    traced = control("GET", "/control/trace/{message_id}", token, message_id=MESSAGE, user=USER)
    verdicts = {each["id"]: each["verdict"] for each in traced["events"][0]["destinations"]}
    assert verdicts[destination] == "delivered", traced
    alerts(call, control, token, workspace, destination)


def failed_ago(seconds: float, workspace: str, destination: str) -> None:
    """So that there is a minute which is over, and can be kept."""
    ids = count()
    table = ReceiptTable(boto3.client("dynamodb"), "penstock-dev-receipts", time.time, lambda: f"ago-{next(ids)}")
    table.keep_deliver(workspace, destination, deliver_receipt(iso(time.time() - seconds), {}, retried=1))


def alerts(call: Call, control: Call, token: str, workspace: str, destination: str) -> None:
    route = "/control/destinations/{destination_id}/alerts"
    topic = boto3.client("sns").create_topic(Name=f"penstock-dev-alerts-{workspace}")["TopicArn"]
    body = {"name": "Share", "metric": "delivered_share", "threshold": 1.0, "window_minutes": 60, "sns_topic": topic}
    doomed, alert = (control("POST", route, token, body, destination_id=destination)["id"] for _ in range(2))
    one = route + "/{alert_id}"
    control("PATCH", one, token, {"name": "x"}, destination_id=destination, alert_id=alert)
    control("GET", route, token, destination_id=destination)
    due_now(workspace, destination, alert)
    orphaned(workspace, destination)
    failed_ago(300.0, workspace, destination)
    call("gatekeeper", {"tick": True})
    body = json.dumps({"workspace": workspace, "destination": f"alerts#{destination}"})
    call("gatekeeper", {"Records": [{"body": body}]})
    found = control("GET", one, token, destination_id=destination, alert_id=alert)
    assert found["is_raised"], found
    control("DELETE", one, token, destination_id=destination, alert_id=doomed)


def due_now(workspace: str, destination: str, alert: str) -> None:
    boto3.client("dynamodb").update_item(
        TableName="penstock-dev-gates",
        Key={"owner": {"S": f"{workspace}#{destination}#alerts"}, "sk": {"S": f"alert#{alert}"}},
        UpdateExpression="SET attend_at = :past",
        ExpressionAttributeValues={":past": {"S": "2026"}},
    )


def orphaned(workspace: str, destination: str) -> None:
    """A watch that a crash has left without its rule."""
    item = {
        "owner": {"S": f"{workspace}#{destination}#alerts"},
        "sk": {"S": "alert#alr_000000000000"},
        "attention": {"S": "alerts"},
        "attend_at": {"S": "2026"},
        "state": {"S": "{}"},
    }
    boto3.client("dynamodb").put_item(TableName="penstock-dev-gates", Item=item)
