"""When a destination's overflow has its turn: an item in the table `gates`, found by the tick as overdue gates are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock import tables
from penstock.adapters.aws_errors import ask_if
from penstock.domain.audit import iso
from penstock.domain.destinations import IMPORTS
from penstock.domain.overflow import LaneKey, Turn

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REACHED = "reached_"  # by the name of a queue, the group of the lane that was looked at last
OPERATOR = "operator"  # as the gates' index has it
EARLY_S = 2.0  # by which clocks may differ
OVERDUE_S = 20.0  # what a chore should have done by then, the tick does
OPENED_LATELY_S = 300.0  # for so long the index may not show a lane that was opened


class Turns:
    """Every method raises `StoreUnavailable`."""

    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def begin(self, workspace: str, destination: str) -> None:
        """A lane is opened: from now on there are turns, if there were none."""
        now = self._clock()
        self._update(
            workspace,
            destination,
            "SET opened_at = :now, attention = :all, turn_at = if_not_exists(turn_at, :now), "
            "renewed_at = if_not_exists(renewed_at, :now), attend_at = if_not_exists(attend_at, :attend_at)",
            {":now": _number(now), ":all": {"S": OPERATOR}, ":attend_at": {"S": iso(now)}},
        )

    def take(self, workspace: str, destination: str, again_s: float) -> Turn | None:
        now = self._clock()
        values = {
            ":now": _number(now + EARLY_S),
            ":next": _number(now + again_s),
            ":attend_at": {"S": iso(now + again_s + OVERDUE_S)},
        }
        change = "SET turn_at = :next, attend_at = :attend_at"
        answer = self._update(workspace, destination, change, values, ConditionExpression="turn_at <= :now")
        return None if answer is None else _turn(answer["Attributes"])

    def reach(self, lane: LaneKey) -> None:
        """Only where there are turns: they may have ended."""
        self._update(
            lane.workspace,
            lane.destination,
            "SET #reached = :group",
            {":group": {"S": lane.group}},
            ConditionExpression="attribute_exists(sk)",
            ExpressionAttributeNames={"#reached": f"{REACHED}{lane.destination}"},
        )

    def renewed(self, workspace: str, destination: str) -> None:
        values = {":now": _number(self._clock())}
        there = "attribute_exists(sk)"
        self._update(workspace, destination, "SET renewed_at = :now", values, ConditionExpression=there)

    def end(self, workspace: str, destination: str) -> None:
        """Unless a lane was opened of late."""
        ask_if(
            lambda: self._client.delete_item(
                TableName=self._table,
                Key=_key(workspace, destination),
                ConditionExpression="opened_at <= :before",
                ExpressionAttributeValues={":before": _number(self._clock() - OPENED_LATELY_S)},
            )
        )

    def _update(self, workspace: str, destination: str, change: str, values: dict[str, Any], **more: Any) -> Any:
        return ask_if(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(workspace, destination),
                UpdateExpression=change,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                **more,
            )
        )


def _key(workspace: str, destination: str) -> dict[str, Any]:
    """Both of its queues have them together."""
    owner = tables.owner(workspace, destination.removesuffix(IMPORTS))
    return {"owner": {"S": owner}, "sk": {"S": tables.OVERFLOW_TURNS}}


def _turn(item: dict[str, Any]) -> Turn:
    reached = {name.removeprefix(REACHED): each["S"] for name, each in item.items() if name.startswith(REACHED)}
    return Turn(reached, float(item["renewed_at"]["N"]))


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}
