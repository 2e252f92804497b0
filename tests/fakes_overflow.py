"""The overflow in memory; it runs the contract tests of the table that it stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.adapters.overflow_table_items import LANE
from penstock.adapters.overflow_table_turns import EARLY_S, OPENED_LATELY_S
from penstock.domain.dedup import Owner
from penstock.domain.destinations import IMPORTS
from penstock.domain.overflow import (
    EXPIRES_AFTER_S,
    MOST_RECENT,
    RENEWED_BEFORE_S,
    LaneKey,
    LaneState,
    Stored,
    Turn,
    appended_place,
    fitting,
    is_stored,
    name_of,
    parked_place,
    unknown,
)
from penstock.errors import StoreUnavailable

ANY_SIZE = 2**60  # characters of jobs


@dataclass
class MemoryOverflow:
    """`marks` are the keys that have an overflowing lane, by owner: the names of the queues.

    `turns` are destinations' turns: when the next is, and when a lane was last opened; `reached` which lane of each of
    its queues was looked at last. Lanes (`LANE`), jobs and marks expire, once somebody says `expire`. `whole` says up
    to which numbers all jobs are stored that were parked, and that were appended.
    """

    clock: Callable[[], float]
    states: dict[LaneKey, LaneState] = field(default_factory=dict)
    jobs: dict[LaneKey, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    marks: dict[Owner, set[str]] = field(default_factory=lambda: defaultdict(set))
    whole: dict[LaneKey, tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))
    leaves_first: bool = False
    recent: dict[LaneKey, list[str]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[LaneKey, Owner] = field(default_factory=dict)
    expires: dict[tuple[LaneKey, str], float] = field(default_factory=dict)
    marked_until: dict[Owner, float] = field(default_factory=dict)
    renewed_to: dict[LaneKey, str] = field(default_factory=dict)
    renewed_at: dict[tuple[str, str], float] = field(default_factory=dict)
    turns: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    reached: dict[tuple[str, str], dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def open(self, lane: LaneKey, owner: Owner) -> None:
        key = (lane.workspace, lane.destination.removesuffix(IMPORTS))
        turn_at, _ = self.turns.get(key, (self.clock(), 0.0))
        self.turns[key] = (turn_at, self.clock())
        self.renewed_at.setdefault(key, self.clock())
        known = self.states.get(lane, LaneState(0, 0, 0.0))
        self.states[lane] = known._replace(touched_at=self.clock())
        self.expires.setdefault((lane, LANE), self._expiry)
        self.owners[lane] = owner
        self.marks[owner].add(lane.destination)
        self.marked_until[owner] = self._expiry

    def unmark(self, lane: LaneKey, owner: Owner) -> None:
        self.marks[owner].discard(lane.destination)

    def append(self, lane: LaneKey, jobs: Sequence[Any]) -> bool:
        known = self.states.get(lane)
        if known is None:
            return False
        _, whole = self.whole[lane]
        tail = known.tail + len(jobs)
        self.states[lane] = known._replace(tail=tail, touched_at=self.clock())
        self.remove(lane, [appended_place(number) for number in range(whole + 1, known.tail + 1)])
        new = unknown(jobs, self.recent[lane])
        self._put_all(lane, [(appended_place(number), job) for number, job in enumerate(new, tail - len(new) + 1)])
        if lane not in self.states or self.states[lane].tail != tail:
            raise StoreUnavailable("somebody else is storing")
        self.whole[lane] = (self.whole[lane][0], tail)
        self.recent[lane] = [*self.recent[lane], *map(name_of, new)][-MOST_RECENT:]
        return True

    def park(self, lane: LaneKey, parking: int, jobs: Sequence[Any]) -> None:
        known = self.states.get(lane)
        if known is None:
            raise StoreUnavailable("released")
        number = known.parked + len(jobs)
        self.states[lane] = LaneState(known.tail, number, self.clock(), parking)
        left = range(self.whole[lane][0] + 1, known.parked + 1)
        self.remove(lane, [parked_place(each, place) for each in (parking, known.parking) for place in left])
        places = enumerate(jobs, known.parked + 1)
        self._put_all(lane, [(parked_place(parking, place), job) for place, job in places])
        if lane not in self.states or self.states[lane].parked != number:
            raise StoreUnavailable("somebody else is storing")
        self.whole[lane] = (number, self.whole[lane][1])

    def _put_all(self, lane: LaneKey, placed: Sequence[tuple[str, Any]]) -> None:
        """As the table does: in any order, and where `leaves_first` not all of them."""
        for place, job in placed[1:] if self.leaves_first else placed:
            self._put(lane, place, job)
        if self.leaves_first:
            raise StoreUnavailable("jobs are left unwritten")

    def _put(self, lane: LaneKey, place: str, job: Any) -> None:
        self.jobs[lane][place] = (job.id, job.body)
        self.expires[lane, place] = self._expiry

    @property
    def _expiry(self) -> float:
        return self.clock() + EXPIRES_AFTER_S

    def lanes(self, workspace: str, destination: str, most: int, after: str = "") -> list[LaneKey]:
        theirs = (lane for lane in self.states if lane[:2] == (workspace, destination))
        found = sorted(lane for lane in theirs if lane.group > after)
        return found[:most]

    def state(self, lane: LaneKey) -> LaneState | None:
        known = self.states.get(lane)
        return known and known._replace(is_whole=self.whole[lane] == (known.parked, known.tail))

    def stored(self, lane: LaneKey, most: int, largest: int) -> list[Stored]:
        if lane not in self.states:
            return []
        places = [place for place in sorted(self.jobs[lane]) if is_stored(place, *self.whole[lane])]
        return list(fitting((Stored(place, *self.jobs[lane][place]) for place in places[:most]), largest))

    def count(self, workspace: str, destination: str, most: int) -> int:
        lanes = [lane for lane in self.states if lane[:2] == (workspace, destination)]
        return min(most, sum(len(self.jobs[lane]) for lane in lanes))

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None:
        for place in places:
            self.jobs[lane].pop(place, None)
            self.expires.pop((lane, place), None)

    def release(self, lane: LaneKey, seen: LaneState) -> bool:
        known = self.states.get(lane)
        if known is None or known[:2] != seen[:2]:
            return False
        self._drop(lane)
        return True

    def _drop(self, lane: LaneKey) -> None:
        for kept in (self.states, self.whole, self.recent, self.owners, self.renewed_to):
            kept.pop(lane, None)  # type: ignore[attr-defined]
        self.expires.pop((lane, LANE), None)

    def expiring(self, workspace: str, destination: str, most: int) -> list[LaneKey]:
        soon = self.clock() + RENEWED_BEFORE_S
        lanes = self.lanes(workspace, destination, len(self.states))
        return [lane for lane in lanes if self.expires[lane, LANE] < soon][:most]

    def renew(self, lane: LaneKey, most: int) -> bool:
        if lane not in self.states:
            return True
        if lane.destination in self.marks[self.owners[lane]]:
            self.marked_until[self.owners[lane]] = self._expiry
        places = sorted(place for place in self.jobs[lane] if place > self.renewed_to.get(lane, ""))[:most]
        self.expires |= {(lane, place): self._expiry for place in places}
        if len(places) == most:
            self.renewed_to[lane] = places[-1]
            return False
        self.renewed_to.pop(lane, None)
        self.expires[lane, LANE] = self._expiry
        return True

    def renewed(self, workspace: str, destination: str) -> None:
        if (workspace, destination) in self.turns:
            self.renewed_at[workspace, destination] = self.clock()

    def expire(self) -> None:
        """What DynamoDB does with what has expired."""
        for lane, place in [each for each, at in self.expires.items() if at <= self.clock()]:
            if place == LANE:
                self._drop(lane)
            else:
                self.remove(lane, [place])
        for owner in [owner for owner, at in self.marked_until.items() if at <= self.clock()]:
            self.marks.pop(owner, None)

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Turn | None:
        turn_at, opened_at = self.turns.get((workspace, destination), (float("inf"), 0.0))
        if turn_at > self.clock() + EARLY_S:
            return None
        self.turns[workspace, destination] = (self.clock() + again_s, opened_at)
        return Turn(dict(self.reached[workspace, destination]), self.renewed_at[workspace, destination])

    def reach(self, lane: LaneKey) -> None:
        key = (lane.workspace, lane.destination.removesuffix(IMPORTS))
        if key in self.turns:
            self.reached[key][lane.destination] = lane.group

    def end_turns(self, workspace: str, destination: str) -> None:
        _, opened_at = self.turns.get((workspace, destination), (0.0, float("inf")))
        if opened_at <= self.clock() - OPENED_LATELY_S:
            del self.turns[workspace, destination]
            self.reached.pop((workspace, destination), None)
            self.renewed_at.pop((workspace, destination), None)

    def due(self, now: float) -> list[tuple[str, str]]:
        """Destinations that the tick sends a chore for."""
        return [key for key, (turn_at, _) in self.turns.items() if turn_at <= now]
