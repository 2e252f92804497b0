"""What empties the streams and the destinations' queues: fanout, deliver and the trackers of schemas; stateless."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import rights
from infra.functions import Maker
from infra.gatekeeper import add_gatekeeper
from infra.replay import add_replay
from infra.settings import Environments
from infra.stages import Stage

RECORDS_AT_ONCE = 100
RECORDS_COUNTED_AT_ONCE = 1_000  # each event name in a batch costs one write
ITEMS_AT_ONCE = 500
RETRIED_FOR = Duration.days(6)  # the stream keeps records for seven
SHARES_OF_A_SHARD = 4  # batches of one shard at once; order is kept per ordering key


class Pipeline(Stack):
    def __init__(self, scope: Construct, stage: Stage, maker: Maker, on: rights.Resources, given: Environments) -> None:
        super().__init__(scope, f"{stage.prefix}-pipeline", stack_name=f"{stage.prefix}-pipeline")
        fanout = maker.function(self, "fanout", rights.fanout(on), given.fanout, timeout_s=60)
        self._feed(fanout, on, on.stream, RECORDS_AT_ONCE, SHARES_OF_A_SHARD)
        bulk = maker.function(self, "fanout_bulk", rights.fanout_bulk(on), given.fanout, timeout_s=60, code="fanout")
        self._feed(bulk, on, on.bulk, RECORDS_AT_ONCE, SHARES_OF_A_SHARD)
        schema = maker.function(self, "schema", rights.schema(on), given.schema, timeout_s=60, memory_mb=1024)
        # one batch of a shard at a time: its counts have one writer
        self._feed(schema, on, on.stream, RECORDS_COUNTED_AT_ONCE, 1, stage.schema_window_s)
        self._feed(schema, on, on.bulk, RECORDS_COUNTED_AT_ONCE, 1, stage.schema_window_s, "Bulk")
        events.EventBus(self, "Bus", event_bus_name=stage.prefix)
        changes = maker.function(self, "schema_changes", rights.schema_changes(on), given.schema_changes, timeout_s=60)
        self._follow(changes, "Places", on.places_stream, on.failure_bucket)
        self._follow(changes, "Changes", on.changes_stream, on.failure_bucket)
        for name in ("deliver", "deliver_slow"):  # slow destinations never take what the healthy need
            settings = getattr(given, name)
            maker.function(self, name, rights.deliver(on), settings, timeout_s=stage.deliver_timeout_s, code="deliver")
        add_gatekeeper(self, stage, maker, on, given)
        add_replay(self, stage, maker, on, given)

    def _feed(
        self,
        consumer: lambda_.Function,
        on: rights.Resources,
        stream: str,
        records: int,
        shares: int,
        window_s: int = 0,
        name: str = "",
    ) -> None:
        """From the oldest record on, retried until shortly before the stream would forget it, then kept in S3 whole.

        What no code can read does not come so far: a consumer parks it by itself, and blocks nothing.
        """
        lambda_.CfnEventSourceMapping(
            self,
            f"{consumer.node.id}{name}Feed",
            function_name=consumer.function_name,
            event_source_arn=stream,
            starting_position="TRIM_HORIZON",
            batch_size=records,
            parallelization_factor=shares,
            maximum_batching_window_in_seconds=window_s,
            function_response_types=["ReportBatchItemFailures"],
            bisect_batch_on_function_error=True,  # what crashes a consumer is soon alone with its retries
            maximum_record_age_in_seconds=int(RETRIED_FOR.to_seconds()),
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=on.failure_bucket)
            ),
        )

    def _follow(self, consumer: lambda_.Function, name: str, stream: str, failure_bucket: str) -> None:
        """A table's stream, in order for each partition key; it forgets after a day."""
        lambda_.CfnEventSourceMapping(
            self,
            f"{name}Feed",
            function_name=consumer.function_name,
            event_source_arn=stream,
            starting_position="TRIM_HORIZON",
            batch_size=ITEMS_AT_ONCE,
            function_response_types=["ReportBatchItemFailures"],
            bisect_batch_on_function_error=True,
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=failure_bucket)
            ),
        )
