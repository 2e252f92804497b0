"""The homes of ordering keys, beside their claims in the table `dedup`: only keys of moved sources have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock import tables
from penstock.adapters.aws_errors import ask_if, asking_dynamodb
from penstock.domain import home
from penstock.domain.home import Home, HomeKey, Name
from penstock.errors import StoreChanged, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S = 16 * 86_400  # longer than any stream keeps a run that could ask for it
KEYS_PER_READ = 100
NAMES_PER_WRITE = 100  # keeps an expression below its 4 KB
PAUSES_S = (0.05, 0.1, 0.2)
KEPT = "SET expires_at = :expires"
MOVED = "SET turn = :turn, expires_at = :expires"


class HomeTable:
    def __init__(
        self, client: DynamoDBClient, table: str, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._sleep = sleep

    def read(self, keys: Sequence[HomeKey]) -> Mapping[HomeKey, Home]:
        """As they are now, a hundred in one call; one that is not there is `Home()`. Raises `StoreUnavailable`."""
        found: dict[tuple[str, str], Home] = {}
        for first in range(0, len(keys), KEYS_PER_READ):
            found |= self._batch(keys[first : first + KEYS_PER_READ])
        return {key: found.get(_place(key), Home()) for key in keys}

    def carry(self, key: HomeKey, names: Sequence[Name], turn: int | None) -> None:
        """Raises `StoreChanged` unless the key is in that turn, or `StoreUnavailable`."""
        condition: dict[str, Any] = {}
        if turn is not None:
            absent = "attribute_not_exists(turn) OR " if turn == 0 else ""
            condition = {"ConditionExpression": f"{absent}turn = :turn"}
        values = {":behind": {"SS": home.texts(names)}} | ({} if turn is None else {":turn": _number(turn)})
        if not self._update(key, f"{KEPT} ADD behind :behind", values, condition):
            raise StoreChanged("the key has moved")

    def sent(self, key: HomeKey, names: Sequence[Name], homecoming: int | None) -> None:
        """The key comes home where nothing else is behind. Raises `StoreUnavailable`."""
        if homecoming is not None and len(names) <= NAMES_PER_WRITE and self._brought_home(key, names, homecoming):
            return
        condition = {"ConditionExpression": "attribute_exists(behind)"}
        self._update(key, f"{KEPT} DELETE behind :behind", {":behind": {"SS": home.texts(names)}}, condition)

    def move(self, key: HomeKey, turn: int) -> None:
        """Raises `StoreUnavailable`."""
        condition = {"ConditionExpression": "attribute_not_exists(turn) OR turn < :turn"}
        self._update(key, MOVED, {":turn": _number(turn)}, condition)

    def _brought_home(self, key: HomeKey, names: Sequence[Name], turn: int) -> bool:
        """Whether these were all that were behind, and the key is in no later turn."""
        values = {f":{place}": {"S": text} for place, text in enumerate(home.texts(names))}
        all_of_them = " AND ".join(f"contains(behind, {name})" for name in values)
        condition = {
            "ConditionExpression": f"attribute_exists(behind) AND size(behind) = :size AND {all_of_them}"
            " AND (attribute_not_exists(turn) OR turn < :turn)"
        }
        values |= {":size": _number(len(names)), ":turn": _number(turn)}
        return self._update(key, f"{MOVED} REMOVE behind", values, condition)

    def _update(
        self, key: HomeKey, change: str, values: Mapping[str, Any], condition: Mapping[str, Any] | None = None
    ) -> bool:
        """Whether the condition held."""
        expires = {":expires": _number(int(self._clock()) + KEPT_S)}
        answer = ask_if(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_as_item(key),
                UpdateExpression=change,
                ExpressionAttributeValues={**values, **expires},
                **(condition or {}),
            )
        )
        return answer is not None

    def _batch(self, keys: Sequence[HomeKey]) -> dict[tuple[str, str], Home]:
        """DynamoDB may leave some of them for another call."""
        left: Any = {self._table: {"Keys": [_as_item(key) for key in keys], "ConsistentRead": True}}
        found: dict[tuple[str, str], Home] = {}
        for pause_s in (*PAUSES_S, None):
            with asking_dynamodb():
                answer = self._client.batch_get_item(RequestItems=left)
            for item in answer["Responses"].get(self._table, []):
                found[item["owner"]["S"], item["sk"]["S"]] = _home(item)
            left = answer.get("UnprocessedKeys")
            if not left:
                return found
            if pause_s is not None:
                self._sleep(pause_s)
        raise StoreUnavailable("DynamoDB: keys are left unread")


def _home(item: Mapping[str, Any]) -> Home:
    behind = frozenset(home.name_from(text) for text in item.get("behind", {}).get("SS", ()))
    return Home(int(item.get("turn", {}).get("N", "0")), behind)


def _place(key: HomeKey) -> tuple[str, str]:
    """(owner, sk): an item of its own for each source that forwards to this one."""
    sort_key = f"home#{key.via}" if key.via else "home"
    return tables.key_owner(key.workspace, key.source, key.group), sort_key


def _as_item(key: HomeKey) -> dict[str, Any]:
    owner, sort_key = _place(key)
    return {"owner": {"S": owner}, "sk": {"S": sort_key}}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
