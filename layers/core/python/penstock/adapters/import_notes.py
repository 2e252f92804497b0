"""Which queue for imports a destination has, noted in its item in the table `config` by the bulk stream's fan-out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.adapters.aws_errors import ask_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class ImportNotes:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def note_mapping(self, workspace_id: str, destination_id: str, mapping_id: str) -> bool:
        """False where the destination is gone. Raises `StoreUnavailable`."""
        return self._noted(workspace_id, destination_id, "import_mapping_id", mapping_id)

    def note_queue(self, workspace_id: str, destination_id: str, queue_url: str) -> bool:
        """False where the destination is gone. Raises `StoreUnavailable`."""
        return self._noted(workspace_id, destination_id, "import_queue_url", queue_url)

    def _noted(self, workspace_id: str, destination_id: str, name: str, value: str) -> bool:
        """The item's version stays: nobody changes these by hand."""
        answer = ask_if(
            lambda: self._client.update_item(
                TableName=self._table,
                Key={"workspace_id": {"S": workspace_id}, "sk": {"S": f"destination#{destination_id}"}},
                UpdateExpression="SET #name = :value",
                ConditionExpression="attribute_exists(sk)",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": {"S": value}},
            )
        )
        return answer is not None
