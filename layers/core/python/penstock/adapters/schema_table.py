"""The table `schemas`: what a query reads of an event, and what each shard has counted of it.

Everything that a query needs begins with `now#`, so that one Query brings all of it: the schema, and each shard's count
of the latest day (`today`) and of all days before (`past`). Blobs that outgrow an item lie in several.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from botocore.exceptions import ClientError

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb, is_cancelled, is_refused
from penstock.domain import schema_counts, schema_model, schema_tree
from penstock.domain.schema_counts import Count
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_model import EventSchema
from penstock.domain.schema_view import EventSummary, Listed, Reading
from penstock.domain.violations import Violation
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SCHEMA = "now#schema"
TODAY = "now#today#"
PAST = "now#past#"
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, Violation]).decode

TORN_READS = 4
ROWS_AT_ONCE = 200


class SchemaTable:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self, key: EventKey, *, consistent: bool = False) -> Reading:
        """Raises `StoreUnavailable`."""
        for _ in range(TORN_READS):
            blobs = _blobs(self._query(key, consistent))
            if blobs is not None:
                return _reading(blobs)
        raise StoreUnavailable("DynamoDB: a schema in several items changed at every reading")

    def load(self, key: EventKey, shard: str) -> tuple[EventSchema | None, Count | None]:
        """The schema, and one shard's count of the latest day. Raises `StoreUnavailable`."""
        found = self.read(key, consistent=True)
        return found.schema, found.today.get(shard)

    def save(self, key: EventKey, shard: str, count: Count, known_upto: str) -> None:
        """Raises `StoreChanged` unless the stored count goes up to `known_upto`, and `StoreUnavailable`."""
        row = {
            "source": {"S": key.of_source},
            "listed": {"S": f"{key.listed}#{shard}"},
            "call": {"S": key.call},
            **({} if key.event is None else {"event": {"S": key.event}}),
            "events": {"N": str(count.events)},
            "first_seen": {"S": count.first_seen},
            "last_seen": {"S": count.tree.kinds[schema_tree.OBJECT].last},
            "events_before": {"N": str(count.events_before)},
            "began": {"S": count.began},
            **({"violations": {"S": _encode(count.violations).decode()}} if count.violations else {}),
            **_counted(count),
        }
        unchanged = "attribute_not_exists(upto)" if known_upto == schema_counts.BEGINNING else "upto = :upto"
        values = {} if known_upto == schema_counts.BEGINNING else {":upto": {"S": known_upto}}
        self._put(key, TODAY + shard, schema_counts.packed(count.tree), row, unchanged, values)

    def put_by(self, key: EventKey, shard: str, finished: Count) -> None:
        """Keep a finished day, and add it to the past, unless that was done. Raises as `save` does."""
        past = self.read(key, consistent=True).past.get(shard)
        if past is not None and past.day >= finished.day:
            return
        blob = schema_counts.packed(finished.tree)
        self._put(key, f"day#{finished.day}#{shard}", blob, _counted(finished), "", {})
        trees = [schema_counts.unpacked(blob)] + ([] if past is None else [past.tree])
        unchanged = "attribute_not_exists(#day)" if past is None else "#day = :day"
        values = {} if past is None else {":day": {"S": past.day}}
        total = schema_counts.packed(schema_counts.total(trees))
        self._put(key, PAST + shard, total, _counted(finished), unchanged, values)

    def published(self, key: EventKey) -> str:
        """What tells the present schema from any other; empty where there is none. Raises `StoreUnavailable`."""
        answer = self._asked(
            "get_item",
            TableName=self._table,
            Key=_key(key, SCHEMA),
            ProjectionExpression="etag",
            ConsistentRead=True,
        )
        return answer["Item"]["etag"]["S"] if "Item" in answer else ""

    def publish(self, key: EventKey, schema: EventSchema, known_etag: str) -> None:
        """Put a newer schema in place of the one that was read. Raises as `save` does."""
        blob = schema_model.packed(schema)
        etag = _digest(blob)
        if etag == known_etag:
            return
        unchanged = "etag = :etag" if known_etag else "attribute_not_exists(etag)"
        values = {":etag": {"S": known_etag}} if known_etag else {}
        self._put(key, SCHEMA, blob, {"etag": {"S": etag}}, unchanged, values)

    def _put(
        self,
        key: EventKey,
        name: str,
        blob: bytes,
        row: Mapping[str, Any],
        condition: str,
        values: Mapping[str, Any],
    ) -> None:
        """One item, or where the blob outgrows it, as many as it takes in one transaction."""
        pieces = schema_counts.parts(blob)
        whole = {"whole": {"S": _digest(blob)}} if len(pieces) > 1 else {}
        head = {**row, **whole, "parts": {"N": str(len(pieces))}, "blob": {"B": pieces[0]}}
        first: dict[str, Any] = {"TableName": self._table, "Item": {**_key(key, name), **head}}
        if condition:
            first["ConditionExpression"] = condition
        if "#day" in condition:
            first["ExpressionAttributeNames"] = {"#day": "day"}
        if values:
            first["ExpressionAttributeValues"] = dict(values)
        if len(pieces) == 1:
            self._asked("put_item", **first)
            return
        rest = [
            {"TableName": self._table, "Item": {**_key(key, f"{name}#{number}"), **whole, "blob": {"B": piece}}}
            for number, piece in enumerate(pieces[1:], 1)
        ]
        self._asked("transact_write_items", TransactItems=[{"Put": item} for item in (first, *rest)])

    def _query(self, key: EventKey, consistent: bool) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            answer = self._asked(
                "query",
                TableName=self._table,
                KeyConditionExpression="#owner = :owner AND begins_with(sk, :now)",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": {"S": key.owner}, ":now": {"S": "now#"}},
                ConsistentRead=consistent,
                **start,
            )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def listed(self, of_source: str, after: str | None) -> Iterator[Listed]:
        """Each shard's count of each event of a source, by call and name, a moment old. Raises `StoreUnavailable`."""
        behind = f"{after}#~" if after else "!"  # behind all shards of that event, or before every call
        start: dict[str, Any] = {}
        while True:
            answer = self._asked(
                "query",
                TableName=self._table,
                IndexName=tables.SCHEMAS_BY_SOURCE,
                KeyConditionExpression="#source = :source AND listed > :after",
                ExpressionAttributeNames={"#source": "source"},
                ExpressionAttributeValues={":source": {"S": of_source}, ":after": {"S": behind}},
                Limit=ROWS_AT_ONCE,
                **start,
            )
            yield from (_listed(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _asked(self, call: str, **parameters: Any) -> Any:
        with asking_dynamodb(changed_if=_is_clash):
            return getattr(self._client, call)(**parameters)


def _is_clash(error: ClientError) -> bool:
    return is_refused(error) or is_cancelled(error)


class _Blob(NamedTuple):
    row: Mapping[str, Any]
    blob: bytes


def _reading(blobs: Mapping[str, _Blob]) -> Reading:
    head = blobs.get(SCHEMA)
    return Reading(
        None if head is None else schema_model.unpacked(head.blob),
        {name.removeprefix(TODAY): _count(blob) for name, blob in blobs.items() if name.startswith(TODAY)},
        {name.removeprefix(PAST): _count(blob) for name, blob in blobs.items() if name.startswith(PAST)},
    )


def _blobs(items: Iterator[dict[str, Any]]) -> dict[str, _Blob] | None:
    """The blobs by name, their parts put together; None where parts were read that do not belong together."""
    rows = {item["sk"]["S"]: item for item in items}
    found = {}
    for name, row in rows.items():
        if "parts" not in row:
            continue
        pieces = [row] + [rows.get(f"{name}#{number}", {}) for number in range(1, int(row["parts"]["N"]))]
        if any(piece.get("whole") != row.get("whole") for piece in pieces):
            return None
        found[name] = _Blob(row, b"".join(piece["blob"]["B"] for piece in pieces))
    return found


def _count(blob: _Blob) -> Count:
    row = blob.row
    return Count(
        row["day"]["S"],
        row["upto"]["S"],
        schema_counts.unpacked(blob.blob),
        int(row.get("events_before", {}).get("N", 0)),
        row.get("began", {}).get("S", ""),
        _violations(row),
    )


def _violations(row: Mapping[str, Any]) -> dict[str, Violation]:
    return _decode(row["violations"]["S"]) if "violations" in row else {}


def _listed(item: Mapping[str, Any]) -> Listed:
    summary = EventSummary(
        call=item["call"]["S"],
        event=item.get("event", {}).get("S"),
        count=int(item["events"]["N"]),
        first_seen=item["first_seen"]["S"],
        last_seen=item["last_seen"]["S"],
    )
    return Listed(item["listed"]["S"].rpartition("#")[0], summary, _violations(item))


def _counted(count: Count) -> dict[str, Any]:
    return {"day": {"S": count.day}, "upto": {"S": count.upto}}


def _key(key: EventKey, name: str) -> dict[str, Any]:
    return {"owner": {"S": key.owner}, "sk": {"S": name}}


def _digest(blob: bytes) -> str:
    return hashlib.blake2b(blob, digest_size=8).hexdigest()
