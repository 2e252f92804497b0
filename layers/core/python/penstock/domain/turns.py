"""Turns: a source is in the live stream in its even turns, in the bulk stream in its odd ones, by announced instants.

The next turn is announced long enough ahead that every `collect` knows of it before it begins, so all of them decide
alike, by the time at which a request was received. A source that was never moved is in turn 0 for good.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CACHE_LIVES: Final = 3  # of `collect`'s cache, from the announcement of a turn to its beginning
LATE_S: Final = 15 * 86_400.0  # streams keep what nobody has read for seven days; a plan may put it in a second time


class Announced(NamedTuple):
    """From `at` (epoch seconds) on the source is in turn `turn`; until then in the one before it."""

    turn: int = 0
    at: float = 0.0


class Turn(NamedTuple):
    """`early`: what was received just before this turn began may still be on its way into the other stream.

    `late`: nothing of the turns before can be there any more.
    """

    number: int = 0
    early: bool = False
    late: bool = False

    @property
    def is_bulk(self) -> bool:
        return is_bulk(self.number)


FIRST: Final = Turn()


def is_bulk(turn: int) -> bool:
    return turn % 2 == 1


def turn_of(announced: Announced, received_at: float, settles_s: float) -> Turn:
    """The turn of a request; `settles_s` is for how long at most a request may take from its arrival to its answer."""
    age_s = received_at - announced.at
    if announced.turn == 0:
        return FIRST
    if age_s < 0:
        return Turn(announced.turn - 1)
    return Turn(announced.turn, age_s < settles_s, age_s >= LATE_S)


def may_announce(announced: Announced, now: float, settles_s: float) -> bool:
    """Whether the last turn has begun and settled, so that never more than one is still to come."""
    return announced.turn == 0 or now >= announced.at + settles_s


def next_turn(announced: Announced, now: float, cache_life_s: float) -> Announced:
    """The next turn, to begin when the last cache has forgotten what it knows now."""
    return Announced(announced.turn + 1, now + CACHE_LIVES * cache_life_s)
