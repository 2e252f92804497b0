"""A burial: what becomes of a destination between its deletion and the end of its queue."""

from __future__ import annotations

from typing import NamedTuple

REASON = "destination_deleted"
QUIET_S = 60.0  # SQS may know for so long of a queue that is empty that it is not, and the other way round
LOOK_AGAIN_S = 20.0


class Burial(NamedTuple):
    """When it began, and when something last waited for the destination, in epoch seconds.

    `is_unmapped` says that its mappings are gone.
    """

    begun_at: float
    busy_at: float = 0.0
    is_unmapped: bool = False


def is_over(burial: Burial, outlives_s: float, now: float) -> bool:
    """Whether nobody sends there any more and all that came back was buried.

    Who knew the destination before it was deleted may send to its queue for up to `outlives_s`.
    """
    is_unknown = now - burial.begun_at >= outlives_s
    return is_unknown and now - burial.busy_at >= min(QUIET_S, outlives_s)


def look_again_s(outlives_s: float) -> float:
    return min(LOOK_AGAIN_S, outlives_s)
