"""A destination's settings with its secrets still encrypted, read from the table `config` by deliver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy
from penstock.domain.sealed import Sealed
from penstock.domain.webhook_settings import Plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class SealedDestinations:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def find(self, workspace: str, destination: str) -> Sealed | None:
        """Raises `StoreUnavailable`."""
        key: dict[str, Any] = {"workspace_id": {"S": workspace}, "sk": {"S": f"destination#{destination}"}}
        with asking_dynamodb():
            item = self._client.get_item(TableName=self._table, Key=key).get("Item")
        if item is None:
            return None
        settings = msgspec.json.decode(item["settings"]["S"], type=Plain)
        policy = msgspec.json.decode(item["delivery"]["S"], type=DeliveryPolicy) if "delivery" in item else STANDARD
        return Sealed(item["enabled"]["BOOL"], settings, item.get("secrets", {}).get("B"), policy)
