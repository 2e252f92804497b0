"""The table `quotas`: what was brought in each window of ten seconds, how far bulk lagged, and who is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.adapters.aws_errors import ask_if, asking_dynamodb
from penstock.domain.quotas import Lag, Limits, Mark, Used, window_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S = 3_600
MOVED = "operator"  # the partition of what is moved: the gatekeeper looks after all workspaces
LIVE = "live"
TICK = "tick"
BULK = "bulk"  # the partition of its shards' lags


class QuotaTable:
    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def add(self, workspace: str, source: str, events: int, lag_s: float | None) -> int:
        """How many events the source has brought in this window, these included. Raises `StoreUnavailable`."""
        lag = {} if lag_s is None else {"lag_s": _number(round(lag_s, 3))}
        return self._add(workspace, f"#{source}", events, lag)

    def add_live(self, workspace: str, events: int) -> int:
        """How many all its sources have brought live in this window, these included. Raises `StoreUnavailable`."""
        return self._add(f"{workspace}#{LIVE}", "", events, {})

    def note_lag(self, shard: str, lag_s: float) -> None:
        """How far behind a shard of bulk is; of one window's notes the longest stays. Raises `StoreUnavailable`."""
        now = self._clock()
        ask_if(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(BULK, f"{window_of(now):012d}#{shard}"),
                UpdateExpression="SET expires_at = :expires, lag_s = :lag",
                ConditionExpression="attribute_not_exists(lag_s) OR lag_s < :lag",
                ExpressionAttributeValues={":expires": _number(int(now) + KEPT_S), ":lag": _number(round(lag_s, 3))},
            )
        )

    def lags(self, since: float) -> list[Lag]:
        """Of the shards of bulk, in the windows that ended after `since`. Raises `StoreUnavailable`."""
        return [_lag(item) for item in self._since(BULK, since)]

    def _add(self, owner: str, suffix: str, events: int, noted: dict[str, Any]) -> int:
        now = self._clock()
        sets = {"expires_at": _number(int(now) + KEPT_S)} | noted
        with asking_dynamodb():
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(owner, f"{window_of(now):012d}{suffix}"),
                UpdateExpression=f"SET {', '.join(f'{name} = :{name}' for name in sets)} ADD events :events",
                ExpressionAttributeValues={f":{name}": value for name, value in sets.items()}
                | {":events": _number(events)},
                ReturnValues="UPDATED_NEW",
            )
        return int(answer["Attributes"]["events"]["N"])

    def read(self, workspace: str, since: float) -> list[Used]:
        """By window, those that ended after `since`. Raises `StoreUnavailable`."""
        return [_used(item) for item in self._since(workspace, since)]

    def mark(self, workspace: str, source: str) -> None:
        """Have a source looked after until it is unmarked. Raises `StoreUnavailable`."""
        with asking_dynamodb():
            self._client.put_item(TableName=self._table, Item=_key(MOVED, f"{workspace}#{source}"))

    def unmark(self, workspace: str, source: str) -> None:
        """Raises `StoreUnavailable`."""
        with asking_dynamodb():
            self._client.delete_item(TableName=self._table, Key=_key(MOVED, f"{workspace}#{source}"))

    def marked(self, workspace: str | None = None) -> list[Mark]:
        """All that are moved, or a workspace's. Raises `StoreUnavailable`."""
        theirs = ("", {}) if workspace is None else ("begins_with(sk, :theirs)", {":theirs": {"S": f"{workspace}#"}})
        return [_mark(item["sk"]["S"]) for item in self._query(MOVED, *theirs)]

    def reached(self) -> Mark | None:
        """Where the next tick begins; None is with the first. Raises `StoreUnavailable`."""
        found = [item["mark"]["S"] for item in self._query(TICK, "", {}) if "mark" in item]
        return _mark(found[0]) if found else None

    def reach(self, mark: Mark | None) -> None:
        """Raises `StoreUnavailable`."""
        reached: dict[str, Any] = {"mark": {"S": "#".join(mark)}} if mark else {}
        with asking_dynamodb():
            self._client.put_item(TableName=self._table, Item=_key(TICK, "reached") | reached)

    def _since(self, owner: str, since: float) -> Iterator[dict[str, Any]]:
        return self._query(owner, "sk >= :first", {":first": {"S": f"{window_of(since):012d}"}})

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


def _mark(text: str) -> Mark:
    return Mark(*text.split("#"))


def _lag(item: dict[str, Any]) -> Lag:
    window, _, shard = item["sk"]["S"].partition("#")
    return Lag(shard, int(window), float(item["lag_s"]["N"]))


def _key(owner: str, sort_key: str) -> dict[str, Any]:
    return {"owner": {"S": owner}, "sk": {"S": sort_key}}


def _number(value: float) -> dict[str, str]:
    return {"N": str(value)}
