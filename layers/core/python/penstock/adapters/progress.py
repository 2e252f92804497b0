"""The table `progress`: what failing jobs have reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from penstock import tables
from penstock.domain.progress import Progress
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S = 15 * 86_400  # longer than SQS keeps a job


class ProgressTable:
    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None:
        """Raises `StoreUnavailable`."""
        key = _key(workspace, destination, job_id)
        answer = self._asked(lambda: self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True))
        item = answer.get("Item")
        return Progress(int(item["done"]["N"]), int(item["attempts"]["N"]), item["last"]["S"]) if item else None

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None:
        """Raises `StoreUnavailable`."""
        item = _key(workspace, destination, job_id) | {
            "done": {"N": str(progress.done)},
            "attempts": {"N": str(progress.attempts)},
            "last": {"S": progress.last},
            "expires_at": {"N": str(int(self._clock()) + KEPT_S)},
        }
        self._asked(lambda: self._client.put_item(TableName=self._table, Item=item))

    def _asked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ClientError as error:
            raise StoreUnavailable(f"DynamoDB: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"DynamoDB: {type(error).__name__}") from error


def _key(workspace: str, destination: str, job_id: str) -> dict[str, Any]:
    return {"owner": {"S": tables.owner(workspace, destination)}, "sk": {"S": job_id}}
