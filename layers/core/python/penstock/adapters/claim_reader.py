"""The table `dedup` as the trace reads it: which event of which record holds a messageId."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock import tables
from penstock.adapters.aws_errors import asking_dynamodb
from penstock.domain.dedup import Claims, Owner
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEYS_PER_READ = 100
TRIES = 3
APART = "claim"  # the attribute of an item that one messageId has to itself


class ClaimReader:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def find(self, owners: Sequence[Owner], days: Sequence[str], id_: str) -> dict[Owner, dict[str, Claims]]:
        """The claims on one hash, by ordering key and day. Raises `StoreUnavailable`."""
        keys: dict[tuple[str, str], tuple[Owner, str]] = {}
        for owner in owners:
            partition = tables.key_owner(*owner)
            keys |= {(partition, day): (owner, day) for day in days}
            keys |= {(f"{partition}#{id_}", day): (owner, day) for day in days}
        found: dict[Owner, dict[str, Claims]] = {}
        for item in self._items(list(keys), id_):
            claim = item.get(id_) or item.get(APART)
            if claim is not None:
                owner, day = keys[item["owner"]["S"], item["sk"]["S"]]
                found.setdefault(owner, {})[day] = {id_: claim["B"]}
        return found

    def _items(self, keys: Sequence[tuple[str, str]], id_: str) -> Iterator[Mapping[str, Any]]:
        for first in range(0, len(keys), KEYS_PER_READ):
            left = [{"owner": {"S": owner}, "sk": {"S": sk}} for owner, sk in keys[first : first + KEYS_PER_READ]]
            for _ in range(TRIES):
                answer = self._batch(left, id_)
                yield from answer["Responses"].get(self._table, [])
                left = answer["UnprocessedKeys"].get(self._table, {}).get("Keys", [])
                if not left:
                    break
            if left:
                raise StoreUnavailable("DynamoDB: keys are left unread")

    def _batch(self, keys: Sequence[Mapping[str, Any]], id_: str) -> Any:
        wanted: Any = {
            "Keys": keys,
            "ConsistentRead": True,
            "ProjectionExpression": "#owner, sk, #id, #apart",
            "ExpressionAttributeNames": {"#owner": "owner", "#id": id_, "#apart": APART},
        }
        with asking_dynamodb():
            return self._client.batch_get_item(RequestItems={self._table: wanted})
