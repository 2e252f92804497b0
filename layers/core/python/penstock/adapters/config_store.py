"""The tables `config` and `audit`: PynamoDB models of their items, and transactions over both.

Other functions read the same items with a plain client, so attribute names and types are those of docs/messages.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    JSONAttribute,
    ListAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import DoesNotExist, PynamoDBException, TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from penstock.domain.alerts import Alert
from penstock.domain.audit import Entry
from penstock.domain.config import Change, Create, Item, Remove, Require, Step, Steps, sort_key
from penstock.domain.destinations import Destination, Unfinished
from penstock.domain.paging import Window
from penstock.domain.quotas import Quota
from penstock.domain.sources import Source, WriteKeyItem
from penstock.domain.tokens import Token
from penstock.domain.tracking_plan import Plan, PlanVersion
from penstock.domain.workspaces import Registration, Workspace
from penstock.errors import StoreUnavailable

I = TypeVar("I", bound=Item)  # noqa: E741
T = TypeVar("T")

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5
RETRIES = 2
CLASHES = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


class Place(NamedTuple):
    """Where the tables are."""

    config_table: str
    audit_table: str
    region: str


class Row(Model):
    """What every item of `config` has."""

    workspace_id = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    version = NumberAttribute(null=True)


class NamedRow(Row):
    """A workspace, and its entry in the operator's register."""

    name = UnicodeAttribute()
    created_at = UnicodeAttribute()


class WorkspaceRow(NamedRow):
    letters_retention_days = NumberAttribute(null=True)


class SourceRow(NamedRow):
    enabled = BooleanAttribute()
    write_keys = JSONAttribute()
    schema_policy = UnicodeAttribute(null=True)
    turn = NumberAttribute(null=True)
    turns_at = NumberAttribute(null=True)
    updated_at = UnicodeAttribute()


class WriteKeyRow(Row):
    source_id = UnicodeAttribute()
    enabled = BooleanAttribute()
    source_enabled = BooleanAttribute()
    turn = NumberAttribute(null=True)
    turns_at = NumberAttribute(null=True)
    created_at = UnicodeAttribute()


class DestinationRow(NamedRow):
    type = UnicodeAttribute()
    source_ids: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)
    enabled = BooleanAttribute()
    subscription = UnicodeAttribute(null=True)
    settings = JSONAttribute()
    secret_names: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)
    secrets = BinaryAttribute(null=True, legacy_encoding=False)
    queue_url = UnicodeAttribute()
    mapping_id = UnicodeAttribute()
    import_queue_url = UnicodeAttribute(null=True)
    import_mapping_id = UnicodeAttribute(null=True)
    schema_changes = BooleanAttribute(null=True)
    delivery = JSONAttribute(null=True)
    updated_at = UnicodeAttribute()


class UnfinishedRow(Row):
    mapping_id = UnicodeAttribute(null=True)
    started_at = NumberAttribute()
    is_deleted = BooleanAttribute(null=True)


class QuotaRow(Row):
    workspace = NumberAttribute(null=True)
    source = NumberAttribute(null=True)
    sources = JSONAttribute()


class PlanRow(Row):
    content = BinaryAttribute(legacy_encoding=False)
    active = BooleanAttribute()
    created_at = UnicodeAttribute()


class PlanVersionRow(Row):
    content = BinaryAttribute(legacy_encoding=False)
    created_at = UnicodeAttribute()


class AlertRow(NamedRow):
    metric = UnicodeAttribute()
    threshold = NumberAttribute(null=True)
    window_minutes = NumberAttribute()
    webhook = UnicodeAttribute(null=True)
    sns_topic = UnicodeAttribute(null=True)
    enabled = BooleanAttribute()
    updated_at = UnicodeAttribute()


class TokenRow(NamedRow):
    hash = UnicodeAttribute()
    scopes: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)
    updated_at = UnicodeAttribute()


