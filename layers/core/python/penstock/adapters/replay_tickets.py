"""The queue of replays: SQS, standard; a message sets one step of a replay going."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penstock.adapters.aws_errors import asking
from penstock.domain.replays import Ticket
from penstock.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class ReplayTickets:
    def __init__(self, client: SQSClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def put(self, ticket: Ticket, delay_s: int) -> None:
        """To be seen in so many seconds, 900 at most. Raises `QueueUnavailable`."""
        with asking("SQS", QueueUnavailable):
            self._client.send_message(
                QueueUrl=self._queue_url, MessageBody=msgspec.json.encode(ticket).decode(), DelaySeconds=delay_s
            )


def ticket_in(body: str) -> Ticket:
    """The ticket that a message holds."""
    return msgspec.json.decode(body, type=Ticket)
