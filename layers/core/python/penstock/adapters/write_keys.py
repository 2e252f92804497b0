"""Write keys, read from the table `config` by `collect`."""

from __future__ import annotations

import json
from typing import Protocol

import msgspec

from penstock.domain.ids import workspace_of_write_key
from penstock.domain.known_key import KnownKey
from penstock.domain.turns import Announced
from penstock.errors import StoreUnavailable


class Wire(Protocol):
    """Calls DynamoDB: `(status, body)`. Raises one of `failures` when no answer comes."""

    def call(self, target: str, body: bytes) -> tuple[int, bytes]: ...


class _Text(msgspec.Struct):
    S: str


class _Flag(msgspec.Struct):
    BOOL: bool


class _Number(msgspec.Struct, frozen=True):
    N: str


NOUGHT = _Number("0")


class _Item(msgspec.Struct):
    source_id: _Text
    enabled: _Flag
    source_enabled: _Flag
    turn: _Number = NOUGHT
    turns_at: _Number = NOUGHT


class _Answer(msgspec.Struct):
    Item: _Item | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


class WriteKeyTable:
    def __init__(self, wire: Wire, table: str, failures: tuple[type[Exception], ...]) -> None:
        self._wire = wire
        self._table = table
        self._failures = failures

    def find(self, write_key: str) -> KnownKey | None:
        """Whose key it is, None for nobody's. Raises `StoreUnavailable`."""
        workspace = workspace_of_write_key(write_key)
        if workspace is None:
            return None
        key = {"workspace_id": {"S": workspace}, "sk": {"S": f"write_key#{write_key}"}}
        request = json.dumps({"TableName": self._table, "Key": key}).encode()
        try:
            status, body = self._wire.call("DynamoDB_20120810.GetItem", request)
        except self._failures as error:
            raise StoreUnavailable("DynamoDB did not answer for a write key") from error
        if status != 200:
            raise StoreUnavailable(f"DynamoDB answered {status} for a write key")
        try:
            item = _decode_answer(body).Item
            announced = Announced() if item is None else Announced(int(item.turn.N), float(item.turns_at.N))
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreUnavailable("DynamoDB answered for a write key what cannot be read") from error
        if item is None:
            return None
        return KnownKey(workspace, item.source_id.S, item.enabled.BOOL and item.source_enabled.BOOL, announced)
