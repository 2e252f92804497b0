"""Stand-ins for the stores of schemas; each runs the contract tests of the table that it stands for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from msgspec import structs

from penstock.domain import schema_counts, schema_facts, schema_model
from penstock.domain.schema_changes import Change, EventFacts, PlaceRow, column_given
from penstock.domain.schema_counts import BEGINNING, Count
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_facts import ROOT, Facts
from penstock.domain.schema_model import EventSchema
from penstock.errors import StoreChanged


@dataclass
class MemoryPlaces:
    """The facts of all events, by owner; `noted` counts the items that were written."""

    events: dict[str, EventFacts] = field(default_factory=dict)
    tables: dict[tuple[str, str], str] = field(default_factory=dict)
    noted: int = 0

    def note(self, key: EventKey, facts: Facts) -> None:
        known = self.events.setdefault(key.owner, EventFacts())
        for path, sighting in facts.items():
            self.noted += 1
            row = self._row(known, path) or PlaceRow()
            kinds = dict(row.kinds)
            for kind, first in sighting.kinds.items():
                kinds[kind] = min(kinds.get(kind, first), first)
            row = structs.replace(row, kinds=kinds, guards=row.guards | sighting.guards)
            if path == ROOT:
                known.call, known.event, known.root = key.call, key.event, row
            else:
                known.rows[path] = row

    def read(self, owner: str) -> EventFacts:
        found = self.events.get(owner, EventFacts())
        return structs.replace(found, rows=dict(found.rows), taken=dict(found.taken))

    def take_back(self, key: EventKey, path: str, row: PlaceRow, kinds: Collection[str]) -> None:
        rows = self.events[key.owner].rows
        known = rows.get(path)
        if known is None or known.kinds.keys() != row.kinds.keys():
            return
        if any(known.kinds[kind] != row.kinds[kind] for kind in kinds):
            return
        left = {kind: first for kind, first in known.kinds.items() if kind not in kinds}
        if left:
            rows[path] = structs.replace(known, kinds=left)
        else:
            del rows[path]

    def claim_column(self, key: EventKey, name: str, path: str, family: str) -> bool:
        owner = f"{path}\0{family}"
        return self.events[key.owner].taken.setdefault(name, owner) == owner

    def claim_table(self, key: EventKey, name: str) -> bool:
        if self.tables.setdefault((key.of_source, name), key.digest) != key.digest:
            return False
        self.events[key.owner].table = name
        return True

    def mark(self, key: EventKey, changes: Sequence[Change]) -> None:
        """What the feed does to the paths that it tells of."""
        rows = self.events[key.owner].rows
        for change in changes:
            row = rows[change.path]
            columns = row.columns
            if (given := column_given(change)) is not None:
                columns = columns | dict([given])
            columns = dict(sorted(columns.items(), key=lambda each: len(each[1])))
            rows[change.path] = structs.replace(
                row, published=row.published | {change.kind}, version=change.version, columns=columns
            )

    def _row(self, known: EventFacts, path: str) -> PlaceRow | None:
        return known.root if path == ROOT else known.rows.get(path)


@dataclass
class MemoryFeed:
    places: MemoryPlaces
    changes: dict[str, list[Change]] = field(default_factory=dict)

    def head(self, of_source: str) -> int:
        return len(self.changes.get(of_source, ()))

    def publish(self, key: EventKey, changes: Sequence[Change]) -> None:
        feed = self.changes.setdefault(key.of_source, [])
        if changes[0].version != len(feed) + 1:
            raise StoreChanged("the head has moved on")
        if not {change.path for change in changes} <= self.places.events[key.owner].rows.keys():
            raise StoreChanged("a path is gone")
        feed.extend(changes)
        self.places.mark(key, changes)

    def read(self, of_source: str, after: int, limit: int) -> list[Change]:
        return self.changes.get(of_source, [])[after : after + limit]


@dataclass
class MemorySchemas:
    """Blobs as they would be stored; `saved` and `loaded` count the calls."""

    schemas: dict[str, bytes] = field(default_factory=dict)
    today: dict[tuple[str, str], tuple[str, str, int, str, bytes]] = field(default_factory=dict)
    days: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    past: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    saved: int = 0
    loaded: int = 0

    def load(self, key: EventKey, shard: str) -> tuple[EventSchema | None, Count | None]:
        self.loaded += 1
        blob = self.schemas.get(key.owner)
        return None if blob is None else schema_model.unpacked(blob), self._today(key, shard)

    def save(self, key: EventKey, shard: str, count: Count, known_upto: str) -> None:
        known = self._today(key, shard)
        if (known.upto if known else BEGINNING) != known_upto:
            raise StoreChanged("somebody else has counted")
        self.saved += 1
        self.today[key.owner, shard] = (
            count.day,
            count.upto,
            count.events_before,
            count.began,
            schema_counts.packed(count.tree),
        )

    def put_by(self, key: EventKey, shard: str, finished: Count) -> None:
        day, blob = self.past.get((key.owner, shard), ("", b""))
        if day >= finished.day:
            return
        self.days[key.owner, shard, finished.day] = schema_counts.packed(finished.tree)
        trees = [schema_facts.copy(finished.tree)] + ([schema_counts.unpacked(blob)] if blob else [])
        self.past[key.owner, shard] = (finished.day, schema_counts.packed(schema_counts.total(trees)))

    def past_of(self, key: EventKey, shard: str) -> Count:
        """The count of all days before, as a query reads it."""
        day, blob = self.past[key.owner, shard]
        return Count(day, BEGINNING, schema_counts.unpacked(blob))

    def published(self, key: EventKey) -> str:
        return self.schemas.get(key.owner, b"").hex()

    def publish(self, key: EventKey, schema: EventSchema, known: str) -> None:
        if schema_model.packed(schema).hex() == known:
            return
        if self.published(key) != known:
            raise StoreChanged("another schema was published")
        self.schemas[key.owner] = schema_model.packed(schema)

    def _today(self, key: EventKey, shard: str) -> Count | None:
        if (key.owner, shard) not in self.today:
            return None
        day, upto, before, began, blob = self.today[key.owner, shard]
        return Count(day, upto, schema_counts.unpacked(blob), before, began)
