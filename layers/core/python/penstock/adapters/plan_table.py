"""The tracking plans of sources, read from the table `config` by the stream's consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from penstock.adapters.aws_errors import asking_dynamodb

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Stored(NamedTuple):
    version: int
    content: bytes


class PlanTable:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self, workspace: str, source: str) -> Stored | None:
        """The source's plan; None where it has none. Raises `StoreUnavailable`."""
        with asking_dynamodb():
            answer = self._client.get_item(
                TableName=self._table, Key={"workspace_id": {"S": workspace}, "sk": {"S": f"plan#{source}"}}
            )
        item = answer.get("Item")
        if item is None or not item["active"]["BOOL"]:
            return None
        return Stored(int(item["version"]["N"]), bytes(item["content"]["B"]))
