"""The streams that accepted events go through, live ones and those that may wait; stateful."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_kinesis as kinesis
from constructs import Construct

from infra.stages import Stage


class Stream(Stack):
    def __init__(self, scope: Construct, stage: Stage) -> None:
        super().__init__(scope, f"{stage.prefix}-stream", stack_name=f"{stage.prefix}-stream")
        self.stream = self._stream("Events", f"{stage.prefix}-events")
        self.bulk = self._stream("Bulk", f"{stage.prefix}-bulk")

    def _stream(self, name: str, stream_name: str) -> kinesis.Stream:
        return kinesis.Stream(
            self,
            name,
            stream_name=stream_name,
            stream_mode=kinesis.StreamMode.ON_DEMAND,
            retention_period=Duration.days(7),
            encryption=kinesis.StreamEncryption.MANAGED,
            removal_policy=RemovalPolicy.DESTROY,
        )
