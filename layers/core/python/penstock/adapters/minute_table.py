"""The table `receipts`: what its receipts come to by minutes, and in all, in a partition beside the receipts' own.

A minute, the digests of what it names, and the total that has it are put in one transaction, on condition that the
total reached up to there: whoever comes too late, or again after a crash, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb, is_cancelled
from penstock.domain.minutes import Figures, Minute, Total
from penstock.domain.named import DIGEST_BYTES, Packed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S = 15 * 86_400
DIGESTS_KEPT_S = 86_400
BESIDE = "#minutes"
TOTAL, MINUTE, DIGESTS = "total", "minute#", "named#"
BYTES_PER_ITEM = 300_000  # of digests, whole ones
MOST_DIGESTS = 400_000  # of one minute; what is said again of the rest counts twice
MOST_ITEMS = 100  # of a transaction
MOST_BYTES = 3_000_000  # likewise, below its 4 MB
CLASHES = frozenset({"ConditionalCheckFailed", "TransactionConflict"})

_figures = msgspec.json.Decoder(Figures).decode
_waiting = msgspec.json.Decoder(dict[str, str]).decode


class MinuteTable:
    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def total(self, workspace: str, destination: str) -> Total:
        """Of nothing, where nothing was counted yet. Raises `StoreUnavailable`."""
        key = {"owner": {"S": _owner(workspace, destination)}, "sk": {"S": TOTAL}}
        answer = self._asked("get_item", TableName=self._table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            return Total()
        item = answer["Item"]
        return Total(
            item["upto"]["S"], item["since"]["S"], _figures(item["figures"]["S"]), _waiting(item["waiting"]["S"])
        )

    def minutes(
        self, workspace: str, destination: str, begin: str, end: str, newest_first: bool = False
    ) -> Iterator[Minute]:
        """Those that are counted, from one minute up to before another. Raises `StoreUnavailable`."""
        for item in self._items(workspace, destination, MINUTE + begin, MINUTE + end, newest_first):
            at = item["sk"]["S"].removeprefix(MINUTE)
            if at != end:
                yield Minute(at, _figures(item["figures"]["S"]))

    def digests(self, workspace: str, destination: str, begin: str, end: str, most: int) -> dict[str, Packed]:
        """By minute, what was named in them: of the last of them, so many digests. Raises `StoreUnavailable`."""
        found: dict[str, Packed] = {}
        left = most
        for item in self._items(workspace, destination, DIGESTS + begin, DIGESTS + end, newest_first=True):
            _, at, _ = item["sk"]["S"].split("#")
            part = item["digests"]["B"]
            left -= len(part) // DIGEST_BYTES
            if found and left < 0:
                break
            found[at] = part + found.get(at, b"")
        return found

    def roll(self, workspace: str, destination: str, before: Total, after: Total, minutes: Sequence[Minute]) -> None:
        """Put minutes, as many as fit or one, and the total that has them.

        Raises `StoreChanged` where another was faster, and `StoreUnavailable`.
        """
        owner = _owner(workspace, destination)
        puts = [put for minute in minutes for put in self._puts(owner, minute)]
        self._asked("transact_write_items", TransactItems=[*puts, self._total(owner, before, after)])

    def fits(self, minutes: Sequence[Minute]) -> bool:
        """Whether so many minutes go into one transaction."""
        items = sum(2 + len(minute.digests) // BYTES_PER_ITEM for minute in minutes)
        size = sum(len(minute.digests) + len(_encoded(minute.figures).encode()) for minute in minutes)
        return items < MOST_ITEMS and size < MOST_BYTES

    def _puts(self, owner: str, minute: Minute) -> Iterator[dict[str, Any]]:
        yield self._put(owner, MINUTE + minute.at, {"figures": {"S": _encoded(minute.figures)}}, KEPT_S)
        for number, part in enumerate(_parts(minute.digests)):
            yield self._put(owner, f"{DIGESTS}{minute.at}#{number}", {"digests": {"B": part}}, DIGESTS_KEPT_S)

    def _put(self, owner: str, sort_key: str, row: Mapping[str, Any], kept_s: int) -> dict[str, Any]:
        expires_at = {"N": str(int(self._clock()) + kept_s)}
        return {
            "Put": {
                "TableName": self._table,
                "Item": {"owner": {"S": owner}, "sk": {"S": sort_key}, "expires_at": expires_at, **row},
            }
        }

    def _total(self, owner: str, before: Total, after: Total) -> dict[str, Any]:
        values = {
            ":upto": {"S": after.upto},
            ":since": {"S": after.since},
            ":figures": {"S": _encoded(after.figures)},
            ":waiting": {"S": _encoded(after.waiting)},
        }
        if before.upto:
            values[":before"] = {"S": before.upto}
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"owner": {"S": owner}, "sk": {"S": TOTAL}},
                "UpdateExpression": "SET upto = :upto, since = :since, figures = :figures, waiting = :waiting",
                "ConditionExpression": "upto = :before" if before.upto else "attribute_not_exists(upto)",
                "ExpressionAttributeValues": values,
            }
        }

    def _items(
        self, workspace: str, destination: str, begin: str, end: str, newest_first: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            answer = self._asked(
                "query",
                TableName=self._table,
                KeyConditionExpression="#owner = :owner AND sk BETWEEN :begin AND :end",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={
                    ":owner": {"S": _owner(workspace, destination)},
                    ":begin": {"S": begin},
                    ":end": {"S": end},
                },
                ConsistentRead=True,
                ScanIndexForward=not newest_first,
                **start,
            )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _asked(self, call: str, **parameters: Any) -> Any:
        with asking_dynamodb(changed_if=_is_clash):
            return getattr(self._client, call)(**parameters)


def _owner(workspace: str, destination: str) -> str:
    return tables.owner(workspace, destination) + BESIDE


def _is_clash(error: ClientError) -> bool:
    response: Mapping[str, Any] = error.response
    reasons = response.get("CancellationReasons", [])
    return is_cancelled(error) and any(reason.get("Code") in CLASHES for reason in reasons)


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _parts(digests: Packed) -> list[Packed]:
    most = digests[: MOST_DIGESTS * DIGEST_BYTES]
    return [most[first : first + BYTES_PER_ITEM] for first in range(0, len(most), BYTES_PER_ITEM)]
