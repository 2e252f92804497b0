"""The destinations of a workspace, read from the table `config` by fan-out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.routing import Route
from penstock.domain.subscription import Subscription, parse
from penstock.errors import Invalid

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MOST_SUBSCRIPTIONS = 10_000
NOTHING = Subscription("", frozenset(), lambda _: False)


class RouteTable:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        self._parsed: dict[str, Subscription] = {}

    def read(self, workspace: str) -> tuple[Route, ...]:
        """Raises `StoreUnavailable`."""
        return tuple(self._route(item) for item in self._items(workspace) if "queue_url" in item)

    def find(self, workspace: str, destination: str) -> Route | None:
        """One destination as it is at this moment. Raises `StoreUnavailable`."""
        key: dict[str, Any] = {"workspace_id": {"S": workspace}, "sk": {"S": f"destination#{destination}"}}
        with asking_dynamodb():
            item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return None if item is None else self._route(item)

    def _items(self, workspace: str) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            with asking_dynamodb():
                answer = self._client.query(
                    TableName=self._table,
                    KeyConditionExpression="workspace_id = :workspace AND begins_with(sk, :kind)",
                    ExpressionAttributeValues={":workspace": {"S": workspace}, ":kind": {"S": "destination#"}},
                    **start,
                )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _route(self, item: dict[str, Any]) -> Route:
        text = item.get("subscription", {}).get("S")
        return Route(
            id=item["sk"]["S"].partition("#")[2],
            name=item["name"]["S"],
            enabled=item["enabled"]["BOOL"],
            source_ids=frozenset(each["S"] for each in item["source_ids"]["L"]),
            subscription=None if text is None else self._subscription(text),
            queue_url=item["queue_url"]["S"],
            schema_changes=item.get("schema_changes", {}).get("BOOL", False),
            import_queue_url=item.get("import_queue_url", {}).get("S"),
        )

    def _subscription(self, text: str) -> Subscription:
        if text not in self._parsed:
            if len(self._parsed) >= MOST_SUBSCRIPTIONS:
                self._parsed.clear()
            self._parsed[text] = _parsed(text)
        return self._parsed[text]


def _parsed(text: str) -> Subscription:
    """What cannot be parsed was never saved by us. It picks nothing: to raise would hold up its whole workspace."""
    try:
        return parse(text)
    except Invalid:
        return NOTHING