class AuditRow(Model):
    workspace_id = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    at = UnicodeAttribute()
    actor = UnicodeAttribute()
    action = UnicodeAttribute()
    target = UnicodeAttribute()
    fields: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)
    expires_at = NumberAttribute()


ROWS: dict[type[Item], type[Row]] = {
    Workspace: WorkspaceRow,
    Registration: NamedRow,
    Source: SourceRow,
    WriteKeyItem: WriteKeyRow,
    Destination: DestinationRow,
    Unfinished: UnfinishedRow,
    Alert: AlertRow,
    Token: TokenRow,
    Quota: QuotaRow,
    Plan: PlanRow,
    PlanVersion: PlanVersionRow,
}


class ConfigStore:
    """Reads are consistent: what was written is seen by the next request."""

    def __init__(self, place: Place) -> None:
        self._rows = {kind: _placed(row, place.config_table, place) for kind, row in ROWS.items()}
        self._audit = _placed(AuditRow, place.audit_table, place)
        self._connection = Connection(
            region=place.region,
            connect_timeout_seconds=CONNECT_TIMEOUT_S,
            read_timeout_seconds=READ_TIMEOUT_S,
            max_retry_attempts=RETRIES,
        )

    def find(self, kind: type[I], workspace_id: str, item_id: str) -> I | None:
        row = self._rows[kind]
        try:
            found = _asked(lambda: row.get(workspace_id, sort_key(kind, item_id), consistent_read=True))
        except DoesNotExist:
            return None
        return _item(kind, found)

    def page(self, kind: type[I], workspace_id: str, window: Window) -> list[I]:
        row, prefix = self._rows[kind], sort_key(kind, "")
        after = None if window.after is None else prefix + window.after
        return [_item(kind, found) for found in _query(row, workspace_id, row.sk.startswith(prefix), window, after)]

    def entries(self, workspace_id: str, window: Window) -> list[Entry]:
        found = _query(self._audit, workspace_id, None, window, window.after, newest_first=True)
        return [_entry(row) for row in found]

    def commit(self, steps: Steps, entry: Entry | None) -> Sequence[Step]:
        ordered = sorted(steps, key=lambda step: _ORDER.index(type(step)))
        try:
            _asked(lambda: self._transact(ordered, entry))
        except TransactWriteError as error:
            return _clashes(error, ordered)
        return ()

    def _transact(self, steps: Steps, entry: Entry | None) -> None:
        with TransactWrite(connection=self._connection) as transaction:
            for step in steps:
                self._add(transaction, step)
            if entry is not None:
                transaction.save(self._audit(**_entry_attributes(entry)))

    def _add(self, transaction: TransactWrite, step: Step) -> None:
        match step:
            case Require(kind, workspace_id, item_id):
                row = self._rows[kind]
                transaction.condition_check(row, workspace_id, sort_key(kind, item_id), row.sk.exists())
            case Remove(item):
                row = self._rows[type(item)]
                transaction.delete(row(*_key(item)), condition=_unchanged(row, item))
            case Create(item):
                row = self._rows[type(item)]
                transaction.save(row(*_key(item), **_attributes(item)), condition=row.sk.does_not_exist())
            case Change(before, after):
                row = self._rows[type(before)]
                actions = list(_differences(row, before, after))
                transaction.update(row(*_key(before)), actions, condition=_unchanged(row, before))


# A transaction lists its parts in this order, and its reasons for refusing likewise; the audit entry, a put that is
# under no condition, comes after the last Create.
_ORDER: tuple[type[Step], ...] = (Require, Remove, Create, Change)


def _placed(row: type[Any], table: str, place: Place) -> type[Any]:
    """The model bound to one table: a class of its own, so that two stores in one process do not meet."""
    meta = type(
        "Meta",
        (),
        {
            "table_name": table,
            "region": place.region,
            "connect_timeout_seconds": CONNECT_TIMEOUT_S,
            "read_timeout_seconds": READ_TIMEOUT_S,
            "max_retry_attempts": RETRIES,
        },
    )
    return type(row.__name__, (row,), {"Meta": meta})


