"""The table `gates`, its items `rate`: how fast a destination may be sent to, changed by its version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb, is_refused
from penstock.domain.rate import RateState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

RATE = "rate"

_decode = msgspec.json.Decoder(RateState).decode


class RateTable:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self, workspace: str, destination: str) -> RateState:
        """As of now. Raises `StoreUnavailable`."""
        request = {"TableName": self._table, "Key": _key(workspace, destination), "ConsistentRead": True}
        with asking_dynamodb():
            return _state(self._client.get_item(**request).get("Item", {}))  # type: ignore[arg-type]

    def swap(self, workspace: str, destination: str, before: RateState, after: RateState) -> tuple[bool, RateState]:
        """Put `after` where `before` still is, and what is there then. Raises `StoreUnavailable`."""
        saved = msgspec.structs.replace(after, version=before.version + 1)
        values = {":rate": {"S": msgspec.json.encode(saved).decode()}, ":version": {"N": str(saved.version)}}
        if before.version:
            values[":before"] = {"N": str(before.version)}
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": _key(workspace, destination),
            "UpdateExpression": "SET rate = :rate, version = :version",
            "ConditionExpression": "version = :before" if before.version else "attribute_not_exists(version)",
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        with asking_dynamodb():
            try:
                self._client.update_item(**request)
            except ClientError as error:
                if not is_refused(error):
                    raise
                there = self._there(error, workspace, destination)
                return there == saved, there  # the same: an earlier try got through, and only its answer was lost
        return True, saved

    def _there(self, error: ClientError, workspace: str, destination: str) -> RateState:
        found: Any = error.response.get("Item")
        return _state(found) if found else self.read(workspace, destination)


def _state(item: Mapping[str, Any]) -> RateState:
    return _decode(item["rate"]["S"]) if "rate" in item else RateState()


def _key(workspace: str, destination: str) -> dict[str, Any]:
    return {"owner": {"S": tables.owner(workspace, destination)}, "sk": {"S": RATE}}
