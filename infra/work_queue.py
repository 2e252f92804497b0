"""A standard queue that hands work to one function: what can be had of it again needs no dead letters."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs


@dataclass(frozen=True)
class Work:
    """`title` is what the queue is called in its stack, `name` in its account; `why_no_dead` why nothing gets lost."""

    title: str
    name: str
    hidden_s: int
    kept: Duration
    at_once: int
    batches_at_once: int
    why_no_dead: str


def add_work(stack: Stack, work: Work, worker: lambda_.Function) -> None:
    queue = sqs.Queue(
        stack,
        work.title,
        queue_name=work.name,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=Duration.seconds(work.hidden_s),
        retention_period=work.kept,
        removal_policy=RemovalPolicy.DESTROY,
    )
    Validations.of(queue).acknowledge(Acknowledgment(id="AwsSolutions-SQS3", reason=work.why_no_dead))
    lambda_.CfnEventSourceMapping(
        stack,
        f"{work.title}Feed",
        function_name=worker.function_name,
        event_source_arn=queue.queue_arn,
        batch_size=work.at_once,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=work.batches_at_once),
    )
