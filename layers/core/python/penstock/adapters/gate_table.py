"""The table `gates`, its items `gate`: one for each destination that was ever in trouble, slow or paused.

Strikes are a set that grows by ADD, so that any number of Lambdas strike at once. Every other change is made on
condition that nobody else has changed the gate since it was read. The index `by_attention` holds the gates that
somebody has to look after, by when.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb, is_refused
from penstock.domain.audit import iso
from penstock.domain.evidence import MOST_STRIKES
from penstock.domain.gate import Gate, GateChange, GateState, Key, Mapped, Pool, attend_at
from penstock.errors import StoreChanged

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

GATE = "gate"
EVERYBODYS = "operator"  # the partition of the index: the gatekeeper looks after all workspaces' gates
PAGE = 100
STRIKES = ("strikes", "struck_at")
SOMETIMES = (
    "next_probe_at",
    "slow_at",
    "calm_since",
    "untold",
    "filled_at",
    "park_at",
    "is_parking",
    "attention",
    "attend_at",
)
OPEN = {"S": GateState.OPEN.value}

_changes = msgspec.json.Decoder(tuple[GateChange, ...]).decode


class GateTable:
    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def find(self, key: Key) -> Gate:
        """The gate of `(workspace, destination)` as of a moment ago. Raises `StoreUnavailable`."""
        return self._found(*key, consistent=False)

    def read(self, workspace: str, destination: str) -> Gate:
        """As of now; an open one where none is known. Raises `StoreUnavailable`."""
        return self._found(workspace, destination, consistent=True)

    def save(self, workspace: str, destination: str, before: Gate, after: Gate) -> Gate:
        """What was saved; strikes go with the state in which they were given.

        Raises `StoreChanged` where somebody else was faster, and `StoreUnavailable`.
        """
        saved = msgspec.structs.replace(after, version=before.version + 1)
        sets = _attributes(saved) | self._attention(saved)
        gone = [name for name in SOMETIMES if name not in sets]
        if before.state is not after.state:
            gone += STRIKES
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in sets)
        if gone:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in gone)
        request: dict[str, Any] = {
            "UpdateExpression": expression,
            "ConditionExpression": "#version = :before" if before.version else "attribute_not_exists(#version)",
            "ExpressionAttributeNames": {f"#{name}": name for name in (*sets, *gone)},
            "ExpressionAttributeValues": {f":{name}": value for name, value in sets.items()},
        }
        if before.version:
            request["ExpressionAttributeValues"][":before"] = {"N": str(before.version)}
        self._update(workspace, destination, request)
        return saved

    def strike(self, workspace: str, destination: str, groups: Collection[str], now: float) -> Gate:
        """Add to the strikes of an open gate that has few. What the gate is then. Raises `StoreUnavailable`."""
        request = {
            "UpdateExpression": "SET struck_at = if_not_exists(struck_at, :now) ADD strikes :groups",
            "ConditionExpression": "(attribute_not_exists(#state) OR #state = :open) AND "
            "(attribute_not_exists(strikes) OR size(strikes) < :most)",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                ":now": _number(now),
                ":groups": {"SS": sorted(groups)},
                ":open": OPEN,
                ":most": {"N": str(MOST_STRIKES)},
            },
            "ReturnValues": "ALL_NEW",
        }
        try:
            return _gate(self._update(workspace, destination, request)["Attributes"])
        except StoreChanged:
            return self.read(workspace, destination)

    def absolve(self, workspace: str, destination: str) -> None:
        """Forget the strikes. Raises `StoreUnavailable`."""
        self._update(workspace, destination, {"UpdateExpression": "REMOVE strikes, struck_at"})

    def due(self, now: float, most: int) -> list[Key]:
        """Gates that should have been looked after by now, the longest overdue first. Raises `StoreUnavailable`."""
        found: list[Key] = []
        for item in self._overdue(now):
            workspace, destination = item["owner"]["S"].split("#")
            found.append((workspace, destination))
            if len(found) == most:
                break
        return found

    def forget(self, workspace: str, destination: str) -> None:
        """All items of a destination that is no more, but the turns of its overflow, which end when that is buried.

        Raises `StoreUnavailable`.
        """
        owner = {":owner": {"S": tables.owner(workspace, destination)}}
        request = {
            "TableName": self._table,
            "KeyConditionExpression": "#owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": owner,
            "ConsistentRead": True,
            "ProjectionExpression": "#owner, sk",
        }
        for item in self._asked("query", request)["Items"]:
            if item["sk"]["S"] != tables.OVERFLOW_TURNS:
                self._asked("delete_item", {"TableName": self._table, "Key": item})

    def _found(self, workspace: str, destination: str, *, consistent: bool) -> Gate:
        key = _key(workspace, destination)
        request = {"TableName": self._table, "Key": key, "ConsistentRead": consistent}
        return _gate(self._asked("get_item", request).get("Item", {}))

    def _attention(self, gate: Gate) -> dict[str, Any]:
        due_at = attend_at(gate, self._clock())
        return {} if due_at is None else {"attention": {"S": EVERYBODYS}, "attend_at": {"S": iso(due_at)}}

    def _overdue(self, now: float) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            request = {
                "TableName": self._table,
                "IndexName": tables.GATES_BY_ATTENTION,
                "KeyConditionExpression": "attention = :all AND attend_at <= :now",
                "ExpressionAttributeValues": {":all": {"S": EVERYBODYS}, ":now": {"S": iso(now)}},
                "Limit": PAGE,
                **start,
            }
            answer = self._asked("query", request)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _update(self, workspace: str, destination: str, request: Mapping[str, Any]) -> Any:
        return self._asked("update_item", {"TableName": self._table, "Key": _key(workspace, destination), **request})

    def _asked(self, call: str, request: Mapping[str, Any]) -> Any:
        with asking_dynamodb(changed_if=is_refused):
            return getattr(self._client, call)(**request)


def _text_of(mapped: Mapped) -> str:
    """Such as `on:fast`, or `on:fast:changing`."""
    return f"{'on' if mapped.on else 'off'}:{mapped.pool.value}{'' if mapped.settled else ':changing'}"


def _attributes(gate: Gate) -> dict[str, Any]:
    """All but the strikes, which others add to meanwhile."""
    found: dict[str, Any] = {
        "state": {"S": gate.state.value},
        "reason": {"S": gate.reason},
        "since": _number(gate.since),
        "probes": {"N": str(gate.probes)},
        "pool": {"S": gate.pool.value},
        "mapped": {"S": _text_of(gate.mapped)},
        "version": {"N": str(gate.version)},
        "parking": _number(gate.parking),
    }
    for name in ("next_probe_at", "slow_at", "calm_since", "filled_at", "park_at"):
        if getattr(gate, name) is not None:
            found[name] = _number(getattr(gate, name))
    if gate.is_parking:
        found["is_parking"] = {"BOOL": True}
    if gate.untold:
        found["untold"] = {"S": msgspec.json.encode(gate.untold).decode()}
    return found


def _gate(item: Mapping[str, Any]) -> Gate:
    """An item that was only struck yet has no state: it is open, as is what has no item."""
    if "version" not in item:
        return Gate(strikes=_strikes(item), struck_at=_time(item, "struck_at"))
    switched, pool, *changing = item["mapped"]["S"].split(":")
    return Gate(
        state=GateState(item["state"]["S"]),
        reason=item["reason"]["S"],
        since=float(item["since"]["N"]),
        strikes=_strikes(item),
        struck_at=_time(item, "struck_at"),
        probes=int(item["probes"]["N"]),
        next_probe_at=_time(item, "next_probe_at"),
        pool=Pool(item["pool"]["S"]),
        slow_at=_time(item, "slow_at"),
        calm_since=_time(item, "calm_since"),
        mapped=Mapped(switched == "on", Pool(pool), not changing),
        untold=_changes(item["untold"]["S"]) if "untold" in item else (),
        parking=_time(item, "parking") or 0.0,
        filled_at=_time(item, "filled_at"),
        park_at=_time(item, "park_at"),
        is_parking="is_parking" in item,
        version=int(item["version"]["N"]),
    )


def _strikes(item: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(item.get("strikes", {}).get("SS", []))


def _time(item: Mapping[str, Any], name: str) -> float | None:
    return float(item[name]["N"]) if name in item else None


def _number(value: float) -> dict[str, str]:
    """All of its digits: what was saved is what is read."""
    return {"N": repr(value)}


def _key(workspace: str, destination: str) -> dict[str, Any]:
    return {"owner": {"S": tables.owner(workspace, destination)}, "sk": {"S": GATE}}
