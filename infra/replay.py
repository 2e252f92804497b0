"""What replays letters, with the queue of its tickets."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from infra import rights
from infra.functions import Maker
from infra.settings import Environments
from infra.stages import Stage

TIMEOUT_S = 60
HIDDEN_S = 90  # with the time of a step less than the five minutes for which a queue knows its jobs again
STEPS_AT_ONCE = 5
NO_DEAD_TICKETS = "Every step puts a new ticket; what fails comes again until it works, or its replay is cancelled."


def add_replay(stack: Stack, stage: Stage, maker: Maker, on: rights.Resources, given: Environments) -> None:
    made = maker.function(stack, "replay", rights.replay(on), given.replay, timeout_s=TIMEOUT_S)
    tickets = sqs.Queue(
        stack,
        "Replays",
        queue_name=stage.replays,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=Duration.seconds(HIDDEN_S),
        retention_period=Duration.days(14),
        removal_policy=RemovalPolicy.DESTROY,
    )
    Validations.of(tickets).acknowledge(Acknowledgment(id="AwsSolutions-SQS3", reason=NO_DEAD_TICKETS))
    lambda_.CfnEventSourceMapping(
        stack,
        "ReplaysFeed",
        function_name=made.function_name,
        event_source_arn=tickets.queue_arn,
        batch_size=1,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=STEPS_AT_ONCE),
    )
