"""The table `letters`: the index of letters, in the order of the stream and, by its index, by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock import tables
from penstock.adapters.aws_errors import ask_if, asking_dynamodb
from penstock.domain.letter_index import LetterEntry, LetterFilter
from penstock.domain.letters import FIRST_TURN, in_first_turn

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LETTER = "letter#"
MOVED = "moved#"  # what knows no turn finds a letter by, where its source was in another than the first
LOOKED_AT_ONCE = 500  # rows that one query looks at, whether they match or not
COUNTED_AT_ONCE = 5_000
BEYOND = "~"  # sorts after every time, and after every place of one time


class LetterTable:
    """Rows are gone for every reader at their `expires_at`, however late DynamoDB removes them."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        clock: Callable[[], float],
        threads: Executor,
    ) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._threads = threads

    def put(self, workspace: str, destination: str, entries: Sequence[LetterEntry]) -> None:
        """Put rows; one that is there already stays, with what became of it. Raises `StoreUnavailable`."""
        owner = tables.owner(workspace, destination)
        rows = [row for entry in entries for row in (_row(owner, entry), *_moved(owner, entry))]
        list(self._threads.map(self._put, rows))

    def _put(self, row: dict[str, Any]) -> None:
        self._changed(
            "put_item",
            Item=row,
            ConditionExpression="attribute_not_exists(sk) OR #expires_at <= :now",
            ExpressionAttributeNames={"#expires_at": "expires_at"},
            ExpressionAttributeValues={":now": self._now()},
        )

    def find(self, workspace: str, destination: str, place: str) -> LetterEntry | None:
        """The letter at a place; in the first turn's, the one of whatever turn. Raises `StoreUnavailable`."""
        key = _key(workspace, destination, place)
        found = self._item(key)
        if found is None and place.startswith(FIRST_TURN):
            pointer = self._item(key | {"sk": _text(MOVED + place)})
            found = None if pointer is None else self._item(_key(workspace, destination, pointer["place"]["S"]))
        entry = None if found is None else _entry(found)
        return None if entry is None or entry.expires_at <= self._clock() else entry

    def _item(self, key: dict[str, Any]) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._asked("get_item", TableName=self._table, Key=key, ConsistentRead=True).get(
            "Item"
        )
        return found

    def in_order(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, replay: str
    ) -> tuple[list[LetterEntry], str | None]:
        """Letters after a place that a replay has to deal with, and up to which place it has then, None for all."""
        query = self._ordered(workspace, destination, wanted, after, replay)
        answer = self._asked("query", Limit=LOOKED_AT_ONCE, **query)
        return [_entry(item) for item in answer["Items"]], _reached(answer)

    def count(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, replay: str
    ) -> tuple[int, str | None]:
        """How many that are, of a page of the table, and up to which place, None for all."""
        query = self._ordered(workspace, destination, wanted, after, replay)
        answer = self._asked("query", Select="COUNT", Limit=COUNTED_AT_ONCE, **query)
        return answer["Count"], _reached(answer)

    def newest(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, limit: int
    ) -> tuple[list[LetterEntry], str | None]:
        """At most `limit` letters that became so before one that was `listed`, and where to go on, None at the end."""
        asked = _conditions(wanted, self._clock(), None)
        bounds = {
            ":owner": _text(tables.owner(workspace, destination)),
            ":since": _text(wanted.since or "0"),
            ":until": _text(f"{wanted.until or ''}{BEYOND}"),
        }
        answer = self._asked(
            "query",
            TableName=self._table,
            IndexName=tables.LETTERS_BY_TIME,
            KeyConditionExpression="#owner = :owner AND #listed BETWEEN :since AND :until",
            FilterExpression=asked.expression,
            ExpressionAttributeNames=asked.names | {"#listed": "listed", "#owner": "owner"},
            ExpressionAttributeValues=asked.values | bounds,
            ScanIndexForward=False,
            Limit=LOOKED_AT_ONCE,
            **({"ExclusiveStartKey": _listed_key(workspace, destination, after)} if after else {}),
        )
        found = [_entry(item) for item in answer["Items"]]
        if len(found) > limit:
            return found[:limit], found[limit - 1].listed
        return found, answer["LastEvaluatedKey"]["listed"]["S"] if "LastEvaluatedKey" in answer else None

    def claim(self, workspace: str, destination: str, entries: Sequence[LetterEntry], replay: str) -> set[str]:
        """Note who has letters in hand, as far as they are as they were read. Raises `StoreUnavailable`."""
        done = self._threads.map(lambda entry: self._claim(workspace, destination, entry, replay), entries)
        return {entry.place for entry, is_ours in zip(entries, done, strict=True) if is_ours}

    def _claim(self, workspace: str, destination: str, entry: LetterEntry, replay: str) -> bool:
        seen = {":claimed": entry.claimed, ":sent": entry.replay}
        given = {name: _text(value) for name, value in seen.items() if value is not None}
        as_seen = [
            f"{name} = {value}" if value in given else f"attribute_not_exists({name})"
            for name, value in (("#claimed", ":claimed"), ("#replay", ":sent"))
        ]
        return self._changed(
            "update_item",
            Key=_key(workspace, destination, entry.place),
            UpdateExpression="SET #claimed = :replay",
            ConditionExpression=f"attribute_exists(sk) AND (#claimed = :replay OR {as_seen[0]}) AND {as_seen[1]}",
            ExpressionAttributeNames={"#claimed": "claimed", "#replay": "replay"},
            ExpressionAttributeValues={":replay": _text(replay)} | given,
        )

    def mark(self, workspace: str, destination: str, places: Sequence[str], replay: str, at: str) -> None:
        """Note of letters that they were replayed, and by what. Raises `StoreUnavailable`."""
        list(self._threads.map(lambda place: self._mark(workspace, destination, place, replay, at), places))

    def _mark(self, workspace: str, destination: str, place: str, replay: str, at: str) -> None:
        self._changed(
            "update_item",
            Key=_key(workspace, destination, place),
            UpdateExpression="SET #replayed_at = :at, #replay = :replay",
            ConditionExpression="attribute_exists(sk)",
            ExpressionAttributeNames={"#replayed_at": "replayed_at", "#replay": "replay"},
            ExpressionAttributeValues={":at": _text(at), ":replay": _text(replay)},
        )

    def _changed(self, operation: str, **parameters: Any) -> bool:
        """Write a row; whether it was as its condition says."""
        answer = ask_if(lambda: getattr(self._client, operation)(TableName=self._table, **parameters))
        return answer is not None

    def _now(self) -> dict[str, str]:
        return {"N": str(int(self._clock()))}

    def _ordered(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, replay: str
    ) -> dict[str, Any]:
        asked = _conditions(wanted, self._clock(), replay)
        whose = {":owner": _text(tables.owner(workspace, destination)), ":letter": _text(LETTER)}
        return {
            "TableName": self._table,
            "KeyConditionExpression": "#owner = :owner AND begins_with(sk, :letter)",
            "FilterExpression": asked.expression,
            "ExpressionAttributeNames": asked.names | {"#owner": "owner"},
            "ExpressionAttributeValues": asked.values | whose,
            "ConsistentRead": True,
            **({"ExclusiveStartKey": _key(workspace, destination, after)} if after else {}),
        }

    def _asked(self, operation: str, **parameters: Any) -> Any:
        with asking_dynamodb():
            return getattr(self._client, operation)(**parameters)


