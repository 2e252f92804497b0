"""The store of configuration and audit log: the fake and DynamoDB keep one contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from penstock.adapters.config_store import ConfigStore, Place
from penstock.domain import audit, sources
from penstock.domain.config import Change, Create, Remove, Require
from penstock.domain.destinations import Destination, Unfinished
from penstock.domain.paging import Window
from penstock.domain.sources import Source, WriteKey, WriteKeyItem
from penstock.domain.tokens import Token
from penstock.domain.webhook_settings import Plain
from penstock.domain.workspaces import Registration, Workspace
from penstock.errors import StoreUnavailable
from penstock.steps.record import Store
from tests.control_api import REGION, make_tables
from tests.fakes_control import MemoryStore

AT = "2026-11-23T16:00:00.000Z"
ACME, OTHER = "ws_aaaaaaaaaaaa", "ws_bbbbbbbbbbbb"
PLACE = Place("penstock-test-config", "penstock-test-audit", REGION)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with mock_aws():
        make_tables()
        yield ConfigStore(PLACE)


def token(item_id: str = "tok_a", workspace_id: str = ACME, **overrides: Any) -> Token:
    given = {"name": "ci", "hash": "0" * 64, "scopes": ("*",), "created_at": AT, "updated_at": AT}
    return Token(workspace_id=workspace_id, id=item_id, **given | overrides)


def source(*keys: str, **overrides: Any) -> Source:
    given = {"name": "Web", "enabled": True, "created_at": AT, "updated_at": AT}
    write_keys = tuple(WriteKey(key, True, AT) for key in keys)
    return Source(workspace_id=ACME, id="src_a", write_keys=write_keys, **given | overrides)


def destination(**overrides: Any) -> Destination:
    given = {
        "name": "Hook",
        "type": "webhook",
        "source_ids": ("src_a", "src_b"),
        "enabled": True,
        "subscription": 'type = "track"',
        "settings": Plain("https://example.com", {"X-A": "1"}),
        "secret_names": ("secret",),
        "secrets": b"\x00\xffsealed",
        "queue_url": "https://queue",
        "mapping_id": "m",
        "created_at": AT,
        "updated_at": AT,
    }
    return Destination(workspace_id=ACME, id="dst_a", **given | overrides)


def entry(number: int, workspace_id: str = ACME) -> audit.Entry:
    return audit.entry(
        workspace_id, f"{number:012}", 1_700_000_000.0 + number, "tok_a", "source.created", "src_a", "name"
    )


ITEMS = [
    Workspace(workspace_id=ACME, id=ACME, name="Acme", created_at=AT),
    Registration(workspace_id="operator", id=ACME, name="Acme", created_at=AT),
    source("k" * 36, "l" * 36),
    source(),
    WriteKeyItem(workspace_id=ACME, id="k" * 36, source_id="src_a", enabled=True, source_enabled=False, created_at=AT),
    destination(),
    destination(subscription=None, secrets=None, secret_names=(), source_ids=(), settings=Plain("https://x")),
    Unfinished(workspace_id=ACME, id="dst_a", started_at=1_700_000_000),
    Unfinished(workspace_id=ACME, id="dst_a", started_at=1_700_000_000, mapping_id="m", is_deleted=True),
    token(scopes=("sources:read", "audit:read")),
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_what_was_put_is_found_as_it_was(store: Store, item: Any) -> None:
    assert store.commit([Create(item)], None) in ([], ())
    assert store.find(type(item), item.workspace_id, item.id) == item


def test_nothing_is_found_in_another_workspace_or_under_another_kind(store: Store) -> None:
    store.commit([Create(token())], None)
    assert store.find(Token, OTHER, "tok_a") is None
    assert store.find(Source, ACME, "tok_a") is None
    assert store.page(Token, OTHER, Window()) == []


def test_what_exists_is_not_made_again(store: Store) -> None:
    store.commit([Create(token())], None)
    again = Create(token(name="again"))
    assert list(store.commit([again], None)) == [again]
    assert store.find(Token, ACME, "tok_a") == token()


def test_a_change_of_lists_texts_and_bytes_is_found_as_it_was_made(store: Store) -> None:
    before = destination()
    store.commit([Create(before)], None)
    after = destination(
        source_ids=("src_c",), secret_names=(), secrets=None, subscription=None, name="New", enabled=False
    )
    assert not store.commit([Change(before, after)], None)
    found = store.find(Destination, ACME, "dst_a")
    assert found == msgspec.structs.replace(after, version=2)
    back = msgspec.structs.replace(before, version=2)
    assert not store.commit([Change(msgspec.structs.replace(after, version=2), back)], None)
    assert store.find(Destination, ACME, "dst_a") == msgspec.structs.replace(before, version=3)


def test_what_has_changed_since_it_was_read_is_not_changed_over(store: Store) -> None:
    store.commit([Create(token())], None)
    store.commit([Change(token(), token(name="first"))], None)
    late = Change(token(), token(name="second"))
    assert list(store.commit([late], None)) == [late]
    found = store.find(Token, ACME, "tok_a")
    assert found is not None and found.name == "first"


def test_what_has_changed_since_it_was_read_is_not_removed(store: Store) -> None:
    store.commit([Create(token())], None)
    store.commit([Change(token(), token(name="first"))], None)
    assert store.commit([Remove(token())], None)
    assert store.find(Token, ACME, "tok_a") is not None


def test_what_is_gone_can_be_neither_changed_nor_removed(store: Store) -> None:
    assert store.commit([Change(token(), token(name="back"))], None)
    assert store.commit([Remove(token())], None)
    assert store.find(Token, ACME, "tok_a") is None


def test_all_steps_happen_or_none_and_those_in_the_way_are_named(store: Store) -> None:
    store.commit([Create(token("tok_b")), Create(token("tok_c"))], None)
    missing = Require(Source, ACME, "src_x")
    taken = Create(token("tok_b"))
    steps = [
        Change(token("tok_c"), token("tok_c", name="new")),
        taken,
        Create(token("tok_d")),
        missing,
        Create(token("tok_e")),
    ]
    clashes = store.commit(steps, entry(1))
    assert set(map(id, clashes)) == {id(missing), id(taken)}
    assert [item.id for item in store.page(Token, ACME, Window())] == ["tok_b", "tok_c"]
    assert store.entries(ACME, Window()) == []


def test_a_change_in_the_way_is_named_behind_the_audit_entry_too(store: Store) -> None:
    late = Change(token("tok_x"), token("tok_x", name="new"))
    assert list(store.commit([Create(token("tok_d")), late], entry(1))) == [late]


def test_a_page_begins_after_its_cursor_and_shows_one_more_where_there_is_more(store: Store) -> None:
    for name in "cabd":
        store.commit([Create(token(f"tok_{name}"))], None)
    assert [item.id for item in store.page(Token, ACME, Window(2))] == ["tok_a", "tok_b", "tok_c"]
    assert [item.id for item in store.page(Token, ACME, Window(2, "tok_b"))] == ["tok_c", "tok_d"]
    assert store.page(Token, ACME, Window(2, "tok_d")) == []


def test_the_audit_log_is_written_with_its_change_and_read_newest_first(store: Store) -> None:
    for number in range(1, 4):
        store.commit([Create(token(f"tok_{number}"))], entry(number))
    store.commit([Create(token("tok_o", OTHER))], entry(9, OTHER))
    assert store.entries(ACME, Window(2)) == [entry(3), entry(2), entry(1)]
    assert store.entries(ACME, Window(2, entry(2).id)) == [entry(1)]


def test_other_functions_read_the_types_that_the_messages_document_names() -> None:
    with mock_aws():
        make_tables()
        item = source("k" * 36)
        ConfigStore(PLACE).commit([*sources.created(item), Create(destination())], entry(1))
        client = boto3.client("dynamodb", region_name=REGION)
        rows = {row["sk"]["S"]: row for row in client.scan(TableName=PLACE.config_table)["Items"]}
        types = {name: next(iter(value)) for name, value in rows["destination#dst_a"].items()}
        logged = client.scan(TableName=PLACE.audit_table)["Items"][0]
    assert types == {
        **dict.fromkeys(
            ("workspace_id", "sk", "name", "type", "subscription", "settings", "delivery", "queue_url", "mapping_id"),
            "S",
        ),
        **dict.fromkeys(("created_at", "updated_at"), "S"),
        **dict.fromkeys(("source_ids", "secret_names"), "L"),
        **dict.fromkeys(("enabled", "schema_changes"), "BOOL"),
        "secrets": "B",
        "version": "N",
    }
    assert rows["destination#dst_a"]["secrets"]["B"] == b"\x00\xffsealed"
    key = rows["write_key#" + "k" * 36]
    assert key["enabled"] == {"BOOL": True} == key["source_enabled"] and key["source_id"] == {"S": "src_a"}
    assert next(iter(logged["expires_at"])) == "N"


def test_a_table_that_does_not_answer_is_unavailable() -> None:
    with mock_aws():
        store = ConfigStore(Place("no-such-table", "nor-this", REGION))
        with pytest.raises(StoreUnavailable):
            store.find(Token, ACME, "tok_a")
        with pytest.raises(StoreUnavailable):
            store.page(Token, ACME, Window())
        with pytest.raises(StoreUnavailable):
            store.commit([Create(token())], None)
