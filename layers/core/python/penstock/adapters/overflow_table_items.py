"""The items of the table `overflow`, what they are called, and how DynamoDB is asked for them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock import tables
from penstock.adapters.aws_errors import ask_if, asking_dynamodb
from penstock.domain.overflow import LaneKey
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item: TypeAlias = dict[str, Any]

LANE = "lane"  # sort key of a lane's own item
FIRST, LAST, BEHIND = "0", "1~", "~"  # what the places of jobs lie between; what makes of one the next one's bound
IS_THERE = "attribute_exists(sk)"
PARTS = 8  # of the index that a destination's jobs are in: writes to one are bounded
MOST_WRITES = 25  # that DynamoDB takes in one call
TRIES = 4


class Items:
    """Every method raises `StoreUnavailable`."""

    def __init__(self, client: DynamoDBClient, table: str, sleep: Callable[[float], None]) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def lane(self, lane: LaneKey) -> Item | None:
        answer = self._asked("get_item", {"Key": key(lane, LANE), "ConsistentRead": True})
        found: Item | None = answer.get("Item")
        return found

    def jobs(self, lane: LaneKey, fields: str | None = None, after: str | None = None) -> Iterator[Item]:
        """The jobs of a lane, in order, of those behind a place."""
        first = FIRST if after is None else f"{after}{BEHIND}"
        request: dict[str, Any] = {
            "KeyConditionExpression": "#owner = :owner AND sk BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {
                ":owner": key(lane, LANE)["owner"],
                ":first": {"S": first},
                ":last": {"S": LAST},
            },
            "ConsistentRead": True,
        }
        return self._pages(request | ({"ProjectionExpression": fields} if fields else {}))

    def lanes(self, workspace: str, destination: str, after: str, **more: Any) -> Iterator[LaneKey]:
        """A destination's lanes behind a group, as of a moment ago."""
        of = tables.owner(workspace, destination)
        request: dict[str, Any] = {
            "IndexName": tables.OVERFLOW_BY_DESTINATION,
            "KeyConditionExpression": "#of = :of AND #owner > :after",
            "ExpressionAttributeNames": {"#of": "of", "#owner": "owner"},
            "ExpressionAttributeValues": {":of": {"S": of}, ":after": {"S": f"{of}#{after}"}} | more.pop("values", {}),
        }
        return map(_lane_in, self._pages(request | more))

    def waiting(self, workspace: str, destination: str) -> Iterator[LaneKey]:
        """The lane of each job of a destination, as of a moment ago: by the index, which has no job's body."""
        for part in range(PARTS):
            request = {
                "IndexName": tables.OVERFLOW_BY_DESTINATION,
                "KeyConditionExpression": "#of = :of",
                "ExpressionAttributeNames": {"#of": "of"},
                "ExpressionAttributeValues": {":of": _part(workspace, destination, part)},
            }
            yield from map(_lane_in, self._pages(request))

    def update(
        self,
        lane: LaneKey,
        sort_key: str,
        expression: str,
        values: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
        condition: str | None = IS_THERE,
        returns: str = "NONE",
    ) -> Item | None:
        """What `returns` asks for; None where the condition does not hold: what is gone stays so."""
        request: dict[str, Any] = {
            "Key": key(lane, sort_key),
            "UpdateExpression": expression,
            "ExpressionAttributeValues": values,
            "ReturnValues": returns,
        }
        if names:
            request["ExpressionAttributeNames"] = names
        if condition:
            request["ConditionExpression"] = condition
        answer = ask_if(lambda: self._client.update_item(TableName=self._table, **request))
        return None if answer is None else answer.get("Attributes", {})

    def drop(self, lane: LaneKey, condition: str | None = None, values: Mapping[str, Any] | None = None) -> bool:
        """The lane's own item; whether the condition held."""
        more = {"ConditionExpression": condition, "ExpressionAttributeValues": values} if condition else {}
        request: dict[str, Any] = {"Key": key(lane, LANE), **more}
        return ask_if(lambda: self._client.delete_item(TableName=self._table, **request)) is not None

    def put(self, items: Sequence[Item]) -> None:
        self._write([{"PutRequest": {"Item": item}} for item in items])

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None:
        self._write([{"DeleteRequest": {"Key": key(lane, place)}} for place in places])

    def _write(self, requests: Sequence[dict[str, Any]]) -> None:
        """All of them; what DynamoDB leaves is written again a few times."""
        for first in range(0, len(requests), MOST_WRITES):
            left: Any = list(requests[first : first + MOST_WRITES])
            for attempt in range(TRIES):
                with asking_dynamodb():
                    answer = self._client.batch_write_item(RequestItems={self._table: left})
                left = answer.get("UnprocessedItems", {}).get(self._table, [])
                if not left:
                    break
                self._sleep(0.05 * 2**attempt)
            else:
                raise StoreUnavailable("DynamoDB: jobs are left unwritten")

    def _pages(self, request: Mapping[str, Any]) -> Iterator[Item]:
        start: Mapping[str, Any] = {}
        while True:
            answer = self._asked("query", {**request, **start})
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _asked(self, call: str, request: Mapping[str, Any]) -> Any:
        with asking_dynamodb():
            return getattr(self._client, call)(TableName=self._table, **request)


def key(lane: LaneKey, sort_key: str) -> Item:
    owner = f"{tables.owner(lane.workspace, lane.destination)}#{lane.group}"
    return {"owner": {"S": owner}, "sk": {"S": sort_key}}


def part_of(lane: LaneKey) -> Item:
    """What the index knows a lane's jobs by; its own item it knows by the destination alone."""
    return {"of": _part(lane.workspace, lane.destination, zlib.crc32(lane.group.encode()) % PARTS)}


def _lane_in(item: Item) -> LaneKey:
    return LaneKey(*item["owner"]["S"].split("#"))


def _part(workspace: str, destination: str, part: int) -> dict[str, str]:
    return {"S": f"{tables.owner(workspace, destination)}#{part}"}


def number(value: float) -> dict[str, str]:
    return {"N": repr(value)}
