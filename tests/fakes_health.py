"""Stand-ins for what health, trace and alerts ask for; each runs the contract tests of what it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from penstock.domain.alerts import AlertState, Key, Turn
from penstock.domain.minutes import Minute, Total
from penstock.domain.named import Packed, latest
from penstock.domain.rounds import Round
from penstock.errors import StoreChanged


class MemoryMinutes:
    """The counted minutes of destinations; `most` go into one transaction."""

    def __init__(self, most: int = 5) -> None:
        self.totals: dict[tuple[str, str], Total] = {}
        self.kept: dict[tuple[str, str], dict[str, Minute]] = {}
        self.most = most
        self.meanwhile: Callable[[], None] = lambda: None

    def total(self, workspace: str, destination: str) -> Total:
        return self.totals.get((workspace, destination), Total())

    def minutes(
        self, workspace: str, destination: str, begin: str, end: str, newest_first: bool = False
    ) -> Iterator[Minute]:
        found = self.kept.get((workspace, destination), {})
        for at in sorted(found, reverse=newest_first):
            if begin <= at < end:
                yield Minute(at, found[at].figures)

    def digests(self, workspace: str, destination: str, begin: str, end: str, most: int) -> dict[str, Packed]:
        found = self.kept.get((workspace, destination), {})
        named = {at: minute.digests for at, minute in found.items() if begin <= at < end and minute.digests}
        return latest(named, most)

    def fits(self, minutes: Sequence[Minute]) -> bool:
        return len(minutes) <= self.most

    def roll(self, workspace: str, destination: str, before: Total, after: Total, minutes: Sequence[Minute]) -> None:
        self.meanwhile()
        key = (workspace, destination)
        if self.total(*key).upto != before.upto:
            raise StoreChanged("another was faster")
        self.totals[key] = after
        self.kept.setdefault(key, {}).update({minute.at: minute for minute in minutes})


class MemoryRounds:
    """How far the round has come."""

    def __init__(self) -> None:
        self.reached = Round()

    def read(self) -> Round:
        return self.reached

    def save(self, before: Round, after: Round) -> None:
        if before != self.reached:
            raise StoreChanged("another was faster")
        self.reached = after


class MemoryAlerts:
    """The rules that are watched: how each stands, and when its turn comes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.rules: dict[Key, tuple[AlertState, float]] = {}

    def watch(self, key: Key) -> None:
        self.rules[key] = (AlertState(), self._clock() + 60.0)

    def read(self, key: Key) -> AlertState:
        return self.rules[key][0] if key in self.rules else AlertState()

    def due(self, now: float, most: int) -> list[Turn]:
        found = sorted((at, key, state) for key, (state, at) in self.rules.items() if at <= now)
        return [Turn(key, state, repr(at)) for at, key, state in found[:most]]

    def due_of(self, workspace: str, destination: str, now: float) -> list[Turn]:
        return [turn for turn in self.due(now, len(self.rules)) if turn.key[:2] == (workspace, destination)]

    def take(self, turn: Turn, next_at: float) -> Turn:
        self._require(turn)
        state, _ = self.rules[turn.key]
        self.rules[turn.key] = (state, next_at)
        return Turn(turn.key, state, repr(next_at))

    def save(self, turn: Turn, state: AlertState) -> None:
        self._require(turn)
        self.rules[turn.key] = (state, self.rules[turn.key][1])

    def forget(self, key: Key) -> None:
        self.rules.pop(key, None)

    def _require(self, turn: Turn) -> None:
        if turn.key not in self.rules or repr(self.rules[turn.key][1]) != turn.at:
            raise StoreChanged("another was faster")
