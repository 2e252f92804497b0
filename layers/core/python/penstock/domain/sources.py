"""Sources and their write keys.

The source holds its keys; each key is also an item of its own, which is all that `collect` reads. Both are written in
one transaction.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.domain.config import Change, Create, Item, Remove, Step
from penstock.domain.names import Name
from penstock.domain.schema_lattice import VARIANT, Policy
from penstock.domain.turns import Announced
from penstock.errors import Conflict, NotFound

MOST_WRITE_KEYS = 10

SchemaPolicy = Annotated[Policy, Meta(description="What becomes of a property whose values contradict each other")]


class WriteKey(Struct, frozen=True):
    """A write key: it names its source in every request of the tracking API. It is no secret."""

    key: str
    enabled: bool
    created_at: str


class Source(Item, frozen=True, kw_only=True):
    kind: ClassVar[str] = "source"

    name: str
    enabled: bool
    write_keys: tuple[WriteKey, ...]
    schema_policy: Policy = VARIANT
    turn: int = 0
    turns_at: float = 0
    created_at: str
    updated_at: str

    @property
    def announced(self) -> Announced:
        return Announced(self.turn, self.turns_at)


class WriteKeyItem(Item, frozen=True, kw_only=True):
    """What `collect` looks up; `id` is the key itself."""

    kind: ClassVar[str] = "write_key"

    version: int | None = None
    source_id: str
    enabled: bool
    source_enabled: bool
    turn: int = 0
    turns_at: float = 0
    created_at: str


class NewSource(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new source needs."""

    name: Name
    enabled: bool = True
    schema_policy: SchemaPolicy = VARIANT


class SourceChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a source can be changed; what is absent stays."""

    name: Name | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    schema_policy: SchemaPolicy | UnsetType = UNSET


class WriteKeyChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a write key can be changed."""

    enabled: bool


class SourceView(Struct, frozen=True):
    """A source with its write keys."""

    id: str
    name: str
    enabled: bool
    write_keys: tuple[WriteKey, ...]
    schema_policy: Policy
    created_at: str
    updated_at: str


class SourceList(Struct, frozen=True):
    """A page of sources."""

    sources: list[SourceView]
    next: str | None


def created(source: Source) -> list[Step]:
    return [Create(source), *(Create(_item(source, key)) for key in source.write_keys)]


def removed(source: Source) -> list[Step]:
    return [Remove(source), *(Remove(_item(source, key)) for key in source.write_keys)]


def replaced(before: Source, after: Source) -> list[Step]:
    """The source, and of its write keys those that came, went or are told something else."""
    old = {key.key: _item(before, key) for key in before.write_keys}
    new = {key.key: _item(after, key) for key in after.write_keys}
    return [
        Change(before, after),
        *(Create(item) for key, item in new.items() if key not in old),
        *(Remove(item) for key, item in old.items() if key not in new),
        *(Change(old[key], item) for key, item in new.items() if key in old and item != old[key]),
    ]


def _item(source: Source, key: WriteKey) -> WriteKeyItem:
    return WriteKeyItem(
        workspace_id=source.workspace_id,
        id=key.key,
        source_id=source.id,
        enabled=key.enabled,
        source_enabled=source.enabled,
        turn=source.turn,
        turns_at=source.turns_at,
        created_at=key.created_at,
    )


def changed(source: Source, change: SourceChange, at: str) -> Source:
    return msgspec.structs.replace(
        source,
        name=source.name if change.name is UNSET else change.name,
        enabled=source.enabled if change.enabled is UNSET else change.enabled,
        schema_policy=source.schema_policy if change.schema_policy is UNSET else change.schema_policy,
        updated_at=at,
    )


def announcing(source: Source, announced: Announced) -> Source:
    """The source with its next turn; its write keys tell `collect`."""
    return msgspec.structs.replace(source, turn=announced.turn, turns_at=announced.at)


def with_key(source: Source, key: str, at: str) -> Source:
    """The source with one more write key. Raises `Conflict` past the most that a source can have."""
    if len(source.write_keys) >= MOST_WRITE_KEYS:
        raise Conflict("too_many_write_keys", f"a source has at most {MOST_WRITE_KEYS} write keys: delete one first")
    return msgspec.structs.replace(source, write_keys=(*source.write_keys, WriteKey(key, True, at)), updated_at=at)


def with_key_enabled(source: Source, key: str, enabled: bool, at: str) -> Source:
    key_of(source, key)
    keys = tuple(
        msgspec.structs.replace(each, enabled=enabled) if each.key == key else each for each in source.write_keys
    )
    return msgspec.structs.replace(source, write_keys=keys, updated_at=at)


def without_key(source: Source, key: str, at: str) -> Source:
    key_of(source, key)
    keys = tuple(each for each in source.write_keys if each.key != key)
    return msgspec.structs.replace(source, write_keys=keys, updated_at=at)


def key_of(source: Source, key: str) -> WriteKey:
    for each in source.write_keys:
        if each.key == key:
            return each
    raise NotFound("write_key_not_found", "this source has no such write key")


def view(source: Source) -> SourceView:
    return SourceView(
        source.id,
        source.name,
        source.enabled,
        source.write_keys,
        source.schema_policy,
        source.created_at,
        source.updated_at,
    )
