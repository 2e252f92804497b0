"""The table `letters`: replays and how far they have come, beside the letters that they are of.

An item for each workspace names those of its replays that may be live, as a set: to enter it twice, or to leave it
twice, is the same as once.

What a person does to a replay is written in one transaction with its entry in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb, is_first_refused, is_refused
from penstock.domain.audit import Entry
from penstock.domain.replays import KEPT_DAYS, Replay
from penstock.errors import StoreChanged

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REPLAY = "replay#"
LIVE = "live_replays"
DAY_S = 86_400

_decode = msgspec.json.Decoder(Replay).decode


class ReplayTable:
    def __init__(self, client: DynamoDBClient, table: str, audit_table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._audit_table = audit_table
        self._clock = clock

    def find(self, workspace: str, destination: str, replay_id: str) -> Replay | None:
        """As it is at this moment. Raises `StoreUnavailable`."""
        key = _key(workspace, destination, replay_id)
        found = self._asked("get_item", TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return None if found is None else _decode(found["content"]["S"])

    def newest(self, workspace: str, destination: str, after: str | None, limit: int) -> list[Replay]:
        """The newest first, from after an id on, one more than `limit` where there are more.

        Raises `StoreUnavailable`.
        """
        owner = {":owner": {"S": tables.owner(workspace, destination)}, ":replay": {"S": REPLAY}}
        answer = self._asked(
            "query",
            TableName=self._table,
            KeyConditionExpression="#owner = :owner AND begins_with(sk, :replay)",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues=owner,
            ScanIndexForward=False,
            ConsistentRead=True,
            Limit=limit + 1,
            **({"ExclusiveStartKey": _key(workspace, destination, after)} if after else {}),
        )
        return [_decode(item["content"]["S"]) for item in answer["Items"]]

    def create(self, replay: Replay, entry: Entry) -> None:
        """Raises `StoreChanged` where it is there already, and `StoreUnavailable`."""
        self._put(replay, {"ConditionExpression": "attribute_not_exists(sk)"}, entry)

    def change(self, before: Replay, after: Replay, entry: Entry | None = None) -> None:
        """Raises `StoreChanged` where it is not as it was `before` any more, and `StoreUnavailable`."""
        as_it_was = {
            "ConditionExpression": "#version = :before",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":before": {"N": str(before.version)}},
        }
        self._put(after, as_it_was, entry)

    def enter(self, workspace: str, destination: str, replay_id: str, most: int) -> bool:
        """Have a replay be among the workspace's, unless there are `most`; whether it is. Raises `StoreUnavailable`."""
        has_room = {
            "ConditionExpression": "attribute_not_exists(#live) OR size(#live) < :most",
            "ExpressionAttributeValues": {":this": _place(destination, replay_id), ":most": {"N": str(most)}},
        }
        try:
            self._asked("update_item", **self._live(workspace), UpdateExpression="ADD #live :this", **has_room)
        except StoreChanged:
            return False
        return True

    def entered(self, workspace: str) -> list[tuple[str, str]]:
        """(destination, replay) of those that may be live. Raises `StoreUnavailable`."""
        key = _live_key(workspace)
        found = self._asked("get_item", TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
        return [_place_in(each) for each in sorted(found.get(LIVE, {}).get("SS", []))]

    def leave(self, workspace: str, destination: str, replay_id: str) -> None:
        """Raises `StoreUnavailable`."""
        gone = {":this": _place(destination, replay_id)}
        self._asked(
            "update_item",
            **self._live(workspace),
            UpdateExpression="DELETE #live :this",
            ExpressionAttributeValues=gone,
        )

    def _live(self, workspace: str) -> dict[str, Any]:
        names = {"ExpressionAttributeNames": {"#live": LIVE}}
        return {"TableName": self._table, "Key": _live_key(workspace), **names}

    def _put(self, replay: Replay, condition: dict[str, Any], entry: Entry | None) -> None:
        item = _key(replay.workspace, replay.destination, replay.id) | {
            "content": {"S": msgspec.json.encode(replay).decode()},
            "version": {"N": str(replay.version)},
            "expires_at": {"N": str(int(self._clock()) + KEPT_DAYS * DAY_S)},
        }
        put = {"TableName": self._table, "Item": item, **condition}
        if entry is None:
            self._asked("put_item", **put)
        else:
            noted = {"TableName": self._audit_table, "Item": _audit_row(entry)}
            self._asked("transact_write_items", TransactItems=[{"Put": put}, {"Put": noted}])

    def _asked(self, operation: str, **parameters: Any) -> Any:
        with asking_dynamodb(changed_if=_is_clash):
            return getattr(self._client, operation)(**parameters)


def _is_clash(error: ClientError) -> bool:
    """Whether a write failed by its condition, or a transaction by the condition on its first part."""
    return is_refused(error) or is_first_refused(error)


def _audit_row(entry: Entry) -> dict[str, Any]:
    plain = {"sk": entry.id} | {
        name: getattr(entry, name) for name in ("workspace_id", "at", "actor", "action", "target")
    }
    row: dict[str, Any] = {name: {"S": value} for name, value in plain.items()}
    fields = {"L": [{"S": field} for field in entry.fields]}
    return row | {"fields": fields, "expires_at": {"N": str(entry.expires_at)}}


def _key(workspace: str, destination: str, replay_id: str) -> dict[str, Any]:
    return {"owner": {"S": tables.owner(workspace, destination)}, "sk": {"S": REPLAY + replay_id}}


def _live_key(workspace: str) -> dict[str, Any]:
    return {"owner": {"S": workspace}, "sk": {"S": LIVE}}


def _place(destination: str, replay_id: str) -> dict[str, Any]:
    return {"SS": [f"{destination}#{replay_id}"]}


def _place_in(text: str) -> tuple[str, str]:
    destination, _, replay_id = text.partition("#")
    return destination, replay_id
