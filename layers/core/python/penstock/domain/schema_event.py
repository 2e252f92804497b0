"""Whose schema an event adds to, and the parts of it that have one."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from penstock.domain.column_names import table_name

NOTHING = Raw()
SECTIONS = ("properties", "traits", "context")
CALLS = ("track", "identify", "page", "screen", "group", "alias")


class EventKey(NamedTuple):
    """One event of one source; only track calls have an `event` name, all others are None."""

    workspace: str
    source: str
    call: str
    event: str | None

    @property
    def of_source(self) -> str:
        """Partition key of what belongs to the source as a whole."""
        return f"{self.workspace}#{self.source}"

    @property
    def owner(self) -> str:
        """Partition key of what belongs to this event."""
        return f"{self.of_source}#{self.digest}"

    @property
    def digest(self) -> str:
        name = f"{self.call}\0{self.event or ''}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(name, digest_size=16).hexdigest()

    @property
    def listed(self) -> str:
        """By call, then by name as a table would have it; the digest keeps apart what begins alike."""
        return f"{self.call}#{table_name(self.call, self.event)[:40]}#{self.digest}"


class Head(Struct):
    """What of an event says whose schema it adds to. Sections hold the client's bytes, or none."""

    type: str
    messageId: str  # noqa: N815 - as it is on the wire
    event: str | None = None
    properties: Raw = NOTHING
    traits: Raw = NOTHING
    context: Raw = NOTHING


_decode = msgspec.json.Decoder(Head).decode


def head_of(event: Raw) -> Head:
    """Raises what `msgspec` raises for what collect never lets through."""
    return _decode(event)


def key_of(workspace: str, source: str, head: Head) -> EventKey:
    return EventKey(workspace, source, head.type, head.event if head.type == "track" else None)


def place_name(path: str) -> str:
    """Sort key of a path's facts: of one length, however long the path."""
    return "place#" + hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
