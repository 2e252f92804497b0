"""The table `quotas`: what each source brought in each window of ten seconds, and which sources are moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.quotas import Limits, Used, window_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S = 3_600
MOVED = "operator"  # the partition of what is moved: the gatekeeper looks after all workspaces
MOST_MOVED = 1_000


class QuotaTable:
    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def add(self, workspace: str, source: str, events: int, lag_s: float | None) -> int:
        """How many events the source has brought in this window, these included. Raises `StoreUnavailable`."""
        now = self._clock()
        sets, values = "SET expires_at = :expires", {":expires": _number(int(now) + KEPT_S), ":events": _number(events)}
        if lag_s is not None:
            sets, values = f"{sets}, lag_s = :lag", values | {":lag": _number(round(lag_s, 3))}
        with asking_dynamodb():
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(workspace, f"{window_of(now):012d}#{source}"),
                UpdateExpression=f"{sets} ADD events :events",
                ExpressionAttributeValues=values,
                ReturnValues="UPDATED_NEW",
            )
        return int(answer["Attributes"]["events"]["N"])

    def read(self, workspace: str, since: float) -> list[Used]:
        """By window, those that ended after `since`. Raises `StoreUnavailable`."""
        first = f"{window_of(since):012d}"
        return [_used(item) for item in self._query(workspace, "sk >= :first", {":first": {"S": first}})]

    def mark(self, workspace: str, source: str) -> None:
        """Have a source looked after until it is unmarked. Raises `StoreUnavailable`."""
        with asking_dynamodb():
            self._client.put_item(TableName=self._table, Item=_key(MOVED, f"{workspace}#{source}"))

    def unmark(self, workspace: str, source: str) -> None:
        """Raises `StoreUnavailable`."""
        with asking_dynamodb():
            self._client.delete_item(TableName=self._table, Key=_key(MOVED, f"{workspace}#{source}"))

    def marked(self) -> list[tuple[str, str]]:
        """(workspace, source) of all that are moved. Raises `StoreUnavailable`."""
        return [tuple(item["sk"]["S"].split("#")) for item in self._query(MOVED, "", {})]

    def _query(self, owner: str, condition: str, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            with asking_dynamodb():
                answer = self._client.query(
                    TableName=self._table,
                    KeyConditionExpression="#owner = :owner" + (f" AND {condition}" if condition else ""),
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues={":owner": {"S": owner}, **values},
                    ConsistentRead=True,
                    **start,
                )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


class QuotaLimits:
    """What each workspace may use, read from the table `config`."""

    def __init__(self, client: DynamoDBClient, table: str, standard: Limits) -> None:
        self._client = client
        self._table = table
        self._standard = standard

    def read(self, workspace: str) -> Limits:
        """Raises `StoreUnavailable`."""
        key: dict[str, Any] = {"workspace_id": {"S": workspace}, "sk": {"S": f"quota#{workspace}"}}
        with asking_dynamodb():
            item = self._client.get_item(TableName=self._table, Key=key).get("Item", {})
        return Limits(
            int(item.get("workspace", {}).get("N", self._standard.workspace)),
            int(item.get("source", {}).get("N", self._standard.source)),
            msgspec.json.decode(item.get("sources", {}).get("S", "{}"), type=dict[str, int]),
        )

    get = read


def _used(item: dict[str, Any]) -> Used:
    window, _, source = item["sk"]["S"].partition("#")
    lag_s = float(item["lag_s"]["N"]) if "lag_s" in item else None
    return Used(source, int(window), int(item["events"]["N"]), lag_s)


def _key(owner: str, sort_key: str) -> dict[str, Any]:
    return {"owner": {"S": owner}, "sk": {"S": sort_key}}


def _number(value: float) -> dict[str, str]:
    return {"N": str(value)}
