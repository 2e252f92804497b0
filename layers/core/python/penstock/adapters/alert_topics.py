"""SNS: publishes alerts to topics of the hub's own account and region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

LONGEST_SUBJECT = 100


class SNSClient(Protocol):
    """What is used of botocore's."""

    def publish(self, *, TopicArn: str, Subject: str, Message: str) -> Any: ...  # noqa: N803


class AlertTopics:
    """`client` makes the client of SNS when it is needed first: most alerts call a webhook."""

    def __init__(self, client: Callable[[], SNSClient]) -> None:
        self._client = client

    def publish(self, topic: str, subject: str, message: str) -> bool:
        """Whether SNS took it: a topic that is not there, or that may not be published to, takes nothing."""
        plain = "".join(letter if " " <= letter <= "~" else "?" for letter in subject)
        try:
            self._client().publish(TopicArn=topic, Subject=plain.strip()[:LONGEST_SUBJECT] or "alert", Message=message)
        except (ClientError, BotoCoreError):
            return False
        return True
