"""The schema of one event as it is read: every path with its kinds, its columns and what guards it."""

from __future__ import annotations

import zlib

import msgspec
from msgspec import Struct


class Place(Struct, frozen=True, omit_defaults=True):
    """One path of an event.

    `kinds` are sorted; `first` is the kind of the value with the least (receivedAt, messageId), the one that the policy
    `strict` keeps; `columns` gives each family that has a column its name, which never changes once given, the path's
    first one first; `firsts` are the receivedAt times at which each of `kinds` was seen first.
    """

    path: str
    kinds: tuple[str, ...]
    first: str
    first_seen: str
    columns: dict[str, str] = {}
    guards: tuple[str, ...] = ()
    firsts: tuple[str, ...] = ()


class EventSchema(Struct, frozen=True, omit_defaults=True):
    """All that is known of one event but its counts. `version` is that of its last change in the source's feed."""

    call: str
    event: str | None
    table: str
    version: int
    first_seen: str
    places: tuple[Place, ...]
    guards: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(EventSchema).decode


def packed(schema: EventSchema) -> bytes:
    """Equal schemas give equal bytes."""
    return zlib.compress(_encode(schema), 6)


def unpacked(blob: bytes) -> EventSchema:
    return _decode(zlib.decompress(blob))
