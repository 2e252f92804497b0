"""The table `dedup`: who claimed which messageId of an ordering key on which day, and the key's own item.

It speaks to DynamoDB itself: fan-out writes once for each run, and botocore takes four times the processor time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from penstock import tables
from penstock.domain import dedup
from penstock.domain.dedup import Claims, KeyState, Known, Owner, Wanted
from penstock.errors import StoreUnavailable

T = TypeVar("T")

KEPT_S = 16 * 86_400  # from the start of their day: fifteen days after the last of them
IDS_PER_DAY = 500  # in the item that is the key's and day's; each further messageId has an item of its own
IDS_PER_WRITE = 100  # keeps the expression below its 4 KB, and the transaction at its most items
KEYS_PER_READ = 100
PAUSES_S = (0.05, 0.1, 0.2)  # before a call is made again; idempotent, all of them
HELD = "claim"
COUNT = "ids"
REFUSED = "ConditionalCheckFailedException"
CANCELLED = "TransactionCanceledException"
WORTH_RETRYING = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


class Wire(Protocol):
    """Calls DynamoDB: `(status, body)`. Raises one of `failures` when no answer comes."""

    def call(self, target: str, body: bytes) -> tuple[int, bytes]: ...


class _Value(msgspec.Struct, gc=False):
    """An attribute, of whichever type."""

    S: str = ""
    N: str = "0"
    B: bytes = b""


_Item: TypeAlias = dict[str, _Value]
_Key: TypeAlias = tuple[str, str]


class _Keys(msgspec.Struct):
    Keys: list[_Item]


class _Read(msgspec.Struct):
    Responses: dict[str, list[_Item]] = {}
    UnprocessedKeys: dict[str, _Keys] = {}


class _Written(msgspec.Struct):
    Attributes: _Item = {}


class _Refusal(msgspec.Struct):
    kind: str = msgspec.field(name="__type", default="")
    Item: _Item = {}

    @property
    def code(self) -> str:
        return self.kind.rpartition("#")[2]


class _Refused(StoreUnavailable):
    """DynamoDB answered that it will not; a condition that does not hold is an answer, all else is trouble."""

    def __init__(self, refusal: _Refusal) -> None:
        super().__init__(f"DynamoDB: {refusal.code}")
        self.refusal = refusal


_encode = msgspec.json.Encoder().encode
_decode_read = msgspec.json.Decoder(_Read).decode
_decode_written = msgspec.json.Decoder(_Written).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode
_NOTHING: _Item = {}


class DedupTable:
    def __init__(
        self, wire: Wire, table: str, failures: tuple[type[Exception], ...], sleep: Callable[[float], None]
    ) -> None:
        self._wire = wire
        self._table = table
        self._failures: tuple[type[Exception], ...] = (*failures, msgspec.MsgspecError)
        self._sleep = sleep

    def read(self, wanted: Sequence[Wanted]) -> dict[Owner, Known]:
        """One call for up to a hundred items: a key's own and its days'. Raises `StoreUnavailable`."""
        items = self._items([_key(each.owner, sk) for each in wanted for sk in ("key", *sorted(each.days))])
        alone = self._items([key for each in wanted for key in _kept_apart(each, items)])
        found = {}
        for each in wanted:
            days = {day: _claims(items.get(_key(each.owner, day), _NOTHING)) for day in each.days}
            for day, claims in days.items():
                claims |= {id_: item[HELD].B for id_ in each.ids if (item := alone.get(_key(each.owner, day, id_)))}
            found[each.owner] = Known(_state(items.get(_key(each.owner, "key"), _NOTHING)), days)
        return found

    def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
        """One write for up to a hundred ids. Raises `StoreUnavailable`."""
        held: Claims = {}
        is_full = False
        for part in _parts(list(claims), IDS_PER_WRITE):
            if not is_full:
                found, is_full = self._claim_in_day(owner, day, {id_: claims[id_] for id_ in part})
                held |= found
            left = {id_: claims[id_] for id_ in part if id_ not in held}
            if left:
                held |= self._claim_apart(owner, day, left)
        return {id_: held[id_] for id_ in claims}

    def _claim_in_day(self, owner: Owner, day: str, claims: Claims) -> tuple[Claims, bool]:
        """What the day's item holds now, and whether it is full: from then on nothing is added to it, ever."""
        names = {f"#{place}": id_ for place, id_ in enumerate(claims)}
        sets = ",".join(f"#{place}=if_not_exists(#{place},:{place})" for place in range(len(claims)))
        request = {
            "TableName": self._table,
            "Key": _as_item(_key(owner, day)),
            "UpdateExpression": f"SET expires_at=:expires,{sets} ADD {COUNT} :more",
            "ConditionExpression": f"attribute_not_exists({COUNT}) OR {COUNT} < :most",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {
                **{f":{place}": {"B": claim} for place, claim in enumerate(claims.values())},
                ":more": {"N": str(len(claims))},
                ":most": {"N": str(IDS_PER_DAY)},
                ":expires": {"N": _expiry(day)},
            },
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            return _claims(self._asked("UpdateItem", request, _decode_written).Attributes), False
        except _Refused as refused:
            if refused.refusal.code != REFUSED:
                raise
            return _claims(refused.refusal.Item), True

    def _claim_apart(self, owner: Owner, day: str, claims: Claims) -> Claims:
        """An item for each id, all that are new in one transaction. Where some are there already, they are read."""
        held: Claims = {}
        for pause_s in PAUSES_S:
            puts = [self._put(owner, day, id_, claim) for id_, claim in claims.items() if id_ not in held]
            try:
                if puts:
                    self._asked("TransactWriteItems", {"TransactItems": puts}, _decode_written)
                return claims | held
            except _Refused as refused:
                if refused.refusal.code != CANCELLED:
                    raise
                self._sleep(pause_s)
            there = self._items([_key(owner, day, id_) for id_ in claims])
            held = {id_: item[HELD].B for id_ in claims if (item := there.get(_key(owner, day, id_)))}
        raise StoreUnavailable("DynamoDB: claims changed at every try")

    def _put(self, owner: Owner, day: str, id_: str, claim: bytes) -> dict[str, Any]:
        item = _as_item(_key(owner, day, id_)) | {HELD: {"B": claim}, "expires_at": {"N": _expiry(day)}}
        return {"Put": {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(sk)"}}

    def _items(self, keys: Sequence[_Key]) -> dict[_Key, _Item]:
        return {
            (item["owner"].S, item["sk"].S): item for part in _parts(keys, KEYS_PER_READ) for item in self._batch(part)
        }

    def _batch(self, keys: Sequence[_Key]) -> Iterator[_Item]:
        """The items of up to a hundred keys; DynamoDB may leave some for another call."""
        left = [_as_item(key) for key in keys]
        for pause_s in (*PAUSES_S, None):
            request = {"RequestItems": {self._table: {"Keys": left, "ConsistentRead": True}}}
            answer = self._asked("BatchGetItem", request, _decode_read)
            yield from answer.Responses.get(self._table, [])
            unread = answer.UnprocessedKeys.get(self._table, _Keys([])).Keys
            if not unread:
                return
            if pause_s is not None:
                left = [_as_item((key["owner"].S, key["sk"].S)) for key in unread]
                self._sleep(pause_s)
        raise StoreUnavailable("DynamoDB: keys are left unread")

    def _asked(self, operation: str, request: Mapping[str, Any], decode: Callable[[bytes], T]) -> T:
        """Raises `_Refused`, or `StoreUnavailable` when there is no answer after a few tries."""
        body = _encode(request)
        trouble = ""
        for pause_s in (*PAUSES_S, None):
            try:
                status, answer = self._wire.call(f"DynamoDB_20120810.{operation}", body)
                if status == 200:
                    return decode(answer)
                refusal = _decode_refusal(answer) if status < 500 else _Refusal(f"status {status}")
                if status < 500 and refusal.code not in WORTH_RETRYING:
                    raise _Refused(refusal)
                trouble = refusal.code
            except self._failures as error:
                trouble = type(error).__name__
            if pause_s is not None:
                self._sleep(pause_s)
        raise StoreUnavailable(f"DynamoDB: {trouble}")


def _kept_apart(wanted: Wanted, items: Mapping[_Key, _Item]) -> Iterator[_Key]:
    """Where else the claims of full days may be."""
    for day in sorted(wanted.days):
        item = items.get(_key(wanted.owner, day), _NOTHING)
        if COUNT in item and int(item[COUNT].N) >= IDS_PER_DAY:
            yield from (_key(wanted.owner, day, id_) for id_ in sorted(wanted.ids - item.keys()))


def _claims(item: _Item) -> Claims:
    return {name: value.B for name, value in item.items() if value.B}


def _state(item: _Item) -> KeyState:
    return KeyState(over=frozenset(name.removeprefix(tables.OVER) for name in item if name.startswith(tables.OVER)))


def _key(owner: Owner, sort_key: str, id_: str | None = None) -> _Key:
    """Of an item of the key's, or of one id's own: that has a partition to itself, however hot its key is."""
    return tables.key_owner(*owner) + ("" if id_ is None else f"#{id_}"), sort_key


def _as_item(key: _Key) -> dict[str, Any]:
    return {"owner": {"S": key[0]}, "sk": {"S": key[1]}}


def _expiry(day: str) -> str:
    return str(dedup.start_of(day) + KEPT_S)


def _parts(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))
