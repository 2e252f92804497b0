"""What `collect` has to know of a write key."""

from __future__ import annotations

from typing import NamedTuple

from penstock.domain.turns import Announced


class KnownKey(NamedTuple):
    """`enabled` only if both the key and its source are."""

    workspace: str
    source: str
    enabled: bool
    announced: Announced = Announced()
