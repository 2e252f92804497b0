"""The gatekeeper with what wakes it: the queue of its chores, and a schedule that makes up for those that got lost."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler

from infra import rights
from infra.functions import Maker
from infra.settings import Environments
from infra.stages import Stage
from infra.work_queue import Work, add_work

TIMEOUT_S = 120  # three rounds of a probe, each as long as its slowest request
CHORES_AT_ONCE = 10
BATCHES_AT_ONCE = 20  # and the tick needs a function too
NO_DEAD_CHORES = "A chore only says where to look: what is due stands in the gates, and the schedule finds it again."


def add_gatekeeper(stack: Stack, stage: Stage, maker: Maker, on: rights.Resources, given: Environments) -> None:
    made = maker.function(stack, "gatekeeper", rights.gatekeeper(on), given.gatekeeper, timeout_s=TIMEOUT_S)
    chores = Work(
        "Chores",
        stage.chores,
        hidden_s=TIMEOUT_S,
        kept=Duration.minutes(5),
        at_once=CHORES_AT_ONCE,
        batches_at_once=BATCHES_AT_ONCE,
        why_no_dead=NO_DEAD_CHORES,
    )
    add_work(stack, chores, made)
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
