"""Lambda: makes and deletes the event source mapping that carries a destination's queue to `deliver`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from penstock.adapters.aws_errors import asking, code_of
from penstock.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

TRIES = 6
PAUSE_S = 1.0
BATCH_SIZE = 10


@dataclass(frozen=True)
class MappingPlan:
    """What every mapping is made with, on or off. The queue lies in the function's own account and region."""

    stage: str
    queue_prefix: str
    function_arn: str
    concurrency: int
    is_on: bool = True

    def queue_arn(self, destination_id: str) -> str:
        _, partition, _, region, account, *_ = self.function_arn.split(":")
        return f"arn:{partition}:sqs:{region}:{account}:{self.queue_prefix}{destination_id}.fifo"


class QueueMapping:
    """Mappings are found again by their queue, so that nothing that was made can be forgotten."""

    def __init__(self, client: LambdaClient, plan: MappingPlan, pause: Callable[[float], None]) -> None:
        self._client = client
        self._plan = plan
        self._pause = pause

    def create(self, workspace_id: str, destination_id: str) -> str:
        """The mapping's id; making it again gives the same."""
        with asking("Lambda", QueueUnavailable):
            try:
                return self._created(workspace_id, destination_id)
            except ClientError as error:
                if code_of(error) != "ResourceConflictException":
                    raise
        known = self._found(destination_id)
        if not known:
            raise QueueUnavailable("Lambda: ResourceConflictException")
        return known[0]

    def delete(self, destination_id: str, known_id: str | None) -> None:
        """All of the queue's mappings; one made a moment ago may not be listed yet, so `known_id` goes too."""
        for mapping_id in dict.fromkeys(([known_id] if known_id else []) + self._found(destination_id)):
            with asking("Lambda", QueueUnavailable):
                self._delete(mapping_id)

    def _created(self, workspace_id: str, destination_id: str) -> str:
        return self._client.create_event_source_mapping(
            EventSourceArn=self._plan.queue_arn(destination_id),
            FunctionName=self._plan.function_arn,
            Enabled=self._plan.is_on,
            BatchSize=BATCH_SIZE,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            ScalingConfig={"MaximumConcurrency": self._plan.concurrency},
            Tags={
                "penstock:stage": self._plan.stage,
                "penstock:workspace": workspace_id,
                "penstock:destination": destination_id,
            },
        )["UUID"]

    def _found(self, destination_id: str) -> list[str]:
        """The ids of the queue's mappings but for those that are being deleted already."""
        with asking("Lambda", QueueUnavailable):
            answer = self._client.list_event_source_mappings(EventSourceArn=self._plan.queue_arn(destination_id))
        return [found["UUID"] for found in answer["EventSourceMappings"] if found.get("State") != "Deleting"]

    def _delete(self, mapping_id: str) -> None:
        """AWS refuses while a mapping is still being made or changed: wait a little, then let the caller come again."""
        for attempt in range(TRIES):
            try:
                self._client.delete_event_source_mapping(UUID=mapping_id)
                return
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return
                if code_of(error) != "ResourceInUseException" or attempt == TRIES - 1:
                    raise
            self._pause(PAUSE_S)
