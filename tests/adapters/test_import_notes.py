"""Which queue for imports a destination has: noted once, read by fan-out, kept through changes by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.import_notes import ImportNotes
from penstock.adapters.routes import RouteTable
from penstock.domain.config import Change, Create
from penstock.domain.destinations import Destination
from penstock.domain.webhook_settings import Plain
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import DESTINATION, WORKSPACE, url_of
from tests.control_api import REGION, make_tables

TABLE = "penstock-test-config"
URL = url_of(f"{DESTINATION}-import")
ITEM = Destination(
    workspace_id=WORKSPACE,
    id=DESTINATION,
    name="Hook",
    type="webhook",
    source_ids=(),
    enabled=True,
    settings=Plain("https://example.com/hook", {}),
    secret_names=(),
    queue_url=url_of(DESTINATION),
    mapping_id="mapping",
    created_at="then",
    updated_at="then",
)


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        make_tables()
        yield boto3.client("dynamodb", region_name=REGION)


def test_what_is_noted_fan_out_reads_and_no_change_takes_away(dynamodb: Any) -> None:
    store = ConfigStore(Place(TABLE, "penstock-test-audit", REGION))
    assert not store.commit([Create(ITEM)], None)
    notes = ImportNotes(dynamodb, TABLE)
    assert notes.note_mapping(WORKSPACE, DESTINATION, "other")
    assert RouteTable(dynamodb, TABLE).read(WORKSPACE)[0].import_queue_url is None
    assert notes.note_queue(WORKSPACE, DESTINATION, URL)
    assert not store.commit([Change(ITEM, msgspec.structs.replace(ITEM, name="Other"))], None)
    (route,) = RouteTable(dynamodb, TABLE).read(WORKSPACE)
    assert (route.name, route.queue_url, route.import_queue_url) == ("Other", url_of(DESTINATION), URL)
    found = store.find(Destination, WORKSPACE, DESTINATION)
    assert found is not None and found.import_mapping_id == "other"


def test_nothing_is_noted_of_a_destination_that_is_gone(dynamodb: Any) -> None:
    notes = ImportNotes(dynamodb, TABLE)
    assert not notes.note_mapping(WORKSPACE, DESTINATION, "other")
    assert not notes.note_queue(WORKSPACE, DESTINATION, URL)
    assert "Item" not in dynamodb.get_item(
        TableName=TABLE, Key={"workspace_id": {"S": WORKSPACE}, "sk": {"S": f"destination#{DESTINATION}"}}
    )


def test_a_table_that_does_not_answer_is_unavailable(dynamodb: Any) -> None:
    with pytest.raises(StoreUnavailable):
        ImportNotes(dynamodb, "absent").note_queue(WORKSPACE, DESTINATION, URL)
