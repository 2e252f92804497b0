"""After a destroy, an audit finds whatever carries the stage's names, and nothing of anybody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from moto import mock_aws

from infra.account import MakeClient
from infra.audit import audit
from tests.infra.moto_stage import DEV, destination, function, moto_clients


@pytest.fixture
def client() -> Iterator[MakeClient]:
    with mock_aws():
        yield moto_clients()


def key(client: MakeClient, stage_name: str) -> str:
    made = client("kms").create_key(Tags=[{"TagKey": "penstock:stage", "TagValue": stage_name}])
    return str(made["KeyMetadata"]["KeyId"])


def table(client: MakeClient, name: str) -> None:
    client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "sk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "sk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def stack(client: MakeClient, name: str) -> None:
    body = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    client("cloudformation").create_stack(StackName=name, TemplateBody=body)


def layer(client: MakeClient, name: str) -> None:
    client("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": b"-"})


def schedule(client: MakeClient, name: str) -> None:
    client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression="rate(1 minute)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "RoleArn": "arn:aws:iam::123456789012:role/r",
        },
    )


LEAVINGS: dict[str, Callable[[MakeClient, str], object]] = {
    "stack": lambda client, name: stack(client, f"penstock-{name}-state"),
    "function": lambda client, name: function(client, f"penstock-{name}-collect"),
    "layer": lambda client, name: layer(client, f"penstock-{name}-core"),
    "table": lambda client, name: table(client, f"penstock-{name}-config"),
    "stream": lambda client, name: client("kinesis").create_stream(StreamName=f"penstock-{name}-events", ShardCount=1),
    "queue": lambda client, name: client("sqs").create_queue(QueueName=f"penstock-{name}-chores"),
    "schedule": lambda client, name: schedule(client, f"penstock-{name}-tick"),
    "bucket": lambda client, name: client("s3").create_bucket(Bucket=f"penstock-{name}-state-failures"),
    "log group": lambda client, name: client("logs").create_log_group(logGroupName=f"/aws/lambda/penstock-{name}-x"),
    "API": lambda client, name: client("apigatewayv2").create_api(Name=f"penstock-{name}-control", ProtocolType="HTTP"),
    "secret": lambda client, name: client("secretsmanager").create_secret(Name=f"penstock-{name}/operator-token"),
    "KMS key": key,
}


@pytest.mark.parametrize("kind", LEAVINGS)
def test_each_kind_of_thing_that_is_left_is_named(kind: str, client: MakeClient) -> None:
    LEAVINGS[kind](client, "dev")
    assert any(line.startswith(f"{kind} ") for line in audit(client, DEV).left)


def test_queues_and_mappings_that_were_made_at_run_time_are_named(client: MakeClient) -> None:
    url, mapping = destination(client, DEV, "dst_1", function(client, "penstock-dev-deliver"))
    left = audit(client, DEV).left
    assert {f"mapping {mapping}", f"queue {url.rsplit('/', 1)[-1]}"} <= set(left)


def test_other_stages_and_other_people_are_left_alone(client: MakeClient) -> None:
    for leave in LEAVINGS.values():
        leave(client, "dev2")
    client("s3").create_bucket(Bucket="penstock-developers")
    client("kms").create_key()
    assert audit(client, DEV).left == []


def test_a_deleted_stack_is_gone(client: MakeClient) -> None:
    stack(client, "penstock-dev-state")
    client("cloudformation").delete_stack(StackName="penstock-dev-state")
    assert audit(client, DEV).left == []


def test_a_key_that_awaits_its_deletion_is_told_but_is_no_failure(client: MakeClient) -> None:
    key_id = key(client, "dev")
    client("kms").schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    found = audit(client, DEV)
    assert found.left == []
    assert [line.partition(" until ")[0] for line in found.pending] == [f"KMS key {key_id} stays pending deletion"]
