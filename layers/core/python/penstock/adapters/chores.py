"""The queue of the gatekeeper's chores: SQS, standard, each chore hidden until its time has come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from penstock.adapters.aws_errors import asking
from penstock.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

AT_ONCE = 10
LONGEST_DELAY_S = 900


class Chore(Protocol):
    """Whose gate somebody is to look after, and when."""

    @property
    def workspace(self) -> str: ...

    @property
    def destination(self) -> str: ...

    @property
    def delay_s(self) -> float: ...


class ChoreQueue:
    def __init__(self, client: SQSClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, chores: Sequence[Chore]) -> None:
        """Raises `QueueUnavailable` where not all were taken."""
        for first in range(0, len(chores), AT_ONCE):
            self._send(chores[first : first + AT_ONCE])

    def _send(self, chores: Sequence[Chore]) -> None:
        with asking("SQS", QueueUnavailable):
            answer = self._client.send_message_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(place), "MessageBody": _body(chore), "DelaySeconds": _delay(chore)}
                    for place, chore in enumerate(chores)
                ],
            )
        if answer.get("Failed"):
            raise QueueUnavailable(f"SQS: {answer['Failed'][0]['Code']}")


def chore_in(body: str) -> tuple[str, str]:
    """(workspace, destination) of a chore as it was sent."""
    found = msgspec.json.decode(body, type=dict[str, str])
    return found["workspace"], found["destination"]


def _body(chore: Chore) -> str:
    return msgspec.json.encode({"workspace": chore.workspace, "destination": chore.destination}).decode()


def _delay(chore: Chore) -> int:
    return min(math.ceil(chore.delay_s), LONGEST_DELAY_S)
