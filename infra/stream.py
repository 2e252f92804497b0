"""The stream that every accepted event goes through; stateful."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_kinesis as kinesis
from constructs import Construct

from infra.stages import Stage


class Stream(Stack):
    def __init__(self, scope: Construct, stage: Stage) -> None:
        super().__init__(scope, f"{stage.prefix}-stream", stack_name=f"{stage.prefix}-stream")
        self.stream = kinesis.Stream(
            self,
            "Events",
            stream_name=f"{stage.prefix}-events",
            stream_mode=kinesis.StreamMode.ON_DEMAND,
            retention_period=Duration.days(7),
            encryption=kinesis.StreamEncryption.MANAGED,
            removal_policy=RemovalPolicy.DESTROY,
        )
