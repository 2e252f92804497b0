"""Keep sources and their write keys. A source and its keys' own items are written together or not at all."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET

from penstock.domain import sources
from penstock.domain.config import Remove
from penstock.domain.ids import WRITE_KEY_SECRET_LENGTH
from penstock.domain.sources import NewSource, Source, SourceChange, WriteKey, WriteKeyChange
from penstock.domain.tokens import Caller
from penstock.domain.tracking_plan import Plan
from penstock.steps import keep_plans
from penstock.steps.record import Ledger, settled


def create_source(ledger: Ledger, caller: Caller, wanted: NewSource) -> Source:
    def attempt() -> Source | None:
        at = ledger.now()
        item = Source(
            workspace_id=caller.workspace_id,
            id=ledger.new_id("src_"),
            name=wanted.name,
            enabled=wanted.enabled,
            write_keys=(WriteKey(_new_key(ledger, caller), True, at),),
            schema_policy=wanted.schema_policy,
            created_at=at,
            updated_at=at,
        )
        return None if ledger.commit(caller, "source.created", item, sources.created(item)) else item

    return settled(attempt)


def change_source(ledger: Ledger, caller: Caller, source_id: str, change: SourceChange) -> Source:
    fields = tuple(field for field in ("name", "enabled", "schema_policy") if getattr(change, field) is not UNSET)
    return _revised(
        ledger,
        caller,
        source_id,
        "source.changed",
        lambda source: sources.changed(source, change, ledger.now()),
        fields,
    )


def delete_source(ledger: Ledger, caller: Caller, source_id: str) -> None:
    """It is gone at once; `StoreUnavailable` says that versions of its tracking plan may not be: delete it again."""

    def attempt() -> bool | None:
        item = ledger.store.find(Source, caller.workspace_id, source_id)
        if item is None:
            keep_plans.forget_plan(ledger, caller.workspace_id, source_id)
            item = ledger.get(Source, caller.workspace_id, source_id)
        plan = ledger.store.find(Plan, caller.workspace_id, source_id)
        steps = sources.removed(item) + ([] if plan is None else [Remove(plan)])
        return None if ledger.commit(caller, "source.deleted", item, steps) else True

    settled(attempt)
    keep_plans.forget_plan(ledger, caller.workspace_id, source_id)


def add_write_key(ledger: Ledger, caller: Caller, source_id: str) -> WriteKey:
    key = _new_key(ledger, caller)
    after = _revised(
        ledger,
        caller,
        source_id,
        "write_key.created",
        lambda source: sources.with_key(source, key, ledger.now()),
        (f"write_keys.{key}",),
    )
    return sources.key_of(after, key)


def rotate_write_key(ledger: Ledger, caller: Caller, source_id: str, old: str) -> WriteKey:
    """A new key beside the old one, which works on until it is disabled or deleted: libraries take time to change."""
    key = _new_key(ledger, caller)

    def decide(source: Source) -> Source:
        sources.key_of(source, old)
        return sources.with_key(source, key, ledger.now())

    fields = (f"write_keys.{old}", f"write_keys.{key}")
    return sources.key_of(_revised(ledger, caller, source_id, "write_key.rotated", decide, fields), key)


def change_write_key(ledger: Ledger, caller: Caller, source_id: str, key: str, change: WriteKeyChange) -> WriteKey:
    after = _revised(
        ledger,
        caller,
        source_id,
        "write_key.changed",
        lambda source: sources.with_key_enabled(source, key, change.enabled, ledger.now()),
        (f"write_keys.{key}.enabled",),
    )
    return sources.key_of(after, key)


def delete_write_key(ledger: Ledger, caller: Caller, source_id: str, key: str) -> None:
    _revised(
        ledger,
        caller,
        source_id,
        "write_key.deleted",
        lambda source: sources.without_key(source, key, ledger.now()),
        (f"write_keys.{key}",),
    )


def _new_key(ledger: Ledger, caller: Caller) -> str:
    return caller.workspace_id.removeprefix("ws_") + ledger.chance(WRITE_KEY_SECRET_LENGTH)


def _revised(
    ledger: Ledger,
    caller: Caller,
    source_id: str,
    action: str,
    decide: Callable[[Source], Source],
    fields: tuple[str, ...],
) -> Source:
    def attempt() -> Source | None:
        before = ledger.get(Source, caller.workspace_id, source_id)
        after = decide(before)
        return None if ledger.commit(caller, action, before, sources.replaced(before, after), fields) else after

    return settled(attempt)
