"""Keep letters: what a destination did not take, whole, for as long as its workspace has chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from penstock.domain import letter_index
from penstock.domain.letter_index import LetterEntry
from penstock.domain.letters import Letter, encode_letter

DAY_S = 86_400
MOST_BYTES = 8 * 1024 * 1024  # of an object


class Bodies(Protocol):
    """Raises `StoreUnavailable`."""

    def put(self, held: str, texts: Sequence[bytes]) -> None: ...


class Index(Protocol):
    """Raises `StoreUnavailable`."""

    def put(self, workspace: str, destination: str, entries: Sequence[LetterEntry]) -> None: ...


class Retention(Protocol):
    """For how many days a workspace keeps letters. Raises `StoreUnavailable`."""

    def get(self, workspace: str) -> int: ...


class KeepLetters:
    """`clock` gives epoch seconds, `new_id` a text that nobody else has."""

    def __init__(
        self,
        bodies: Bodies,
        index: Index,
        retention: Retention,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._bodies = bodies
        self._index = index
        self._retention = retention
        self._clock = clock
        self._new_id = new_id

    def keep(self, workspace: str, destination: str, letters: Sequence[Letter]) -> None:
        """Durable when it returns, bodies before what finds them. Keeping a letter again leaves one of it.

        Raises `StoreUnavailable`.
        """
        if not letters:
            return
        days = self._retention.get(workspace)
        expires_at = int(self._clock()) + days * DAY_S
        found: dict[str, LetterEntry] = {}
        for part in _parts(letters):
            held = f"r{days}/{workspace}/{destination}/{part[0][0].at[:10]}/{self._new_id()}.json-seq.gz"
            self._bodies.put(held, [text for _, text in part])
            entries = (letter_index.entry(letter, held, slot, expires_at) for slot, (letter, _) in enumerate(part))
            found |= {entry.place: entry for entry in entries}
        self._index.put(workspace, destination, list(found.values()))


def _parts(letters: Sequence[Letter]) -> Iterator[list[tuple[Letter, bytes]]]:
    """Letters with their texts, as many together as go into an object."""
    part: list[tuple[Letter, bytes]] = []
    size = 0
    for letter in letters:
        text = encode_letter(letter)
        if part and size + len(text) > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append((letter, text))
        size += len(text)
    yield part
