"""For how long each workspace keeps letters, read from the table `config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.workspaces import KEPT_DAYS, USUAL_DAYS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LetterRetention:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def days(self, workspace: str) -> int:
        """Raises `StoreUnavailable`."""
        key: dict[str, Any] = {"workspace_id": {"S": workspace}, "sk": {"S": "workspace"}}
        with asking_dynamodb():
            answer = self._client.get_item(TableName=self._table, Key=key)
        days = int(answer.get("Item", {}).get("letters_retention_days", {}).get("N", USUAL_DAYS))
        return days if days in KEPT_DAYS else USUAL_DAYS