class _Conditions(NamedTuple):
    expression: str
    names: dict[str, str]
    values: dict[str, Any]


def _conditions(wanted: LetterFilter, now: float, replay: str | None) -> _Conditions:
    """`letter_index.matches` as DynamoDB says it."""
    parts, values = ["#expires_at > :now"], {":now": {"N": str(int(now))}}
    exact = {"kind": wanted.kind, "reason": wanted.reason, "user": wanted.user, "event": wanted.event}
    for name, value in exact.items():
        if value is not None:
            parts.append(f"#{name} = :{name}")
            values[f":{name}"] = _text(value)
    if wanted.since is not None and replay is not None:
        parts.append("#at >= :from")
        values[":from"] = _text(wanted.since)
    if wanted.until is not None and replay is not None:
        parts.append("#at <= :to")
        values[":to"] = _text(wanted.until)
    if not wanted.include_replayed:
        parts.append("(attribute_not_exists(#replayed_at) OR #replay = :replay)")
        values[":replay"] = _text(replay or "none")
    if replay is not None:
        parts.append("NOT contains(#job, :own)")
        values[":own"] = _text(f".{replay}")
    expression = " AND ".join(parts)
    return _Conditions(expression, _names(expression), values)


def _names(expression: str) -> dict[str, str]:
    known = (*LetterEntry.__struct_fields__, "listed")
    words = expression.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return {f"#{name}": name for name in known if f"#{name}" in words}


def _row(owner: str, entry: LetterEntry) -> dict[str, Any]:
    plain = {name: getattr(entry, name) for name in LetterEntry.__struct_fields__ if name != "place"}
    row = {name: _value(value) for name, value in plain.items() if value is not None}
    return {"owner": _text(owner), "sk": _text(LETTER + entry.place), "listed": _text(entry.listed), **row}


def _moved(owner: str, entry: LetterEntry) -> list[dict[str, Any]]:
    if entry.place.startswith(FIRST_TURN):
        return []
    sort_key = MOVED + in_first_turn(entry.place)
    expires_at = {"N": str(entry.expires_at)}
    return [{"owner": _text(owner), "sk": _text(sort_key), "place": _text(entry.place), "expires_at": expires_at}]


def _entry(row: dict[str, Any]) -> LetterEntry:
    plain = {name: _plain(row[name]) for name in LetterEntry.__struct_fields__ if name in row}
    return LetterEntry(place=row["sk"]["S"].removeprefix(LETTER), **plain)


def _value(value: str | int) -> dict[str, str]:
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def _plain(value: dict[str, Any]) -> Any:
    return int(value["N"]) if "N" in value else value["S"]


def _text(value: str) -> dict[str, str]:
    return {"S": value}


def _reached(answer: Any) -> str | None:
    key = answer.get("LastEvaluatedKey")
    return None if key is None else str(key["sk"]["S"]).removeprefix(LETTER)


def _key(workspace: str, destination: str, place: str) -> dict[str, Any]:
    return {"owner": _text(tables.owner(workspace, destination)), "sk": _text(LETTER + place)}


def _listed_key(workspace: str, destination: str, listed: str) -> dict[str, Any]:
    return _key(workspace, destination, listed.partition("#")[2]) | {"listed": _text(listed)}
