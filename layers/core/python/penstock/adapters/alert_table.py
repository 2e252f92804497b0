"""The table `gates`, its items of alerts: which rules are watched, when the turn of each comes, and how it stands.

They lie in a partition beside the destination's own, and under a key of their own in the index that the gatekeeper
looks into. A turn is taken by moving `attend_at` on, on condition that it is what was seen: one of two gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb, is_refused
from penstock.domain.alerts import AlertState, Key, Turn

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ALERT, BESIDE = "alert#", "#alerts"
ATTENTION = "alerts"  # the partition of the index
FIRST_LOOK_S = 60.0

_state = msgspec.json.Decoder(AlertState).decode


class AlertTable:
    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def watch(self, key: Key) -> None:
        """From in a minute on. Raises `StoreUnavailable`."""
        first = {"attention": {"S": ATTENTION}, "attend_at": {"S": _moment(self._clock() + FIRST_LOOK_S)}}
        item = {**_item_key(key), **first, "state": _encoded(AlertState())}
        self._asked("put_item", TableName=self._table, Item=item)

    def read(self, key: Key) -> AlertState:
        """Raises `StoreUnavailable`."""
        answer = self._asked("get_item", TableName=self._table, Key=_item_key(key), ConsistentRead=True)
        return _state(answer["Item"]["state"]["S"]) if "Item" in answer else AlertState()

    def due(self, now: float, most: int) -> list[Turn]:
        """The longest waiting first. Raises `StoreUnavailable`."""
        asked = {
            "IndexName": tables.GATES_BY_ATTENTION,
            "KeyConditionExpression": "attention = :alerts AND attend_at <= :now",
            "ExpressionAttributeValues": {":alerts": {"S": ATTENTION}, ":now": {"S": _moment(now)}},
        }
        return list(islice(self._query(asked), most))

    def due_of(self, workspace: str, destination: str, now: float) -> list[Turn]:
        """Those of one destination, the longest waiting first. Raises `StoreUnavailable`."""
        asked = {
            "KeyConditionExpression": "#owner = :owner AND begins_with(sk, :alert)",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":owner": _owner(workspace, destination), ":alert": {"S": ALERT}},
            "ConsistentRead": True,
        }
        return sorted((turn for turn in self._query(asked) if turn.at <= _moment(now)), key=lambda turn: turn.at)

    def _query(self, asked: Mapping[str, Any]) -> Iterator[Turn]:
        start: dict[str, Any] = {}
        while True:
            answer = self._asked("query", TableName=self._table, **asked, **start)
            yield from map(_turn, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def take(self, turn: Turn, next_at: float) -> Turn:
        """Raises `StoreChanged` where another was faster, and `StoreUnavailable`."""
        answer = self._asked(
            "update_item",
            TableName=self._table,
            Key=_item_key(turn.key),
            UpdateExpression="SET attend_at = :next",
            ConditionExpression="attend_at = :seen",
            ExpressionAttributeValues={":next": {"S": _moment(next_at)}, ":seen": {"S": turn.at}},
            ReturnValues="ALL_NEW",
        )
        return _turn(answer["Attributes"])

    def save(self, turn: Turn, state: AlertState) -> None:
        """Raises `StoreChanged` where it is somebody else's turn by now, and `StoreUnavailable`."""
        self._asked(
            "update_item",
            TableName=self._table,
            Key=_item_key(turn.key),
            UpdateExpression="SET #state = :state",
            ConditionExpression="attend_at = :mine",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": _encoded(state), ":mine": {"S": turn.at}},
        )

    def forget(self, key: Key) -> None:
        """Raises `StoreUnavailable`."""
        self._asked("delete_item", TableName=self._table, Key=_item_key(key))

    def _asked(self, call: str, **parameters: Any) -> Any:
        with asking_dynamodb(changed_if=is_refused):
            return getattr(self._client, call)(**parameters)


def _item_key(key: Key) -> dict[str, Any]:
    return {"owner": _owner(key.workspace, key.destination), "sk": {"S": ALERT + key.alert}}


def _owner(workspace: str, destination: str) -> dict[str, str]:
    return {"S": tables.owner(workspace, destination) + BESIDE}


def _turn(item: Mapping[str, Any]) -> Turn:
    workspace, destination, _ = item["owner"]["S"].split("#")
    key = Key(workspace, destination, item["sk"]["S"].removeprefix(ALERT))
    return Turn(key, _state(item["state"]["S"]), item["attend_at"]["S"])


def _encoded(state: AlertState) -> dict[str, str]:
    return {"S": msgspec.json.encode(state).decode()}


def _moment(now: float) -> str:
    """To the microsecond: no two turns of a rule come at one moment."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")
