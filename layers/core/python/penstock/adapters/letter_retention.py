"""For how long each workspace keeps letters, read from the table `config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from penstock.domain.workspaces import KEPT_DAYS, USUAL_DAYS
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LetterRetention:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def days(self, workspace: str) -> int:
        """Raises `StoreUnavailable`."""
        key: dict[str, Any] = {"workspace_id": {"S": workspace}, "sk": {"S": "workspace"}}
        try:
            answer = self._client.get_item(TableName=self._table, Key=key)
        except ClientError as error:
            raise StoreUnavailable(f"DynamoDB: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"DynamoDB: {type(error).__name__}") from error
        days = int(answer.get("Item", {}).get("letters_retention_days", {}).get("N", USUAL_DAYS))
        return days if days in KEPT_DAYS else USUAL_DAYS
