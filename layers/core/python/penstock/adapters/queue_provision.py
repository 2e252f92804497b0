"""SQS: makes and deletes the queue of a destination."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from penstock.adapters.aws_errors import asking, asking_queue
from penstock.errors import QueueGone, QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")

KEPT_S = 14 * 86_400
LARGEST_MESSAGE = 1_048_576


class QueueProvision:
    """Queues are found again by their name alone, so that nothing that was made can be forgotten."""

    def __init__(self, client: SQSClient, stage: str, prefix: str, visibility_timeout_s: int) -> None:
        self._client = client
        self._stage = stage
        self._prefix = prefix
        self._visibility_timeout_s = visibility_timeout_s

    def create(self, workspace_id: str, destination_id: str) -> str:
        """The queue's URL; making it again gives the same. High throughput: order and duplicates are per group."""
        with asking("SQS", QueueUnavailable):
            return self._client.create_queue(
                QueueName=self._name(destination_id),
                Attributes={
                    "FifoQueue": "true",
                    "ContentBasedDeduplication": "false",
                    "DeduplicationScope": "messageGroup",
                    "FifoThroughputLimit": "perMessageGroupId",
                    "MessageRetentionPeriod": str(KEPT_S),
                    "MaximumMessageSize": str(LARGEST_MESSAGE),
                    "VisibilityTimeout": str(self._visibility_timeout_s),
                    "SqsManagedSseEnabled": "true",
                },
                tags={
                    "penstock:stage": self._stage,
                    "penstock:workspace": workspace_id,
                    "penstock:destination": destination_id,
                },
            )["QueueUrl"]

    def find(self, destination_id: str) -> str | None:
        """The queue's URL, None where there is none."""
        return self._unless_gone(lambda: self._client.get_queue_url(QueueName=self._name(destination_id))["QueueUrl"])

    def delete(self, destination_id: str) -> None:
        url = self.find(destination_id)
        if url is not None:
            self._unless_gone(lambda: self._client.delete_queue(QueueUrl=url))

    def _unless_gone(self, call: Callable[[], T]) -> T | None:
        try:
            with asking_queue():
                return call()
        except QueueGone:
            return None

    def _name(self, destination_id: str) -> str:
        return f"{self._prefix}{destination_id}.fifo"
