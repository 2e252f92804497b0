"""Count books: go round all destinations, and count what nobody has asked for before its receipts expire.

Only what is too old to be asked for by minutes: the rest is left to whoever asks, so that nothing is counted twice and
no rows are kept that nobody reads. A destination's turn is taken before it is looked at: one that kills its function
keeps up nobody behind it, and has its turn again in the next round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from penstock.domain import health
from penstock.domain.config import Item
from penstock.domain.destinations import Destination
from penstock.domain.paging import Window
from penstock.domain.rounds import Round
from penstock.domain.workspaces import REGISTER, Registration
from penstock.errors import StoreChanged, StoreUnavailable
from penstock.steps.read_health import Books, roll_forward

I = TypeVar("I", bound=Item)  # noqa: E741

MOST_S = 25.0
PAGE = 100


class Rounds(Protocol):
    """Where the round stands. Raises `StoreUnavailable`."""

    def read(self) -> Round: ...

    def save(self, before: Round, after: Round) -> None:
        """Raises `StoreChanged` where it is not as it was `before`."""


class Store(Protocol):
    """Configuration. Raises `StoreUnavailable`."""

    def page(self, kind: type[I], workspace_id: str, window: Window) -> Sequence[I]: ...


@dataclass(frozen=True)
class Ports:
    rounds: Rounds
    store: Store
    books: Books


class Counted(NamedTuple):
    """How many destinations had their turn, and how many of them could not be counted."""

    destinations: int
    failed: int


def tick(ports: Ports) -> Counted:
    """Go on with the round, if it is time, for as long as there is time. Raises `StoreUnavailable`."""
    now = ports.books.clock()
    known = ports.rounds.read()
    if not known.is_due(now):
        return Counted(0, 0)
    turns = _Turns(ports, known, known.going_on(now), health.first_minute(now, health.MOST_MINUTES))
    with suppress(StoreChanged):  # another tick is at it
        turns.go_on(now + MOST_S)
    return Counted(turns.done, turns.failed)


@dataclass
class _Turns:
    """One tick's part of the round; `known` is what is stored of it."""

    ports: Ports
    known: Round
    reached: Round
    before: str
    done: int = 0
    failed: int = 0

    def go_on(self, until: float) -> None:
        for workspace, destination in _places(self.reached, self.ports.store):
            if self.ports.books.clock() > until:
                self._save(self.reached)
                return
            self._save(self.reached.at(workspace, destination))
            if destination:
                self._count(workspace, destination)
        self._save(replace(self.reached, is_over=True))

    def _count(self, workspace: str, destination: str) -> None:
        self.done += 1
        try:
            is_whole = roll_forward(workspace, destination, self.ports.books, self.before).is_whole
        except StoreUnavailable:
            self.failed += 1
            is_whole = False
        self.reached = self.reached if is_whole else replace(self.reached, is_behind=True)

    def _save(self, reached: Round) -> None:
        if reached != self.known:
            self.ports.rounds.save(self.known, reached)
        self.known = self.reached = reached


def _places(reached: Round, store: Store) -> Iterator[tuple[str, str]]:
    """All destinations behind what is reached, and before those of a workspace the workspace alone."""
    if reached.workspace:
        yield from _destinations(reached.workspace, reached.destination, store)
    for each in _all(Registration, REGISTER, reached.workspace, store):
        yield each.id, ""
        yield from _destinations(each.id, "", store)


def _destinations(workspace: str, after: str, store: Store) -> Iterator[tuple[str, str]]:
    return ((workspace, each.id) for each in _all(Destination, workspace, after, store))


def _all(kind: type[I], workspace: str, after: str, store: Store) -> Iterator[I]:
    while True:
        page = store.page(kind, workspace, Window(PAGE, after or None))[:PAGE]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id
