"""The table `receipts`, its end: whether a destination took anything of late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, JobReceipt

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PAGES, PAGE = 5, 200  # a thousand receipts without a delivery say enough

_jobs = msgspec.json.Decoder(dict[str, JobReceipt]).decode


class RecentDeliveries:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def since(self, workspace: str, destination: str, at: float) -> bool:
        """Whether anything was delivered after `at`, in epoch seconds. Raises `StoreUnavailable`."""
        rows = self._newest_first(tables.owner(workspace, destination), iso(at))
        return any(
            DELIVERED in job.codes
            for row in rows
            if row["sk"]["S"].split("#")[1] == "deliver"
            for job in _jobs(row["jobs"]["S"]).values()
        )

    def _newest_first(self, owner: str, after: str) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        for _ in range(PAGES):
            with asking_dynamodb():
                answer = self._client.query(
                    TableName=self._table,
                    KeyConditionExpression="#owner = :owner AND sk > :after",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues={":owner": {"S": owner}, ":after": {"S": after}},
                    ProjectionExpression="sk, jobs",
                    ConsistentRead=True,
                    ScanIndexForward=False,
                    Limit=PAGE,
                    **start,
                )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
