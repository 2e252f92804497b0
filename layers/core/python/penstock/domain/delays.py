"""How long events took, as counts in buckets that grow by a fifth each: small to keep, and summed without loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

GROWTH = 1.2
LAST = 115  # 1.2 ** 115 ms are about 15 days


def bucket(ms: float) -> int:
    """The bucket of so many milliseconds: bucket n holds what is at most `GROWTH ** n`, to within a fifth."""
    return 0 if ms <= 1.0 else min(math.ceil(math.log(ms, GROWTH) - 1e-9), LAST)


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """Milliseconds within which this share (0 to 1) was done, by the upper end of its bucket; None for nothing."""
    total = sum(counts.values())
    reached = 0
    for place in sorted(counts):
        reached += counts[place]
        if reached >= share * total and reached:
            return float(round(GROWTH**place))
    return None
