"""What the control API writes of a write key is what `collect` reads of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from penstock.adapters.aws_wire import WireFailed
from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.write_keys import WriteKeyTable
from penstock.domain.config import Change, Create, Remove
from penstock.domain.known_key import KnownKey
from penstock.domain.sources import WriteKeyItem
from penstock.domain.turns import Announced
from penstock.errors import StoreUnavailable
from tests.builders_collect import SOURCE, WORKSPACE, WRITE_KEY
from tests.fakes_collect import MemoryKeys
from tests.moto_server import CONFIG_TABLE, REGION, Cloud, emptied, environment, moto_cloud

OTHER_WORKSPACES = "z" * 12 + WRITE_KEY[12:]


def item(enabled: bool = True, source_enabled: bool = True) -> WriteKeyItem:
    return WriteKeyItem(
        workspace_id=WORKSPACE,
        id=WRITE_KEY,
        source_id=SOURCE,
        enabled=enabled,
        source_enabled=source_enabled,
        created_at="2026-11-23T16:00:00.000Z",
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Cloud]:
    with moto_cloud() as cloud:
        yield cloud


class Written:
    """The table as control writes it and as collect reads it."""

    def __init__(self, cloud: Cloud) -> None:
        cloud.make_config_table()
        self.wire = cloud.wire("dynamodb")
        self.store = ConfigStore(Place(CONFIG_TABLE, "penstock-test-audit", REGION))
        self.table = WriteKeyTable(self.wire, CONFIG_TABLE, (WireFailed,))

    def write(self, *steps: Any) -> None:
        assert not self.store.commit(list(steps), None)


@pytest.fixture
def written(server: Cloud) -> Iterator[Written]:
    with environment(AWS_ENDPOINT_URL=emptied(server).url):
        made = Written(server)
        yield made
    made.wire.close()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("source_enabled", [True, False])
def test_a_key_is_enabled_only_if_it_and_its_source_are(written: Written, enabled: bool, source_enabled: bool) -> None:
    written.write(Create(item(enabled, source_enabled)))
    assert written.table.find(WRITE_KEY) == KnownKey(WORKSPACE, SOURCE, enabled and source_enabled)


def test_the_next_turn_of_its_source_is_told_with_it(written: Written) -> None:
    written.write(Create(msgspec.structs.replace(item(), turn=3, turns_at=1_795_000_000)))
    assert written.table.find(WRITE_KEY) == KnownKey(WORKSPACE, SOURCE, True, Announced(3, 1_795_000_000.0))


def test_a_change_and_a_removal_are_seen_by_the_next_question(written: Written) -> None:
    written.write(Create(item()))
    written.write(Change(item(), item(enabled=False)))
    assert written.table.find(WRITE_KEY) == KnownKey(WORKSPACE, SOURCE, False)
    written.write(Remove(item(enabled=False)))
    assert written.table.find(WRITE_KEY) is None


@pytest.mark.parametrize("key", ["", "x", "a" * 36, OTHER_WORKSPACES, WRITE_KEY.upper(), WRITE_KEY + "\n"])
def test_any_other_key_is_nobodys(written: Written, key: str) -> None:
    written.write(Create(item()))
    assert written.table.find(key) is None


def test_a_table_that_is_not_there_is_unavailable(server: Cloud) -> None:
    wire = emptied(server).wire("dynamodb")
    with pytest.raises(StoreUnavailable):
        WriteKeyTable(wire, CONFIG_TABLE, (WireFailed,)).find(WRITE_KEY)
    wire.close()


class Dynamodb:
    """The wire to a DynamoDB that answers as told."""

    def __init__(self, status: int, body: bytes, failure: Exception | None = None) -> None:
        self.status, self.body, self.failure = status, body, failure
        self.asked: list[Any] = []

    def call(self, target: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append((target, json.loads(body)))
        if self.failure:
            raise self.failure
        return self.status, self.body


@pytest.mark.parametrize(
    "wire",
    [
        Dynamodb(0, b"", WireFailed("no answer")),
        Dynamodb(400, b'{"__type":"ProvisionedThroughputExceededException"}'),
        Dynamodb(500, b"{}"),
        Dynamodb(200, b""),
        Dynamodb(200, b'{"Item":{}}'),
        Dynamodb(200, b'{"Item":{"source_id":{"S":"s"},"enabled":{"S":"true"},"source_enabled":{"BOOL":true}}}'),
    ],
)
def test_no_good_answer_is_unavailable_and_never_an_unknown_key(wire: Dynamodb) -> None:
    with pytest.raises(StoreUnavailable):
        WriteKeyTable(wire, CONFIG_TABLE, (WireFailed,)).find(WRITE_KEY)


def test_the_question_is_one_item_of_the_keys_own_workspace() -> None:
    wire = Dynamodb(200, b"{}")
    assert WriteKeyTable(wire, CONFIG_TABLE, (WireFailed,)).find(WRITE_KEY) is None
    key = {"workspace_id": {"S": WORKSPACE}, "sk": {"S": f"write_key#{WRITE_KEY}"}}
    assert wire.asked == [("DynamoDB_20120810.GetItem", {"TableName": CONFIG_TABLE, "Key": key})]


def test_what_could_be_no_key_is_not_asked_for() -> None:
    wire = Dynamodb(200, b"{}")
    assert WriteKeyTable(wire, CONFIG_TABLE, (WireFailed,)).find("../other") is None
    assert wire.asked == []


def test_the_fake_knows_and_does_not_know_as_the_table_does() -> None:
    fake = MemoryKeys()
    assert fake.find(WRITE_KEY) == KnownKey(WORKSPACE, SOURCE, True) and fake.find("x") is None
    fake.down = True
    with pytest.raises(StoreUnavailable):
        fake.find(WRITE_KEY)
