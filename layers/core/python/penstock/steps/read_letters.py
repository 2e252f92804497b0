"""Read letters: list what a destination did not take, the newest first, and open one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.domain import letter_index
from penstock.domain.destinations import Destination
from penstock.domain.letter_index import LetterEntry, LetterFilter, LetterList, WholeLetter
from penstock.domain.letters import Letter
from penstock.domain.paging import Window, cursor_after
from penstock.errors import NotFound
from penstock.steps.record import Store

LOOKS = 4  # at the table for one page, of which each passes over what does not match


class Index(Protocol):
    """Raises `StoreUnavailable`."""

    def find(self, workspace: str, destination: str, place: str) -> LetterEntry | None: ...

    def newest(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, limit: int
    ) -> tuple[list[LetterEntry], str | None]:
        """At most `limit` letters, and after which to go on, None at the end."""


class Bodies(Protocol):
    def read(self, entries: Sequence[LetterEntry]) -> list[Letter | None]:
        """None for each whose body is gone. Raises `StoreUnavailable`."""


@dataclass(frozen=True)
class Ports:
    index: Index
    bodies: Bodies


def require_known(store: Store, index: Index, workspace: str, destination: str) -> None:
    """Letters outlive their destination. Raises `NotFound` for one that is not there and has none."""
    if store.find(Destination, workspace, destination) is None:
        found, _ = index.newest(workspace, destination, LetterFilter(include_replayed=True), None, 1)
        if not found:
            raise NotFound("destination_not_found", "this workspace has no such destination")


def list_of(destination_id: str) -> str:
    """What a cursor in the list of a destination's letters names."""
    return f"letters.{destination_id}"


def list_letters(workspace: str, destination: str, wanted: LetterFilter, window: Window, ports: Ports) -> LetterList:
    found: list[LetterEntry] = []
    after = window.after
    for _ in range(LOOKS):
        more, after = ports.index.newest(workspace, destination, wanted, after, window.limit - len(found))
        found += more
        if after is None or len(found) == window.limit:
            break
    cursor = None if after is None else cursor_after(after, list_of(destination), workspace)
    return LetterList([letter_index.view(entry) for entry in found], cursor)


def read_letter(workspace: str, destination: str, letter_id: str, ports: Ports) -> WholeLetter:
    """Raises `NotFound`, also for an id that is another destination's."""
    entry = ports.index.find(workspace, destination, letter_index.place_of_id(letter_id))
    letter = None if entry is None else ports.bodies.read([entry])[0]
    if entry is None or letter is None:
        raise NotFound("letter_not_found", "this destination has no such letter")
    return letter_index.whole(entry, letter)
