"""The overflow in memory; it runs the contract tests of the table that it stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.adapters.overflow_table import EARLY_S, OPENED_LATELY_S
from penstock.domain.dedup import Owner
from penstock.domain.destinations import IMPORTS
from penstock.domain.overflow import (
    MOST_RECENT,
    LaneKey,
    LaneState,
    Stored,
    Turn,
    appended_place,
    name_of,
    parked_place,
    unknown,
)
from penstock.errors import StoreUnavailable


@dataclass
class MemoryOverflow:
    """`marks` are the keys that have an overflowing lane, by owner: the names of the queues.

    `turns` are destinations' turns: when the next is, and when a lane was last opened; `reached` which lane of each of
    its queues was looked at last.
    """

    clock: Callable[[], float]
    states: dict[LaneKey, LaneState] = field(default_factory=dict)
    jobs: dict[LaneKey, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    marks: dict[Owner, set[str]] = field(default_factory=lambda: defaultdict(set))
    recent: dict[LaneKey, list[str]] = field(default_factory=lambda: defaultdict(list))
    turns: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    reached: dict[tuple[str, str], dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def open(self, lane: LaneKey, owner: Owner) -> None:
        key = (lane.workspace, lane.destination.removesuffix(IMPORTS))
        turn_at, _ = self.turns.get(key, (self.clock(), 0.0))
        self.turns[key] = (turn_at, self.clock())
        known = self.states.get(lane, LaneState(0, 0, 0.0))
        self.states[lane] = known._replace(touched_at=self.clock())
        self.marks[owner].add(lane.destination)

    def unmark(self, lane: LaneKey, owner: Owner) -> None:
        self.marks[owner].discard(lane.destination)

    def append(self, lane: LaneKey, jobs: Sequence[Any]) -> bool:
        known = self.states.get(lane)
        if known is None:
            return False
        new = unknown(jobs, self.recent[lane])
        self.states[lane] = known._replace(tail=known.tail + len(jobs), touched_at=self.clock())
        for number, job in enumerate(new, known.tail + len(jobs) - len(new) + 1):
            self.jobs[lane][appended_place(number)] = (job.id, job.body)
        self.recent[lane] = [*self.recent[lane], *map(name_of, new)][-MOST_RECENT:]
        return True

    def park(self, lane: LaneKey, parking: int, jobs: Sequence[Any]) -> None:
        known = self.states.get(lane)
        if known is None:
            raise StoreUnavailable("released")
        self.states[lane] = LaneState(known.tail, known.parked + len(jobs), self.clock(), parking)
        for number, job in enumerate(jobs, known.parked + 1):
            self.jobs[lane][parked_place(parking, number)] = (job.id, job.body)

    def lanes(self, workspace: str, destination: str, most: int, after: str = "") -> list[LaneKey]:
        theirs = (lane for lane in self.states if lane[:2] == (workspace, destination))
        found = sorted(lane for lane in theirs if lane.group > after)
        return found[:most]

    def state(self, lane: LaneKey) -> LaneState | None:
        return self.states.get(lane)

    def stored(self, lane: LaneKey, most: int) -> list[Stored]:
        return [Stored(place, *self.jobs[lane][place]) for place in sorted(self.jobs[lane])[:most]]

    def count(self, workspace: str, destination: str, most: int) -> int:
        lanes = [lane for lane in self.states if lane[:2] == (workspace, destination)]
        return min(most, sum(len(self.jobs[lane]) for lane in lanes))

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None:
        for place in places:
            self.jobs[lane].pop(place, None)

    def release(self, lane: LaneKey, seen: LaneState) -> bool:
        known = self.states.get(lane)
        if known is None or known[:2] != seen[:2]:
            return False
        del self.states[lane]
        self.recent.pop(lane, None)
        return True

    def forget(self, lane: LaneKey, most: int) -> bool:
        places = list(self.jobs[lane])[:most]
        self.remove(lane, places)
        if len(places) < most:
            self.states.pop(lane, None)
            self.recent.pop(lane, None)
        return len(places) < most

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Turn | None:
        turn_at, opened_at = self.turns.get((workspace, destination), (float("inf"), 0.0))
        if turn_at > self.clock() + EARLY_S:
            return None
        self.turns[workspace, destination] = (self.clock() + again_s, opened_at)
        return Turn(dict(self.reached[workspace, destination]))

    def reach(self, lane: LaneKey) -> None:
        key = (lane.workspace, lane.destination.removesuffix(IMPORTS))
        if key in self.turns:
            self.reached[key][lane.destination] = lane.group

    def end_turns(self, workspace: str, destination: str) -> None:
        _, opened_at = self.turns.get((workspace, destination), (0.0, float("inf")))
        if opened_at <= self.clock() - OPENED_LATELY_S:
            del self.turns[workspace, destination]
            self.reached.pop((workspace, destination), None)

    def due(self, now: float) -> list[tuple[str, str]]:
        """Destinations that the tick sends a chore for."""
        return [key for key, (turn_at, _) in self.turns.items() if turn_at <= now]
