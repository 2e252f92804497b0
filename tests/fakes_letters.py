"""Stand-ins for where letters and replays are kept; each runs the contract tests of what it stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from penstock.domain import letter_index
from penstock.domain.audit import Entry
from penstock.domain.letter_index import LetterEntry, LetterFilter
from penstock.domain.letters import Letter, decode_letter, in_first_turn
from penstock.domain.replays import Replay, Ticket
from penstock.errors import StoreChanged

Key = tuple[str, str]


@dataclass
class MemoryBodies:
    """Objects by their keys; opens letters too."""

    objects: dict[str, list[bytes]] = field(default_factory=dict)

    def put(self, held: str, texts: Sequence[bytes]) -> None:
        self.objects[held] = list(texts)

    def read(self, entries: Sequence[LetterEntry]) -> list[Letter | None]:
        return [self._letter(entry) for entry in entries]

    def _letter(self, entry: LetterEntry) -> Letter | None:
        texts = self.objects.get(entry.object)
        return None if texts is None else decode_letter(texts[entry.slot])


class MemoryLetters:
    """The index of letters by owner and place; a page looks at `page` rows."""

    def __init__(self, clock: Callable[[], float], page: int = 500) -> None:
        self._clock = clock
        self.page = page
        self.rows: dict[Key, dict[str, LetterEntry]] = {}

    def put(self, workspace: str, destination: str, entries: Sequence[LetterEntry]) -> None:
        rows = self.rows.setdefault((workspace, destination), {})
        rows |= {entry.place: entry for entry in entries if not self._is_there(rows.get(entry.place))}

    def _is_there(self, known: LetterEntry | None) -> bool:
        return known is not None and known.expires_at > self._clock()

    def find(self, workspace: str, destination: str, place: str) -> LetterEntry | None:
        live = self._live(workspace, destination)
        moved = {in_first_turn(entry.place): entry for entry in live}
        return (moved | {entry.place: entry for entry in live}).get(place)

    def in_order(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, replay: str
    ) -> tuple[list[LetterEntry], str | None]:
        every = sorted(self._live(workspace, destination), key=lambda entry: entry.place)
        behind = [entry for entry in every if after is None or entry.place > after]
        looked_at = behind[: self.page]
        found = [entry for entry in looked_at if letter_index.matches(entry, wanted, replay)]
        return found, looked_at[-1].place if len(behind) > len(looked_at) else None

    def count(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, replay: str
    ) -> tuple[int, str | None]:
        found, reached = self.in_order(workspace, destination, wanted, after, replay)
        return len(found), reached

    def newest(
        self, workspace: str, destination: str, wanted: LetterFilter, after: str | None, limit: int
    ) -> tuple[list[LetterEntry], str | None]:
        every = sorted(self._live(workspace, destination), key=lambda entry: entry.listed, reverse=True)
        behind = [entry for entry in every if after is None or entry.listed < after]
        looked_at = behind[: self.page]
        found = [entry for entry in looked_at if letter_index.matches(entry, wanted)]
        if len(found) > limit:
            return found[:limit], found[limit - 1].listed
        return found, looked_at[-1].listed if len(behind) > len(looked_at) else None

    def claim(self, workspace: str, destination: str, entries: Sequence[LetterEntry], replay: str) -> set[str]:
        rows = self.rows.get((workspace, destination), {})
        taken = set()
        for entry in entries:
            known = rows.get(entry.place)
            if known and known.claimed in (entry.claimed, replay) and known.replay == entry.replay:
                rows[entry.place] = msgspec.structs.replace(known, claimed=replay)
                taken.add(entry.place)
        return taken

    def mark(self, workspace: str, destination: str, places: Sequence[str], replay: str, at: str) -> None:
        rows = self.rows.get((workspace, destination), {})
        for place in places:
            if place in rows:
                rows[place] = msgspec.structs.replace(rows[place], replayed_at=at, replay=replay)

    def _live(self, workspace: str, destination: str) -> list[LetterEntry]:
        rows = self.rows.get((workspace, destination), {})
        return [entry for entry in rows.values() if entry.expires_at > self._clock()]


class MemoryReplays:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], Replay] = {}
        self.log: list[Entry] = []
        self.live: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def enter(self, workspace: str, destination: str, replay_id: str, most: int) -> bool:
        if len(self.live[workspace]) >= most:
            return False
        self.live[workspace].add((destination, replay_id))
        return True

    def entered(self, workspace: str) -> list[tuple[str, str]]:
        return sorted(self.live[workspace])

    def leave(self, workspace: str, destination: str, replay_id: str) -> None:
        self.live[workspace].discard((destination, replay_id))

    def find(self, workspace: str, destination: str, replay_id: str) -> Replay | None:
        return self.rows.get((workspace, destination, replay_id))

    def newest(self, workspace: str, destination: str, after: str | None, limit: int) -> list[Replay]:
        mine = [row for key, row in self.rows.items() if key[:2] == (workspace, destination)]
        behind = [row for row in mine if after is None or row.id < after]
        return sorted(behind, key=lambda row: row.id, reverse=True)[: limit + 1]

    def create(self, replay: Replay, entry: Entry) -> None:
        if self.find(replay.workspace, replay.destination, replay.id):
            raise StoreChanged("there already")
        self._put(replay, entry)

    def change(self, before: Replay, after: Replay, entry: Entry | None = None) -> None:
        known = self.find(before.workspace, before.destination, before.id)
        if known is None or known.version != before.version:
            raise StoreChanged("changed meanwhile")
        self._put(after, entry)

    def _put(self, replay: Replay, entry: Entry | None) -> None:
        self.log += [entry] if entry else []
        self.rows[replay.workspace, replay.destination, replay.id] = replay


@dataclass
class MemoryTickets:
    """The queue of replays, as what was put on it."""

    put_: list[tuple[Ticket, int]] = field(default_factory=list)

    def put(self, ticket: Ticket, delay_s: int) -> None:
        self.put_.append((ticket, delay_s))
