"""The gatekeeper with what wakes it: the queue of its chores, and a schedule that makes up for those that got lost."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs

from infra import rights
from infra.functions import Maker
from infra.settings import Environments
from infra.stages import Stage

TIMEOUT_S = 120  # three rounds of a probe, each as long as its slowest request
CHORES_AT_ONCE = 10
BATCHES_AT_ONCE = 20  # and the tick needs a function too
NO_DEAD_CHORES = "A chore only says where to look: what is due stands in the gates, and the schedule finds it again."


def add_gatekeeper(stack: Stack, stage: Stage, maker: Maker, on: rights.Resources, given: Environments) -> None:
    made = maker.function(stack, "gatekeeper", rights.gatekeeper(on), given.gatekeeper, timeout_s=TIMEOUT_S)
    chores = sqs.Queue(
        stack,
        "Chores",
        queue_name=stage.chores,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=Duration.seconds(TIMEOUT_S),
        retention_period=Duration.minutes(5),
        removal_policy=RemovalPolicy.DESTROY,
    )
    Validations.of(chores).acknowledge(Acknowledgment(id="AwsSolutions-SQS3", reason=NO_DEAD_CHORES))
    lambda_.CfnEventSourceMapping(
        stack,
        "ChoresFeed",
        function_name=made.function_name,
        event_source_arn=chores.queue_arn,
        batch_size=CHORES_AT_ONCE,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=BATCHES_AT_ONCE),
    )
    _tick(stack, stage, made)


def _tick(stack: Stack, stage: Stage, made: lambda_.Function) -> None:
    waking = iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[made.function_arn])
    role = iam.Role(
        stack,
        "TickRole",
        assumed_by=iam.ServicePrincipal(
            "scheduler.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
        ),
        inline_policies={"rights": iam.PolicyDocument(statements=[waking])},
    )
    scheduler.CfnSchedule(
        stack,
        "Tick",
        name=f"{stage.prefix}-tick",
        schedule_expression="rate(1 minute)",
        flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=scheduler.CfnSchedule.TargetProperty(
            arn=made.function_arn,
            role_arn=role.role_arn,
            input='{"tick": true}',
            retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                maximum_event_age_in_seconds=60, maximum_retry_attempts=0
            ),
        ),
    )
