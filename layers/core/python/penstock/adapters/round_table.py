"""The table `gates`, its one item `round`: how far the gatekeeper's round of all destinations has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from penstock.adapters.aws_errors import asking_dynamodb, is_refused
from penstock.domain.rounds import Round

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY: dict[str, Any] = {"owner": {"S": "operator"}, "sk": {"S": "round"}}

_round = msgspec.json.Decoder(Round).decode


class RoundTable:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self) -> Round:
        """One that is over, where none ever began. Raises `StoreUnavailable`."""
        answer = self._asked("get_item", TableName=self._table, Key=KEY, ConsistentRead=True)
        return _round(answer["Item"]["reached"]["S"]) if "Item" in answer else Round()

    def save(self, before: Round, after: Round) -> None:
        """Raises `StoreChanged` where it is not as it was `before`, and `StoreUnavailable`."""
        is_first = before == Round()
        self._asked(
            "update_item",
            TableName=self._table,
            Key=KEY,
            UpdateExpression="SET reached = :after",
            ConditionExpression="attribute_not_exists(reached)" if is_first else "reached = :before",
            ExpressionAttributeValues={":after": _text(after)} | ({} if is_first else {":before": _text(before)}),
        )

    def _asked(self, call: str, **parameters: Any) -> Any:
        with asking_dynamodb(changed_if=is_refused):
            return getattr(self._client, call)(**parameters)


def _text(reached: Round) -> dict[str, str]:
    return {"S": msgspec.json.encode(reached).decode()}
