"""What each source does with data that contradicts itself, read from the table `config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.schema_lattice import POLICIES, VARIANT, Policy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class SourcePolicies:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self, of_source: str) -> Policy:
        """By `<workspace>#<source>`; the default for a source that is gone. Raises `StoreUnavailable`."""
        workspace, source = of_source.split("#")
        key = {"workspace_id": {"S": workspace}, "sk": {"S": f"source#{source}"}}
        with asking_dynamodb():
            answer = self._client.get_item(TableName=self._table, Key=key)
        policy = answer.get("Item", {}).get("schema_policy", {}).get("S", VARIANT)
        return policy if policy in POLICIES else VARIANT
