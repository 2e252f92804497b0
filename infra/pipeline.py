"""What empties the stream and the destinations' queues: fanout and deliver; stateless."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import rights
from infra.functions import Maker
from infra.settings import Environments
from infra.stages import Stage

RECORDS_AT_ONCE = 100
RETRIED_FOR = Duration.days(6)  # the stream keeps records for seven
SHARES_OF_A_SHARD = 4  # batches of one shard at once; order is kept per ordering key


class Pipeline(Stack):
    def __init__(self, scope: Construct, stage: Stage, maker: Maker, on: rights.Resources, given: Environments) -> None:
        super().__init__(scope, f"{stage.prefix}-pipeline", stack_name=f"{stage.prefix}-pipeline")
        fanout = maker.function(self, "fanout", rights.fanout(on), given.fanout, timeout_s=60)
        self._feed(fanout, on)
        self.deliver = maker.function(
            self, "deliver", rights.deliver(on), given.deliver, timeout_s=stage.deliver_timeout_s
        )

    def _feed(self, fanout: lambda_.Function, on: rights.Resources) -> None:
        """From the oldest record on, retried until shortly before the stream would forget it, then kept in S3 whole.

        What no code can read does not come so far: fanout parks it by itself, and blocks nothing.
        """
        lambda_.CfnEventSourceMapping(
            self,
            "FanoutFeed",
            function_name=fanout.function_name,
            event_source_arn=on.stream,
            starting_position="TRIM_HORIZON",
            batch_size=RECORDS_AT_ONCE,
            parallelization_factor=SHARES_OF_A_SHARD,
            maximum_batching_window_in_seconds=0,
            function_response_types=["ReportBatchItemFailures"],
            bisect_batch_on_function_error=True,  # what crashes fanout is soon alone with its retries
            maximum_record_age_in_seconds=int(RETRIED_FOR.to_seconds()),
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=on.failure_bucket)
            ),
        )
