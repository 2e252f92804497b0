"""The table `places`: the facts of every event's schema, one item per path, and which column name is whose.

`kinds` only ever grows by ADD, and each kind's `first_…` only ever falls, so any number of Lambdas write at once and
nothing is read for it. `published` are the kinds that the change feed has told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Executor, wait
from typing import TYPE_CHECKING, Any

from penstock.adapters.aws_errors import ask_if, asking_dynamodb
from penstock.domain.schema_changes import EventFacts, PlaceRow
from penstock.domain.schema_event import EventKey, place_name
from penstock.domain.schema_facts import ROOT, Facts, First, Sighting

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

COLUMN = "column#"
TABLE = "table#"
PUBLISHED = frozenset({"published", "version", "table_name"})


class PlaceTable:
    """`threads` write the paths of one event at once; none of them is that which a caller's own work runs on."""

    def __init__(self, client: DynamoDBClient, table: str, threads: Executor) -> None:
        self._client = client
        self._table = table
        self._threads = threads

    def note(self, key: EventKey, facts: Facts) -> None:
        """Add facts to those known. Raises `StoreUnavailable`; what was noted by then stays, and may be noted again."""
        begun = [self._threads.submit(self._note, key, path, sighting) for path, sighting in facts.items()]
        wait(begun)
        for each in begun:
            each.result()

    def read(self, owner: str) -> EventFacts:
        """All that is known of an event, as of now. Raises `StoreUnavailable`."""
        found = EventFacts()
        for item in self._items(owner):
            name = item["sk"]["S"]
            if name.startswith(COLUMN):
                found.taken[name.removeprefix(COLUMN)] = f"{item['path']['S']}\0{item['family']['S']}"
            elif item["path"]["S"] == ROOT:
                found.call, found.event = item["call"]["S"], item.get("event", {}).get("S")
                found.table = item.get("table_name", {}).get("S")
                found.root = _row(item)
            else:
                found.rows[item["path"]["S"]] = _row(item)
        return found

    def take_back(self, key: EventKey, path: str, row: PlaceRow, kinds: Collection[str]) -> None:
        """Let kinds of a path go that stand elsewhere by now. What was noted since `row` was read stays.

        Raises `StoreUnavailable`.
        """
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": _key(key.owner, place_name(path)),
            "ConditionExpression": " AND ".join(["kinds = :known", *(f"first_{kind} = :{kind}" for kind in kinds)]),
            "ExpressionAttributeValues": {
                ":known": {"SS": sorted(row.kinds)},
                **{f":{kind}": _first(row.kinds[kind]) for kind in kinds},
            },
        }
        if set(kinds) == row.kinds.keys():
            self._tried("delete_item", request)
            return
        request["UpdateExpression"] = "DELETE kinds :gone REMOVE " + ", ".join(f"first_{kind}" for kind in kinds)
        request["ExpressionAttributeValues"][":gone"] = {"SS": sorted(kinds)}
        self._tried("update_item", request)

    def claim_column(self, key: EventKey, name: str, path: str, family: str) -> bool:
        """Whether the column's name is this path's and family's, from now on or already. Raises `StoreUnavailable`."""
        item = {**_key(key.owner, COLUMN + name), "path": {"S": path}, "family": {"S": family}}
        mine = "#path = :path AND #family = :family"
        values = {":path": item["path"], ":family": item["family"]}
        return self._claimed(item, mine, {"#path": "path", "#family": "family"}, values)

    def claim_table(self, key: EventKey, name: str) -> bool:
        """Whether the table's name is this event's, from now on or already. Raises `StoreUnavailable`."""
        item = {**_key(key.of_source, TABLE + name), "digest": {"S": key.digest}}
        if not self._claimed(item, "digest = :digest", {}, {":digest": item["digest"]}):
            return False
        update = {
            "TableName": self._table,
            "Key": _key(key.owner, place_name(ROOT)),
            "UpdateExpression": "SET table_name = :name",
            "ExpressionAttributeValues": {":name": {"S": name}},
        }
        return self._tried("update_item", update)

    def _claimed(self, item: Mapping[str, Any], mine: str, names: Mapping[str, str], values: Mapping[str, Any]) -> bool:
        request: dict[str, Any] = {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": f"attribute_not_exists(sk) OR ({mine})",
            "ExpressionAttributeValues": values,
        }
        return self._tried("put_item", request | ({"ExpressionAttributeNames": names} if names else {}))

    def _note(self, key: EventKey, path: str, sighting: Sighting) -> None:
        """All kinds at once, or where one of them is known to have come earlier, each by itself."""
        if self._tried("update_item", self._update(key, path, sighting)):
            return
        for kind, first in sighting.kinds.items():
            self._tried("update_item", self._update(key, path, Sighting({kind: first})))
        if sighting.guards:
            self._tried("update_item", self._update(key, path, Sighting({}, sighting.guards)))

    def _update(self, key: EventKey, path: str, sighting: Sighting) -> dict[str, Any]:
        sets = {"#path": ":path", **{f"first_{kind}": f":{kind}" for kind in sighting.kinds}}
        values: dict[str, Any] = {":path": {"S": path}}
        values |= {f":{kind}": _first(first) for kind, first in sighting.kinds.items()}
        if path == ROOT:
            sets |= {"#call": ":call"} | ({} if key.event is None else {"#event": ":event"})
            values |= {":call": {"S": key.call}} | ({} if key.event is None else {":event": {"S": key.event}})
        adds = {}
        if sighting.kinds:
            adds["kinds"], values[":kinds"] = ":kinds", {"SS": sorted(sighting.kinds)}
        if sighting.guards:
            adds["guards"], values[":guards"] = ":guards", {"SS": sorted(sighting.guards)}
        expression = "SET " + ", ".join(f"{name} = {value}" for name, value in sets.items())
        if adds:
            expression += " ADD " + ", ".join(f"{name} {value}" for name, value in adds.items())
        request = {
            "TableName": self._table,
            "Key": _key(key.owner, place_name(path)),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {name: name[1:] for name in sets if name.startswith("#")},
            "ExpressionAttributeValues": values,
        }
        if sighting.kinds:
            request["ConditionExpression"] = " AND ".join(
                f"(attribute_not_exists(first_{kind}) OR first_{kind} > :{kind})" for kind in sighting.kinds
            )
        return request

    def _items(self, owner: str) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            answer = self._asked(
                "query",
                {
                    "TableName": self._table,
                    "KeyConditionExpression": "#owner = :owner",
                    "ExpressionAttributeNames": {"#owner": "owner"},
                    "ExpressionAttributeValues": {":owner": {"S": owner}},
                    "ConsistentRead": True,
                    **start,
                },
            )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _tried(self, call: str, request: Mapping[str, Any]) -> bool:
        """Whether the request's condition held."""
        return ask_if(lambda: getattr(self._client, call)(**request)) is not None

    def _asked(self, call: str, request: Mapping[str, Any]) -> Any:
        with asking_dynamodb():
            return getattr(self._client, call)(**request)


def facts_in(image: Mapping[str, Any]) -> dict[str, Any]:
    """What a path's item says of events; not what was published and named since."""
    return {
        name: sorted(value["SS"]) if "SS" in value else value
        for name, value in image.items()
        if name not in PUBLISHED and not name.startswith("column_")
    }


def _row(item: Mapping[str, Any]) -> PlaceRow:
    kinds = item.get("kinds", {}).get("SS", [])
    columns = {name.removeprefix("column_"): value["S"] for name, value in item.items() if name[:7] == "column_"}
    return PlaceRow(
        kinds={kind: First(*item[f"first_{kind}"]["S"].split("#", 1)) for kind in kinds},
        guards=frozenset(item.get("guards", {}).get("SS", [])),
        published=frozenset(item.get("published", {}).get("SS", [])),
        columns=dict(sorted(columns.items(), key=lambda each: len(each[1]))),  # variants' names are the longer ones
        version=int(item.get("version", {}).get("N", 0)),
    )


def _first(first: First) -> dict[str, str]:
    return {"S": f"{first.at}#{first.message_id}"}


def _key(owner: str, name: str) -> dict[str, Any]:
    return {"owner": {"S": owner}, "sk": {"S": name}}
