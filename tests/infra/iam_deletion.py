"""What the control API and the gatekeeper do for a destination that is deleted, or that was never whole, all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3

from penstock.wiring import gatekeeper
from tests.infra.iam_gates import ONE, Sick, tend

Json = dict[str, Any]
Call = Callable[..., Any]
HALF_MADE = "dst_000000000abc"
GATES, CONFIG = "penstock-dev-gates", "penstock-dev-config"


def deletion(call: Call, control: Call, made: Json, tool: Any) -> None:
    """One with an alert and a job is buried to its end; another, that a crash left half made, is swept."""
    gone = Sick(control, made, tool)
    gone.put("ada")
    rule = {"name": "Down", "metric": "gate", "webhook": "https://example.com/alert"}
    control("POST", f"{ONE}/alerts", made["token"], rule, destination_id=gone.id)
    leave_half_made(gone.workspace)
    control("DELETE", ONE, made["token"], destination_id=gone.id)
    tend(call, gone.workspace, gone.id)
    come_again(gone)
    call("gatekeeper", {"tick": True})
    come_again(gone)
    gatekeeper.ports.cache_clear()
    tend(call, gone.workspace, gone.id, PENSTOCK_QUEUE_OUTLIVES_S="0.000001")
    gatekeeper.ports.cache_clear()
    queues = boto3.client("sqs").list_queues(QueueNamePrefix="penstock-dev-d-").get("QueueUrls", [])
    left = str([boto3.client("dynamodb").scan(TableName=CONFIG)["Items"], queues])
    assert gone.id not in left and HALF_MADE not in left


def leave_half_made(workspace: str) -> None:
    boto3.client("sqs").create_queue(QueueName=f"penstock-dev-d-{HALF_MADE}.fifo", Attributes={"FifoQueue": "true"})
    begun = {"workspace_id": {"S": workspace}, "sk": {"S": f"unfinished#{HALF_MADE}"}, "started_at": {"N": "1"}}
    boto3.client("dynamodb").put_item(TableName=CONFIG, Item=begun)


def come_again(gone: Sick) -> None:
    """As if the time until the next look had passed."""
    boto3.client("dynamodb").update_item(
        TableName=GATES,
        Key={"owner": {"S": f"{gone.workspace}#{gone.id}"}, "sk": {"S": "burial"}},
        UpdateExpression="SET turn_at = :long_ago, attend_at = :then",
        ExpressionAttributeValues={":long_ago": {"N": "0"}, ":then": {"S": "2026-01-01T00:00:00.000Z"}},
    )
