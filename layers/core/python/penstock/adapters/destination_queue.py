"""The destinations' queues as fan-out fills them and deliver hides their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from penstock.adapters.aws_errors import asking_queue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

LONGEST_HIDE_S = 43_200
HELD: list[QueueAttributeNameType] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


class Outgoing(Protocol):
    """A job on its way to a queue."""

    @property
    def id(self) -> str: ...

    @property
    def group(self) -> str: ...

    @property
    def body(self) -> str: ...


class DestinationQueues:
    def __init__(self, client: SQSClient) -> None:
        self._client = client

    def send(self, queue_url: str, messages: Sequence[Outgoing]) -> set[str]:
        """The ids of the jobs that SQS did not take, of ten at most. Raises `QueueGone` or `QueueUnavailable`."""
        with asking_queue():
            answer = self._client.send_message_batch(
                QueueUrl=queue_url,
                Entries=[
                    {
                        "Id": str(place),
                        "MessageBody": message.body,
                        "MessageGroupId": message.group,
                        "MessageDeduplicationId": message.id,
                    }
                    for place, message in enumerate(messages)
                ],
            )
        return {messages[int(entry["Id"])].id for entry in answer.get("Failed", [])}

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        """Hide up to ten messages, by their receipts, for so many seconds. Raises `QueueGone` or `QueueUnavailable`.

        One that SQS does not change keeps the time-out that it has.
        """
        with asking_queue():
            self._client.change_message_visibility_batch(
                QueueUrl=queue_url,
                Entries=[
                    {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": min(seconds, LONGEST_HIDE_S)}
                    for place, (receipt, seconds) in enumerate(waits)
                ],
            )

    def waiting(self, queue_url: str) -> int:
        """About how many messages the queue holds. Raises `QueueGone` or `QueueUnavailable`."""
        with asking_queue():
            answer = self._client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=HELD)
        return sum(int(answer["Attributes"].get(name, "0")) for name in HELD)


def queue_url_of(arn: str, endpoint: str) -> str:
    """The URL of a queue whose ARN the poller names."""
    *_, account, name = arn.split(":")
    return f"{endpoint}/{account}/{name}"
