"""What the control API writes of tracking plans is what the stream's consumers read, looked up and compiled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.plan_table import PlanTable, Stored
from penstock.domain import plan_content
from penstock.domain.config import Change, Create
from penstock.domain.tracking_plan import Plan, PlanVersion, findings
from penstock.errors import StoreUnavailable
from penstock.steps.record import Store
from penstock.wiring.plans import plans_in_force
from tests.builders_pipeline import SOURCE, WORKSPACE
from tests.builders_plans import plan
from tests.control_api import REGION, make_tables
from tests.fakes_control import MemoryStore

CONFIG = "penstock-test-config"
AT = "2026-11-23T16:00:00.000Z"
EVENT = {"type": "track", "event": "Surprise"}


@pytest.fixture
def tables() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest, tables: None) -> Store:
    return MemoryStore() if request.param == "memory" else config_store()


def config_store() -> ConfigStore:
    return ConfigStore(Place(CONFIG, "penstock-test-audit", REGION))


def table() -> PlanTable:
    return PlanTable(boto3.client("dynamodb", region_name=REGION), CONFIG)


def kept(version: int = 1, **fields: Any) -> Plan:
    given = {"content": plan_content.packed(plan(unplanned_event="block")), "created_at": AT}
    return Plan(workspace_id=WORKSPACE, id=SOURCE, version=version, **(given | fields))


def test_plans_and_versions_are_found_as_they_were_kept(store: Store) -> None:
    version = PlanVersion(workspace_id=WORKSPACE, id=f"{SOURCE}.00000001", content=b"\x00\xff", created_at=AT)
    assert not store.commit([Create(kept()), Create(version)], None)
    assert store.find(Plan, WORKSPACE, SOURCE) == kept()
    assert store.find(PlanVersion, WORKSPACE, version.id) == version
    after = kept(content=b"\x00\x01", active=False)
    assert not store.commit([Change(kept(), after)], None)
    assert store.find(Plan, WORKSPACE, SOURCE) == kept(2, content=b"\x00\x01", active=False)
    late = Change(kept(), kept(content=b"late"))
    assert list(store.commit([late], None)) == [late]


def test_what_control_writes_is_the_plan_that_consumers_read(tables: None) -> None:
    assert table().read(WORKSPACE, SOURCE) is None
    config_store().commit([Create(kept())], None)
    assert table().read(WORKSPACE, SOURCE) == Stored(1, kept().content)
    assert table().read("ws_bbbbbbbbbbbb", SOURCE) is None
    config_store().commit([Change(kept(), kept(active=False))], None)
    assert table().read(WORKSPACE, SOURCE) is None


def test_a_plan_is_in_force_from_the_next_look_on_and_compiled_once(tables: None) -> None:
    config_store().commit([Create(kept())], None)
    plans = plans_in_force(table(), 0, 0)
    first = plans.get((WORKSPACE, SOURCE))
    assert first is not None and plans.get((WORKSPACE, SOURCE)) is first
    assert [each.finding.action for each in findings(EVENT, first)] == ["block"]
    config_store().commit([Change(kept(), kept(content=plan_content.packed(plan())))], None)
    second = plans.get((WORKSPACE, SOURCE))
    assert second is not None
    assert [each.finding.action for each in findings(EVENT, second)] == ["allow"]


class Failing:
    """A service that fails every call."""

    def __init__(self, trouble: Exception) -> None:
        self._trouble = trouble

    def get_item(self, **_: Any) -> Any:
        raise self._trouble


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}, "GetItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb"),
    ],
)
def test_a_store_that_does_not_answer_is_no_absence_of_a_plan(trouble: Exception) -> None:
    service: Any = Failing(trouble)
    plans = plans_in_force(PlanTable(service, CONFIG), 10, 30)
    with pytest.raises(StoreUnavailable):
        plans.get((WORKSPACE, SOURCE))


def test_whoever_has_no_plan_does_not_load_the_validator() -> None:
    script = "import functions.fanout.handler, penstock.wiring.control, sys; print('jsonschema_rs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.returncode) == ("False", 0), done.stderr
