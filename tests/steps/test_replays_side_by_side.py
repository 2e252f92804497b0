"""Two replays of one destination at a time: each letter goes by one of them, whatever happens to the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.domain.letter_index import LetterFilter
from penstock.domain.replays import Replay, moved
from penstock.steps import replay_letters as step
from penstock.steps.replay_letters import Outcome, replay_letters
from tests.builders_letters import LATER, REPLAY, letter, replay
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.fakes_control import Crash, Faults
from tests.replay_hub import Hub, in_order

SECOND = "rpl_bbbbbbbbbbbb"
BOTH = (REPLAY, SECOND)
FOUND = [letter(number, key="ada" if number % 3 else "bob") for number in range(1, 7)]
EFFECTS = range(1, 27)


class TwoReplays(Hub):
    def __init__(self, **fields: Any) -> None:
        super().__init__(FOUND, replay(**fields), page=4)
        self.other = replay(id=SECOND, **fields)
        self.replays._put(self.other, None)

    def run_other(self) -> Outcome:
        return replay_letters(self.other.ticket, self.ports(), lambda: True)

    @property
    def other_state(self) -> Replay:
        found = self.replays.find(WORKSPACE, DESTINATION, SECOND)
        assert found is not None
        return found

    def events_sent(self) -> list[str]:
        return sorted(place for places in self.sent(replays=BOTH).values() for place in places)


class Meanwhile(Faults):
    """Does something just before the n-th call that changes anything, which then goes on."""

    def __init__(self, at: int, action: Callable[[], object]) -> None:
        super().__init__(at, Crash, False)
        self._action = action

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.struck = True
                self._action()
            return call(*given)

        return called


@pytest.mark.parametrize("at", EFFECTS)
def test_a_replay_that_comes_between_any_two_effects_of_another_sends_no_letter_twice(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "SENT_AT_ONCE", 2)
    hub = TwoReplays()
    hub.run(hub.ports(Meanwhile(at, hub.run_other)))
    hub.run_other()
    assert hub.events_sent() == sorted(each.place for each in FOUND)
    assert (hub.state.state, hub.other_state.state) == ("done", "done")
    assert hub.state.sent + hub.other_state.sent == len(FOUND) == hub.created()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", EFFECTS)
def test_what_a_replay_that_was_cancelled_had_in_hand_goes_by_the_next(
    at: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "SENT_AT_ONCE", 2)
    hub = TwoReplays()
    faults = Faults(at, Crash, after)
    try:
        hub.run(hub.ports(faults))
    except Crash:
        hub.replays.change(hub.state, moved(hub.state, LATER, "tok", state="cancelled"))
    assert hub.run_other() is Outcome.ENDED
    assert set(hub.events_sent()) == {each.place for each in FOUND}
    assert hub.other_state.skipped == 0
    assert all(row.replay in BOTH for row in hub.index.rows[WORKSPACE, DESTINATION].values())


def test_a_letter_that_another_replay_has_in_hand_is_left_to_it_and_counted() -> None:
    hub = TwoReplays(filter=LetterFilter(include_replayed=True))
    taken = list(hub.index.rows[WORKSPACE, DESTINATION].values())[:2]
    assert hub.index.claim(WORKSPACE, DESTINATION, taken, SECOND) == {entry.place for entry in taken}
    hub.run()
    assert (hub.state.total, hub.state.sent, hub.state.skipped) == (6, 4, 2)
    assert not {entry.place for entry in taken} & set(hub.events_sent())
    hub.run_other()
    assert {entry.place for entry in taken} <= set(hub.events_sent())


def test_letters_stay_in_their_order_where_a_replay_takes_over_another_ones() -> None:
    hub = TwoReplays()
    entries = list(hub.index.rows[WORKSPACE, DESTINATION].values())
    hub.index.claim(WORKSPACE, DESTINATION, entries[1:4], REPLAY)
    hub.replays.change(hub.state, moved(hub.state, LATER, "tok", state="cancelled"))
    hub.run_other()
    assert hub.sent(replays=BOTH) == in_order(FOUND)
