"""The table `receipts`: what each invocation of fan-out and deliver did for a destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.books import (
    Cause,
    CreatedReceipt,
    DeliverReceipt,
    FanoutReceipt,
    JobReceipt,
    Receipt,
    RecordReceipt,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S = 15 * 86_400
ENTRIES_PER_ROW = 1_000  # far below DynamoDB's 400 KB
BYTES_PER_ROW = 300_000
EMPTY = {"S": "{}"}
FIRST, LAST = "0", ":"  # before and after every time
UNREADABLE = "unreadable"  # in the place of a workspace: whose job it was is what nobody can read


class ReceiptTable:
    """Rows are written once, under a new id each, and never changed."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._new_id = new_id

    def keep_fanout(self, workspace: str, destination: str, receipt: FanoutReceipt) -> None:
        """Raises `StoreUnavailable`."""
        for part in _parts(receipt.records):
            self._put(tables.owner(workspace, destination), f"{receipt.at}#fanout", {"records": _json(part)})

    def keep_created(self, workspace: str, destination: str, receipt: CreatedReceipt) -> None:
        """Raises `StoreUnavailable`."""
        self._put(tables.owner(workspace, destination), f"{receipt.at}#created", {"jobs": _json(receipt.jobs)})

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None:
        """Raises `StoreUnavailable`."""
        row = {"jobs": _json(receipt.jobs), "reasons": _json(receipt.reasons)}
        if receipt.retried:
            row["retried"] = {"N": str(receipt.retried)}
        row |= {name: _json(found) for name in ("delays", "causes", "waiting") if (found := getattr(receipt, name))}
        self._put(tables.owner(workspace, destination), f"{receipt.at}#deliver", row)

    def keep_unreadable(self, destination: str, at: str, message_id: str, body: bytes) -> None:
        """A job that nobody can read, whole, in as many rows as it takes. Raises `StoreUnavailable`."""
        for first in range(0, max(len(body), 1), BYTES_PER_ROW):
            row = {"message_id": {"S": message_id}, "part": {"N": str(first // BYTES_PER_ROW)}}
            part = {"body": {"B": body[first : first + BYTES_PER_ROW]}}
            self._put(tables.owner(UNREADABLE, destination), f"{at}#deliver", row | part)

    def read(
        self, workspace: str, destination: str, begin: str = FIRST, end: str = LAST, page: int | None = None
    ) -> Iterator[Receipt]:
        """The receipts of a destination from one time to another, oldest first. Raises `StoreUnavailable`.

        They are fetched as they are asked for, so many at once; else as many as an answer holds.
        """
        start: dict[str, Any] = {} if page is None else {"Limit": page}
        while True:
            with asking_dynamodb():
                answer = self._client.query(
                    TableName=self._table,
                    KeyConditionExpression="#owner = :owner AND sk BETWEEN :begin AND :end",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues={
                        ":owner": {"S": tables.owner(workspace, destination)},
                        ":begin": {"S": begin},
                        ":end": {"S": end},
                    },
                    ConsistentRead=True,
                    **start,
                )
            yield from (_receipt(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _put(self, owner: str, sort_key: str, row: Mapping[str, Any]) -> None:
        item = {
            "owner": {"S": owner},
            "sk": {"S": f"{sort_key}#{self._new_id()}"},
            "expires_at": {"N": str(int(self._clock()) + KEPT_S)},
            **row,
        }
        with asking_dynamodb():
            self._client.put_item(TableName=self._table, Item=item)


def _parts(records: Mapping[str, RecordReceipt]) -> Iterator[dict[str, RecordReceipt]]:
    entries = list(records.items())
    for first in range(0, len(entries), ENTRIES_PER_ROW):
        yield dict(entries[first : first + ENTRIES_PER_ROW])


def _json(value: Any) -> dict[str, str]:
    return {"S": msgspec.json.encode(value).decode()}


def _receipt(item: Mapping[str, Any]) -> Receipt:
    at, writer, _ = item["sk"]["S"].split("#")
    if writer == "fanout":
        records = msgspec.json.decode(item["records"]["S"], type=dict[str, RecordReceipt])
        return FanoutReceipt(at, records)
    if writer == "created":
        return CreatedReceipt(at, msgspec.json.decode(item["jobs"]["S"], type=dict[str, int]))
    return DeliverReceipt(
        at,
        msgspec.json.decode(item["jobs"]["S"], type=dict[str, JobReceipt]),
        msgspec.json.decode(item["reasons"]["S"], type=dict[str, str]),
        int(item.get("retried", {"N": "0"})["N"]),
        msgspec.json.decode(item.get("delays", EMPTY)["S"], type=dict[int, int]),
        msgspec.json.decode(item.get("causes", EMPTY)["S"], type=dict[str, Cause]),
        msgspec.json.decode(item.get("waiting", EMPTY)["S"], type=dict[str, str]),
    )
