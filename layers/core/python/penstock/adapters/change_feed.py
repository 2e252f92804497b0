"""The table `changes`: each source's feed of schema changes, without gap and without repeat.

A change is put in one transaction with the feed's head and with the mark, at the path's own item in `places`, that it
has been told: all of it happens, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.adapters.aws_errors import asking_dynamodb, is_cancelled
from penstock.domain.schema_changes import Change, column_given
from penstock.domain.schema_event import EventKey, place_name

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HEAD = "head"
CHANGE = "change#"

_decode = msgspec.json.Decoder(Change).decode


class ChangeFeed:
    """The feed as it is read."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def head(self, of_source: str) -> int:
        """The version of the last change. Raises `StoreUnavailable`."""
        answer = self._asked("get_item", TableName=self._table, Key=_key(of_source, HEAD), ConsistentRead=True)
        return int(answer["Item"]["version"]["N"]) if "Item" in answer else 0

    def read(self, of_source: str, after: int, limit: int) -> list[Change]:
        """The changes after a version, in order. Raises `StoreUnavailable`."""
        answer = self._asked(
            "query",
            TableName=self._table,
            KeyConditionExpression="#owner = :owner AND sk BETWEEN :first AND :last",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={
                ":owner": {"S": of_source},
                ":first": {"S": _name(after + 1)},
                ":last": {"S": CHANGE + "~"},
            },
            ConsistentRead=True,
            Limit=limit,
        )
        return [_decode(item["change"]["S"]) for item in answer["Items"]]

    def _asked(self, call: str, **parameters: Any) -> Any:
        with asking_dynamodb(changed_if=is_cancelled):
            return getattr(self._client, call)(**parameters)


class FeedPublisher(ChangeFeed):
    """The feed as it is written."""

    def __init__(self, client: DynamoDBClient, table: str, places: str) -> None:
        super().__init__(client, table)
        self._places = places

    def publish(self, key: EventKey, changes: Sequence[Change]) -> None:
        """Put up to forty changes of one event, whose versions follow the head.

        Raises `StoreChanged` where the head has moved on, and `StoreUnavailable`: then they may be there or not.
        """
        entries = [self._entry(key, change) for change in changes]
        items = [self._head(key, changes), *entries, *self._marks(key, changes)]
        self._asked("transact_write_items", TransactItems=items)

    def _head(self, key: EventKey, changes: Sequence[Change]) -> dict[str, Any]:
        before = changes[0].version - 1
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": _key(key.of_source, HEAD),
            "UpdateExpression": "SET version = :after",
            "ConditionExpression": "version = :before" if before else "attribute_not_exists(version)",
            "ExpressionAttributeValues": {":after": {"N": str(changes[-1].version)}},
        }
        if before:
            update["ExpressionAttributeValues"][":before"] = {"N": str(before)}
        return {"Update": update}

    def _entry(self, key: EventKey, change: Change) -> dict[str, Any]:
        item = {**_key(key.of_source, _name(change.version)), "change": {"S": msgspec.json.encode(change).decode()}}
        return {"Put": {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(sk)"}}

    def _marks(self, key: EventKey, changes: Sequence[Change]) -> list[dict[str, Any]]:
        """One update for each path, however many of its kinds are told."""
        by_path: dict[str, list[Change]] = {}
        for change in changes:
            by_path.setdefault(change.path, []).append(change)
        return [{"Update": self._mark(key, path, theirs)} for path, theirs in by_path.items()]

    def _mark(self, key: EventKey, path: str, changes: Sequence[Change]) -> dict[str, Any]:
        columns = dict(given for change in changes if (given := column_given(change)) is not None)
        sets = ["version = :version", *(f"column_{family} = :{family}" for family in columns)]
        return {
            "TableName": self._places,
            "Key": _key(key.owner, place_name(path)),
            "UpdateExpression": f"SET {', '.join(sets)} ADD published :kinds",
            "ConditionExpression": "attribute_exists(sk)",
            "ExpressionAttributeValues": {
                ":version": {"N": str(changes[-1].version)},
                ":kinds": {"SS": sorted({change.kind for change in changes})},
                **{f":{family}": {"S": name} for family, name in columns.items()},
            },
        }


def change_in(image: Mapping[str, Any]) -> Change | None:
    """The change in an item of the table as its stream shows it; None for the head."""
    return _decode(image["change"]["S"]) if "change" in image else None


def _name(version: int) -> str:
    return f"{CHANGE}{version:016d}"


def _key(owner: str, name: str) -> dict[str, Any]:
    return {"owner": {"S": owner}, "sk": {"S": name}}
