"""A key's home: which of the two streams' fan-outs sends an ordering key's runs, and what it has to send before others.

The key's item has a turn: even ones are at home in the live stream, odd ones in the bulk stream. Runs of a key are in
order of (turn, sequence number). Why one fan-out alone ever sends: `docs/decisions/0017-a-key-has-one-home.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from msgspec import structs

from penstock.domain.job import group_of
from penstock.domain.run import Run
from penstock.domain.turns import is_bulk

MOST_BEHIND = 3_000  # runs of one key that live fan-out carries: whoever has one of them reads the names of all


class HomeKey(NamedTuple):
    """An ordering key, as its group; `via` is the source that forwards to it, whose turns count then, else empty."""

    workspace: str
    source: str
    group: str
    via: str


class Name(NamedTuple):
    """What tells a key's runs apart, and puts them in order."""

    turn: int
    number: int

    def __str__(self) -> str:
        return f"{self.turn}.{self.number}"


class Home(NamedTuple):
    """`behind` are runs that were carried on to the end of the bulk stream and are not known to be sent."""

    turn: int = 0
    behind: frozenset[Name] = frozenset()


class Act(Enum):
    """What a fan-out does with a run: SEND it; CARRY it on to the end of the bulk stream; DROP what was sent already;
    HOLD it and all behind it until the live stream has come to a fence; or let the key MOVE, which a fence asks for."""

    SEND = "send"
    CARRY = "carry"
    DROP = "drop"
    HOLD = "hold"
    MOVE = "move"


@dataclass
class Line:
    """One key's runs as a batch of one stream brings them, one after the other."""

    home: Home
    behind: set[Name] = field(init=False)
    is_carrying: bool = False
    sent: set[Name] = field(default_factory=set)
    homecoming: int = 0

    def __post_init__(self) -> None:
        self.behind = set(self.home.behind)

    def live(self, run: Run, name: Name) -> Act:
        """Once a run is carried all behind it are, too; what needs no turn has nothing before it in the bulk stream."""
        if run.fence:
            return Act.MOVE
        if not self.is_carrying:
            if run.turn == 0 or self._is_at_home(run) or self._is_alone(run):
                return Act.SEND
            self.is_carrying = True
        if len(self.behind) >= MOST_BEHIND and name not in self.behind:
            return Act.HOLD
        self.behind.add(name)
        return Act.CARRY

    def _is_at_home(self, run: Run) -> bool:
        return not is_bulk(self.home.turn) and run.turn <= self.home.turn

    def _is_alone(self, run: Run) -> bool:
        """Of the turns before it the bulk stream has forgotten everything, and of its own there is nothing in it."""
        return run.late and run.turn > self.home.turn and not self.behind

    def bulk(self, run: Run, name: Name) -> Act:
        """What was carried and is not behind any more was sent. What others go before goes behind them."""
        if run.origin and name not in self.behind:
            return Act.DROP
        if not run.origin and is_bulk(run.turn) and self.home.turn < run.turn:
            return Act.HOLD
        if any(each < name for each in self.behind):
            self.behind.add(name)
            return Act.CARRY
        if name in self.behind:
            self.behind.remove(name)
            self.sent.add(name)
            if not is_bulk(run.turn) and not run.early and run.turn > self.home.turn:
                self.homecoming = max(self.homecoming, run.turn)
        return Act.SEND


def ignores_homes(run: Run) -> bool:
    """Imports are an order of their own."""
    return run.bulk


def key_of(run: Run) -> HomeKey:
    return HomeKey(run.workspace, run.source, group_of(run.source, run.key), run.via)


def name_of(run: Run, record_id: str) -> Name:
    """By the record that it was first."""
    return Name(run.turn, int((run.origin or record_id).rpartition("-")[2]))


def name_from(text: str) -> Name:
    turn, number = text.split(".")
    return Name(int(turn), int(number))


def carried(run: Run, record_id: str) -> Run:
    """The run as it goes on to the end of the bulk stream."""
    return run if run.origin else structs.replace(run, origin=record_id)


def fence_for(run: Run) -> Run:
    """What asks the live stream whether all before this run of the bulk stream is sent."""
    return Run(run.v, run.workspace, run.source, run.key, run.received_at, [], via=run.via, turn=run.turn, fence=True)


def texts(names: Iterable[Name]) -> list[str]:
    return [str(name) for name in sorted(names)]
