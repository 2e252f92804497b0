"""How often each path was seen: one count for each (event, shard, day), kept by the one consumer of that shard.

A count says up to which sequence number of its shard it goes (`upto`), so a batch that comes again is known by it,
whole or in part. The count of today is apart from that of all days before: the latter is written once a day.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from penstock.domain import schema_tree
from penstock.domain.schema_tree import OBJECT, Node
from penstock.domain.violations import Violation

PART_BYTES = 300_000  # of the 400 KB that an item may have
BEGINNING = "0"  # before every sequence number

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Node).decode


class Count(Struct):
    """What one shard brought of one event on one day; `day` is YYYY-MM-DD by the stream's own clock.

    `events_before` were counted on the days before, since `began`; `violations` of the source's tracking plan are of
    all days, by rule.
    """

    day: str
    upto: str
    tree: Node
    events_before: int = 0
    began: str = ""
    violations: dict[str, Violation] = {}

    def has(self, sequence_number: str) -> bool:
        return int(sequence_number) <= int(self.upto)

    def next_day(self, day: str) -> Count:
        if not self.tree.kinds:
            return structs.replace(self, day=day)
        return Count(day, self.upto, Node(), self.events, self.first_seen, self.violations)

    @property
    def events(self) -> int:
        """Of all days."""
        return self.events_before + (self.tree.kinds[OBJECT].count if self.tree.kinds else 0)

    @property
    def first_seen(self) -> str:
        first = self.tree.kinds[OBJECT].first
        return min(first, self.began) if self.began else first


def packed(tree: Node) -> bytes:
    """Equal trees give equal bytes. The messageIds of firsts are left out: counts need none."""
    _forget_ids(tree)
    return zlib.compress(_encode(tree), 6)


def unpacked(blob: bytes) -> Node:
    return _decode(zlib.decompress(blob))


def parts(blob: bytes) -> list[bytes]:
    """The blob in pieces that each fit an item, at least one."""
    return [blob[place : place + PART_BYTES] for place in range(0, len(blob), PART_BYTES)] or [b""]


def total(counts: Sequence[Node]) -> Node:
    """All of them added up. The trees must not be used afterwards."""
    found = Node()
    for each in counts:
        schema_tree.merge(found, each)
    return found


def _forget_ids(node: Node) -> None:
    for tally in node.kinds.values():
        tally.first_id = ""
    for child in schema_tree.children(node):
        _forget_ids(child)
