"""The table `gates`, its items `burial`: destinations that are deleted, and whose jobs are being buried.

They are in the index `by_attention` too, in a partition of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock import tables
from penstock.adapters.aws_errors import ask_if, asking_dynamodb
from penstock.domain.audit import iso
from penstock.domain.burial import Burial
from penstock.domain.gate import Key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EARLY_S = 2.0  # by which clocks may differ
OVERDUE_S = 20.0  # what a chore should have done by then, the tick does


class BurialNotes:
    """Every method raises `StoreUnavailable`."""

    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def begin(self, workspace: str, destination: str) -> None:
        """From now on somebody looks after it; the time counts from the last beginning, for until then it was seen."""
        now = self._clock()
        self._update(
            workspace,
            destination,
            {
                "UpdateExpression": "SET begun_at = :now, turn_at = if_not_exists(turn_at, :now), "
                "attention = :burial, attend_at = if_not_exists(attend_at, :attend_at)",
                "ExpressionAttributeValues": {
                    ":now": _number(now),
                    ":burial": {"S": tables.BURIAL},
                    ":attend_at": {"S": iso(now + OVERDUE_S)},
                },
            },
        )

    def due(self, now: float, most: int) -> list[Key]:
        """Those that nobody has looked after in time, the longest overdue first."""
        with asking_dynamodb():
            answer = self._client.query(
                TableName=self._table,
                IndexName=tables.GATES_BY_ATTENTION,
                KeyConditionExpression="attention = :burial AND attend_at <= :now",
                ExpressionAttributeValues={":burial": {"S": tables.BURIAL}, ":now": {"S": iso(now)}},
                Limit=most,
            )
        found = []
        for item in answer["Items"]:
            workspace, destination = item["owner"]["S"].split("#")
            found.append((workspace, destination))
        return found

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Burial | None:
        """None where it is somebody else's turn, or there is no burial; else it is nobody else's for so long."""
        now = self._clock()
        answer = self._update(
            workspace,
            destination,
            {
                "UpdateExpression": "SET turn_at = :next, attend_at = :attend_at",
                "ConditionExpression": "turn_at <= :now",
                "ExpressionAttributeValues": {":now": _number(now + EARLY_S), **_again(now + again_s)},
                "ReturnValues": "ALL_NEW",
            },
        )
        return None if answer is None else _burial(answer["Attributes"])

    def put_off(self, workspace: str, destination: str, after: Burial, again_s: float) -> None:
        """How far it is, and for how long it is nobody's turn. One that is over stays so."""
        self._update(
            workspace,
            destination,
            {
                "UpdateExpression": "SET turn_at = :next, attend_at = :attend_at, busy_at = :busy_at, "
                "is_unmapped = :is_unmapped",
                "ConditionExpression": "attribute_exists(sk)",
                "ExpressionAttributeValues": {
                    **_again(self._clock() + again_s),
                    ":busy_at": _number(after.busy_at),
                    ":is_unmapped": {"BOOL": after.is_unmapped},
                },
            },
        )

    def call_off(self, workspace: str, destination: str, before: float) -> None:
        """There is no burial, if the note was made before that time."""
        key = _key(workspace, destination)
        ask_if(
            lambda: self._client.delete_item(
                TableName=self._table,
                Key=key,
                ConditionExpression="begun_at < :before",
                ExpressionAttributeValues={":before": _number(before)},
            )
        )

    def _update(self, workspace: str, destination: str, request: dict[str, Any]) -> Any:
        key = _key(workspace, destination)
        return ask_if(lambda: self._client.update_item(TableName=self._table, Key=key, **request))


def _again(at: float) -> dict[str, Any]:
    return {":next": _number(at), ":attend_at": {"S": iso(at + OVERDUE_S)}}


def _burial(item: dict[str, Any]) -> Burial:
    return Burial(
        begun_at=float(item["begun_at"]["N"]),
        busy_at=float(item.get("busy_at", {"N": "0"})["N"]),
        is_unmapped=item.get("is_unmapped", {"BOOL": False})["BOOL"],
    )


def _key(workspace: str, destination: str) -> dict[str, Any]:
    return {"owner": {"S": tables.owner(workspace, destination)}, "sk": {"S": tables.BURIAL}}


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}