def _asked(call: Callable[[], T]) -> T:
    """What DynamoDB answers; what it could not answer now as `StoreUnavailable`."""
    try:
        return call()
    except DoesNotExist:
        raise
    except TransactWriteError as error:
        if error.cause_response_code != "TransactionCanceledException" or not _is_clash(error):
            raise StoreUnavailable(f"DynamoDB: {error.cause_response_code}") from error
        raise
    except PynamoDBException as error:
        raise StoreUnavailable(f"DynamoDB: {error.cause_response_code}") from error


def _reasons(error: TransactWriteError) -> list[str | None]:
    return [reason.code if reason else None for reason in error.cancellation_reasons]


def _is_clash(error: TransactWriteError) -> bool:
    codes = {code for code in _reasons(error) if code and code != "None"}
    return bool(codes) and codes <= CLASHES


def _clashes(error: TransactWriteError, ordered: Steps) -> Sequence[Step]:
    """The steps whose condition did not hold. The audit entry stands before the Changes, if it stands at all."""
    codes = _reasons(error)
    puts_end = sum(1 for step in ordered if not isinstance(step, Change))
    if len(codes) > len(ordered):
        del codes[puts_end]
    return [step for step, code in zip(ordered, codes, strict=True) if code in CLASHES] or list(ordered)


def _query(
    row: type[Any],
    workspace_id: str,
    condition: Condition | None,
    window: Window,
    after: str | None,
    newest_first: bool = False,
) -> Iterator[Any]:
    start = None if after is None else {"workspace_id": {"S": workspace_id}, "sk": {"S": after}}
    return iter(
        _asked(
            lambda: list(
                row.query(
                    workspace_id,
                    condition,
                    limit=window.limit + 1,
                    last_evaluated_key=start,
                    consistent_read=True,
                    scan_index_forward=not newest_first,
                )
            )
        )
    )


def _key(item: Item) -> tuple[str, str]:
    return item.workspace_id, sort_key(type(item), item.id)


def _unchanged(row: type[Row], item: Item) -> Condition:
    return row.sk.exists() if item.version is None else row.version == item.version


def _attributes(item: Item) -> dict[str, Any]:
    plain = msgspec.to_builtins(item, builtin_types=(bytes,))
    present = {name: value for name, value in plain.items() if name not in ("workspace_id", "id") and value is not None}
    # PynamoDB takes a list for a list; of a tuple it would write the text of its first element.
    return {name: list(value) if isinstance(value, tuple) else value for name, value in present.items()}


def _differences(row: type[Row], before: Item, after: Item) -> Iterator[Action]:
    """What to set and remove so that `before` becomes `after`; what others keep in the same item stays."""
    old, new = _attributes(before), _attributes(after)
    for name, value in new.items():
        if name != "version" and old.get(name) != value:
            yield getattr(row, name).set(value)
    for name in old.keys() - new.keys():
        yield getattr(row, name).remove()
    if before.version is not None:
        yield row.version.set(before.version + 1)


def _item(kind: type[I], row: Row) -> I:
    found = {name: getattr(row, name) for name in row.get_attributes() if name != "sk"}
    present = {name: value for name, value in found.items() if value is not None}
    own_id = row.sk.partition("#")[2] or row.workspace_id
    return msgspec.convert({**present, "id": own_id}, kind, builtin_types=(bytes,))


def _entry_attributes(entry: Entry) -> dict[str, Any]:
    plain = msgspec.to_builtins(entry)
    return {"sk": plain.pop("id"), **plain}


def _entry(row: AuditRow) -> Entry:
    found = {name: getattr(row, name) for name in row.get_attributes() if name != "sk"}
    return msgspec.convert({**found, "id": row.sk}, Entry)
