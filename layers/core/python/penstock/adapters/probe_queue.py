"""A destination's queue as a probe empties it: by hand, without the event source mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.adapters.aws_errors import asking_queue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

AT_ONCE = 10
COUNTS: list[QueueAttributeNameType] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


class Received(NamedTuple):
    """One job as it was taken off the queue: `receives` counts this time too, `sent_at` is in epoch seconds."""

    id: str
    receipt: str
    group: str
    body: str
    receives: int
    sent_at: float


class ProbeQueue:
    """Every call raises `QueueGone` or `QueueUnavailable`."""

    def __init__(self, client: SQSClient) -> None:
        self._client = client

    def receive(self, queue_url: str, hidden_s: int) -> list[Received]:
        """Up to ten jobs, those of a group in order, hidden from others for so many seconds."""
        with asking_queue():
            answer = self._client.receive_message(
                QueueUrl=queue_url,
                MaxNumberOfMessages=AT_ONCE,
                VisibilityTimeout=hidden_s,
                WaitTimeSeconds=0,
                MessageSystemAttributeNames=["MessageGroupId", "ApproximateReceiveCount", "SentTimestamp"],
            )
        return [_received(message) for message in answer.get("Messages", [])]

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None:
        """Up to ten jobs that are done. One that stays comes again, under the same keys."""
        entries: Any = [{"Id": str(place), "ReceiptHandle": receipt} for place, receipt in enumerate(receipts)]
        with asking_queue():
            self._client.delete_message_batch(QueueUrl=queue_url, Entries=entries)

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        """Up to ten jobs, by their receipts, for so many seconds."""
        entries: Any = [
            {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for place, (receipt, seconds) in enumerate(waits)
        ]
        with asking_queue():
            self._client.change_message_visibility_batch(QueueUrl=queue_url, Entries=entries)

    def waiting(self, queue_url: str) -> int:
        """How many jobs there are, visible or not, as far as SQS knows."""
        with asking_queue():
            answer = self._client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=COUNTS)
        return sum(int(answer["Attributes"][name]) for name in COUNTS)


def _received(message: Any) -> Received:
    attributes = message["Attributes"]
    return Received(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        group=attributes["MessageGroupId"],
        body=message["Body"],
        receives=int(attributes["ApproximateReceiveCount"]),
        sent_at=int(attributes["SentTimestamp"]) / 1000,
    )
