"""The homes of ordering keys, beside their claims in the table `dedup`: only keys of moved sources have one.

A key's item has the names of what is behind, as far as they are few, and `more` where others lie beside it, a row each.
`more` is another value whenever such rows are written, so that nobody forgets of rows that were written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import urandom
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from penstock import tables
from penstock.adapters.aws_errors import ask_if, asking_dynamodb, is_conflict, is_first_refused
from penstock.domain import home
from penstock.domain.home import Home, HomeKey, Name
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

KEPT_S = 16 * 86_400  # longer than any stream keeps a run that could ask for it
KEYS_PER_READ = 100
NAMES_PER_WRITE = 100  # keeps an expression below its 4 KB
NAMES_IN_ITEM = 100  # from which on more of them lie beside it: each write costs by the item's whole size
NAMES_TOGETHER = 90  # in one transaction
PAUSES_S = (0.05, 0.1, 0.2)
KEPT = "SET expires_at = :expires"
MOVED = "SET turn = :turn, expires_at = :expires"
HAS_ROOM = "attribute_not_exists(behind) OR size(behind) < :most"


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
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for first in range(0, len(keys), KEYS_PER_READ):
            found |= self._batch(keys[first : first + KEYS_PER_READ])
        return {key: self._whole(key, found.get(_place(key), {})) for key in keys}

    def _whole(self, key: HomeKey, item: Mapping[str, Any]) -> Home:
        """With the names that lie beside the item; that there are any is forgotten where there are none any more."""
        behind = {home.name_from(text) for text in item.get("behind", {}).get("SS", ())}
        if "more" in item:
            beside = self._names_beside(key)
            behind |= beside
            if not beside:
                self._update(
                    key, f"{KEPT} REMOVE more", {":seen": item["more"]}, {"ConditionExpression": "more = :seen"}
                )
        return Home(int(item.get("turn", {}).get("N", "0")), frozenset(behind))

    def _names_beside(self, key: HomeKey) -> set[Name]:
        owner, _ = _place(key)
        prefix = _prefix(key)
        found: set[Name] = set()
        start: dict[str, Any] = {}
        while True:
            with asking_dynamodb():
                answer = self._client.query(
                    TableName=self._table,
                    KeyConditionExpression="#owner = :owner AND begins_with(sk, :prefix)",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues={":owner": {"S": owner}, ":prefix": {"S": prefix}},
                    ConsistentRead=True,
                    **start,
                )
            found |= {home.name_from(item["sk"]["S"].removeprefix(prefix)) for item in answer["Items"]}
            if "LastEvaluatedKey" not in answer:
                return found
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def carry(self, key: HomeKey, names: Sequence[Name], turn: int | None) -> None:
        """Raises `StoreChanged` unless the key is in that turn, or `StoreUnavailable`."""
        still, values = _still(turn)
        values |= {":most": _number(NAMES_IN_ITEM), ":behind": {"SS": home.texts(names)}}
        if self._update(key, f"{KEPT} ADD behind :behind", values, _condition(still, HAS_ROOM)) is None:
            self._note_beside(key, names, turn)

    def sent(self, key: HomeKey, names: Sequence[Name], homecoming: int | None) -> None:
        """The key comes home where nothing else is behind. Raises `StoreUnavailable`."""
        if homecoming is not None and len(names) <= NAMES_PER_WRITE and self._brought_home(key, names, homecoming):
            return
        condition = {"ConditionExpression": "attribute_exists(behind) OR attribute_exists(more)"}
        left = self._update(key, f"{KEPT} DELETE behind :behind", {":behind": {"SS": home.texts(names)}}, condition)
        if left is not None and "more" in left:
            for part in _parts(names):
                self._together([{"Delete": {"TableName": self._table, "Key": _beside(key, each)}} for each in part])

    def move(self, key: HomeKey, turn: int) -> None:
        """Raises `StoreUnavailable`."""
        condition = {"ConditionExpression": "attribute_not_exists(turn) OR turn < :turn"}
        self._update(key, MOVED, {":turn": _number(turn)}, condition)

    def _note_beside(self, key: HomeKey, names: Sequence[Name], turn: int | None) -> None:
        """As rows of their own: the item has as many names as it should, or the key has moved."""
        still, values = _still(turn)
        expires = {":expires": self._expiry()}
        counted: dict[str, Any] = {
            "TableName": self._table,
            "Key": _as_item(key),
            "UpdateExpression": f"{KEPT}, more = :more",
            "ExpressionAttributeValues": {":more": {"S": urandom(8).hex()}, **values, **expires},
            **_condition(still),
        }
        for part in _parts(names):
            rows = [_beside(key, each) | {"expires_at": self._expiry()} for each in part]
            puts = [{"Put": {"TableName": self._table, "Item": row}} for row in rows]
            self._together([{"Update": counted}, *puts])

    def _together(self, parts: Sequence[Any]) -> None:
        with asking_dynamodb(changed_if=is_first_refused):
            self._patiently(lambda: self._client.transact_write_items(TransactItems=parts))

    def _patiently(self, call: Callable[[], T]) -> T:
        """The two fan-outs may write a key's item at once, and where one does by a transaction, one is turned away."""
        for pause_s in PAUSES_S:
            try:
                return call()
            except ClientError as error:
                if not is_conflict(error):
                    raise
                self._sleep(pause_s)
        return call()

    def _brought_home(self, key: HomeKey, names: Sequence[Name], turn: int) -> bool:
        """Whether these were all that were behind, and the key is in no later turn."""
        values = {f":{place}": {"S": text} for place, text in enumerate(home.texts(names))}
        all_of_them = " AND ".join(f"contains(behind, {name})" for name in values)
        condition = {
            "ConditionExpression": f"attribute_exists(behind) AND size(behind) = :size AND {all_of_them}"
            " AND attribute_not_exists(more) AND (attribute_not_exists(turn) OR turn < :turn)"
        }
        values |= {":size": _number(len(names)), ":turn": _number(turn)}
        return self._update(key, f"{MOVED} REMOVE behind", values, condition) is not None

    def _update(
        self, key: HomeKey, change: str, values: Mapping[str, Any], condition: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        """The item as it is then; None where the condition did not hold."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": _as_item(key),
            "UpdateExpression": change,
            "ExpressionAttributeValues": {**values, ":expires": self._expiry()},
            "ReturnValues": "ALL_NEW",
            **(condition or {}),
        }
        answer = ask_if(lambda: self._patiently(lambda: self._client.update_item(**request)))
        return None if answer is None else answer["Attributes"]

    def _expiry(self) -> dict[str, str]:
        return _number(int(self._clock()) + KEPT_S)

    def _batch(self, keys: Sequence[HomeKey]) -> dict[tuple[str, str], Mapping[str, Any]]:
        """DynamoDB may leave some of them for another call."""
        left: Any = {self._table: {"Keys": [_as_item(key) for key in keys], "ConsistentRead": True}}
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for pause_s in (*PAUSES_S, None):
            with asking_dynamodb():
                answer = self._client.batch_get_item(RequestItems=left)
            for item in answer["Responses"].get(self._table, []):
                found[item["owner"]["S"], item["sk"]["S"]] = item
            left = answer.get("UnprocessedKeys")
            if not left:
                return found
            if pause_s is not None:
                self._sleep(pause_s)
        raise StoreUnavailable("DynamoDB: keys are left unread")


def _still(turn: int | None) -> tuple[str, dict[str, Any]]:
    """The condition that a key is in that turn, and what it names; None is any turn."""
    if turn is None:
        return "", {}
    return f"{'attribute_not_exists(turn) OR ' if turn == 0 else ''}turn = :turn", {":turn": _number(turn)}


def _condition(*parts: str) -> dict[str, str]:
    """That all of them hold that are not empty."""
    whole = " AND ".join(f"({part})" for part in parts if part)
    return {"ConditionExpression": whole} if whole else {}


def _parts(names: Sequence[Name]) -> Iterator[Sequence[Name]]:
    for first in range(0, len(names), NAMES_TOGETHER):
        yield names[first : first + NAMES_TOGETHER]


def _place(key: HomeKey) -> tuple[str, str]:
    """(owner, sk): an item of its own for each source that forwards to this one."""
    sort_key = f"home#{key.via}" if key.via else "home"
    return tables.key_owner(key.workspace, key.source, key.group), sort_key


def _prefix(key: HomeKey) -> str:
    """What the names that lie beside a key's item begin with."""
    return f"behind#{key.via}#"


def _beside(key: HomeKey, name: Name) -> dict[str, Any]:
    owner, _ = _place(key)
    return {"owner": {"S": owner}, "sk": {"S": f"{_prefix(key)}{name}"}}


def _as_item(key: HomeKey) -> dict[str, Any]:
    owner, sort_key = _place(key)
    return {"owner": {"S": owner}, "sk": {"S": sort_key}}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
