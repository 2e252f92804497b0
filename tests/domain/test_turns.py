"""The turns of a source: every collect that knows of the next one in time decides alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.turns import CACHE_LIVES, LATE_S, Announced, Turn, may_announce, next_turn, turn_of

SETTLES_S = 30.0
LIFE_S = 30.0
NOW = 1_790_000_000.0
PAUSES = st.lists(st.floats(0, 1_000), min_size=1, max_size=6)


def history(pauses: list[float]) -> list[tuple[float, Announced]]:
    """Announcements, each with the time at which it was written; the first is that of a new source."""
    told = [(0.0, Announced())]
    now = NOW
    for pause in pauses:
        last = told[-1][1]
        now = max(now, last.at + SETTLES_S) + pause
        assert may_announce(last, now, SETTLES_S)
        told.append((now, next_turn(last, now, LIFE_S)))
    return told


@given(PAUSES, st.lists(st.floats(-100, 5_000), min_size=2, max_size=8), st.randoms())
def test_turns_never_go_back_whoever_decides(pauses: list[float], moments: list[float], chance) -> None:
    """Each decides by what it has in its cache: what was written one cache life ago, or anything since."""
    told, turns = history(pauses), []
    for at in sorted(NOW + moment for moment in moments):
        fresh = max(place for place, (written, _) in enumerate(told) if written <= at)
        stale = max(place for place, (written, _) in enumerate(told) if written <= at - LIFE_S)
        known = told[chance.randint(stale, fresh)][1]
        turns.append(turn_of(known, at, SETTLES_S).number)
        assert turns[-1] == turn_of(told[fresh][1], at, SETTLES_S).number
    assert turns == sorted(turns)


@given(st.floats(0, 10 * SETTLES_S), st.integers(1, 9))
def test_early_is_who_may_have_been_overtaken_by_the_switch(age_s: float, turn: int) -> None:
    assert turn_of(Announced(turn, NOW), NOW + age_s, SETTLES_S).early is (NOW + age_s < NOW + SETTLES_S)


def test_a_new_source_takes_no_turns() -> None:
    assert turn_of(Announced(), NOW, SETTLES_S) == Turn(0, False)


def test_late_is_who_came_when_no_stream_could_hold_anything_from_before_its_turn_any_more() -> None:
    for turn in (2, 3):
        last = turn_of(Announced(turn, NOW), NOW + LATE_S - 1, SETTLES_S)
        later = turn_of(Announced(turn, NOW), NOW + LATE_S, SETTLES_S)
        assert (last, later) == (Turn(turn), Turn(turn, late=True))


def test_the_next_turn_waits_for_the_caches_and_for_the_last_one() -> None:
    first = next_turn(Announced(), NOW, LIFE_S)
    assert first == Announced(1, NOW + CACHE_LIVES * LIFE_S)
    assert not may_announce(first, first.at + SETTLES_S - 1, SETTLES_S)
    assert may_announce(first, first.at + SETTLES_S, SETTLES_S)
