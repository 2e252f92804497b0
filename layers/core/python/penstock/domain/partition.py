"""Which part of the stream a run goes to: each source has a few slices of the hash-key space to itself.

Kinesis gives each shard a range of 128-bit hash keys. A source that floods heats only the shards under its own four of
64 slices, and two sources share all four with a probability of one in 635,376. A key always falls into the same slice
and place, so its order is kept.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

SLICES = 64
SLICES_PER_SOURCE = 4
SLICE_SIZE = 2**128 // SLICES


@lru_cache(maxsize=10_000)
def slices_of(source: str) -> tuple[int, ...]:
    """The source's own slices, all different, the same for ever."""
    digest = hashlib.blake2b(source.encode(), digest_size=32, person=b"penstock-slices").digest()
    left = list(range(SLICES))
    return tuple(left.pop(digest[turn] % len(left)) for turn in range(SLICES_PER_SOURCE))


def hash_key(source: str, partition_key: str) -> int:
    """The explicit hash key of a run whose partition key is `group_of(source, key)` (32 hex digits)."""
    place = int(partition_key, 16)
    return _beginnings(source)[place % SLICES_PER_SOURCE] + place % SLICE_SIZE


@lru_cache(maxsize=10_000)
def _beginnings(source: str) -> tuple[int, ...]:
    """The first hash key of each of the source's slices."""
    return tuple(number * SLICE_SIZE for number in slices_of(source))
