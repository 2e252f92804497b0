"""A stage's resources in moto, as a deploy and the control plane leave them."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache

from infra.account import MakeClient, clients_of
from infra.stages import Stage, stage

DEV = stage("dev", "us-east-1")
ASSUMED_BY_LAMBDA = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def function(client: MakeClient, name: str) -> str:
    """Its ARN; a role is made with it."""
    role = client("iam").create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=json.dumps(ASSUMED_BY_LAMBDA))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("handler.py", "")
    made = client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="handler.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return str(made["FunctionArn"])


def queue(client: MakeClient, name: str) -> str:
    """Its URL."""
    made = client("sqs").create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})
    return str(made["QueueUrl"])


def mapping(client: MakeClient, queue_url: str, function_arn: str) -> str:
    """Its id."""
    found = client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    made = client("lambda").create_event_source_mapping(
        EventSourceArn=found["Attributes"]["QueueArn"], FunctionName=function_arn
    )
    return str(made["UUID"])


def destination(client: MakeClient, of: Stage, destination_id: str, deliver_arn: str) -> tuple[str, str]:
    """(queue URL, mapping id), as the control plane makes them."""
    url = queue(client, f"{of.queue_prefix}{destination_id}")
    return url, mapping(client, url, deliver_arn)


@cache
def moto_clients() -> MakeClient:
    """Made once: moto hears every client that was made after its import, while it mocks."""
    return clients_of(DEV)
