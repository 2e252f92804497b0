"""The plain walk: add one value of an event to what has been seen, place by place."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from msgspec import Raw

from penstock.domain.schema_tree import (
    ARRAY,
    BOOLEAN,
    DEEPEST,
    INTEGER,
    LONGEST_NAME,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    TIMESTAMP,
    TOO_DEEP,
    TOO_LONG,
    Node,
    Tally,
)
from penstock.domain.timestamps import is_timestamp

KIND_OF: Final = {
    type(None): NULL,
    bool: BOOLEAN,
    int: INTEGER,
    float: NUMBER,
    str: STRING,
    dict: OBJECT,
    list: ARRAY,
}

_decode = msgspec.json.Decoder().decode


def decoded(raw: Raw | bytes) -> Any:
    """Any JSON that collect lets through; of numbers it matters only whether they are whole."""
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # what msgspec refuses: 1e999, half a surrogate pair, ints and nesting past its limits
        return json.loads(bytes(raw), parse_int=_zero)


def _zero(_: str) -> int:
    return 0


def walk(node: Node, value: Any, at: str, message_id: str, count: int = 1, depth: int = 1) -> None:
    """Add a decoded value, seen `count` times at `at` (receivedAt), to a place that is `depth` steps deep."""
    cls = value.__class__
    kind = KIND_OF[cls]
    if kind is STRING and value[4:5] == "-" and is_timestamp(value):
        kind = TIMESTAMP
    tally = node.kinds.get(kind)
    if tally is None:
        node.kinds[kind] = Tally(count, at, message_id, at)
    else:
        tally.count += count
        if at > tally.last:
            tally.last = at
        if at <= tally.first and (at, message_id) < (tally.first, tally.first_id):
            tally.first, tally.first_id = at, message_id
    if cls is dict:
        if depth >= DEEPEST:
            node.guards.add(TOO_DEEP)
            return
        names = node.names
        for name, member in value.items():
            if len(name) > LONGEST_NAME:
                node.guards.add(TOO_LONG)
                continue
            child = names.get(name)
            if child is None:
                child = names[name] = Node()
            walk(child, member, at, message_id, count, depth + 1)
    elif cls is list:
        if depth >= DEEPEST:
            node.guards.add(TOO_DEEP)
            return
        if value:
            elements = node.elements = node.elements or Node()
            for element in value:
                walk(elements, element, at, message_id, count, depth + 1)
