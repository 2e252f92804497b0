"""The gatekeeper's handler and wiring on moto: what fails of a batch or a tick keeps nothing else from being done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from penstock.adapters.alert_table import AlertTable
from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.quota_table import QuotaTable
from penstock.domain import gate_moves as moves
from penstock.domain import sources
from penstock.domain.alerts import Key
from penstock.domain.gate import Gate
from penstock.domain.sources import Source
from penstock.domain.turns import Announced
from tests.control_api import REGION
from tests.gatekeeper_cloud import book, cloud_with_gatekeeper, do, sent, wake
from tests.handlers.test_pipeline import Cloud

LONG_AGO = 1_700_000_000.0


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_with_gatekeeper() as made:
        yield made


def dynamodb() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


def pause(cloud: Cloud) -> tuple[str, str]:
    """A gate that was paused long ago, and that nobody has looked after."""
    key = (cloud.tenant.id, cloud.destination)
    book().save(*key, Gate(), moves.paused(Gate(), "holiday", "tok_a", LONG_AGO))
    return key


def watch_alert(cloud: Cloud) -> tuple[str, str]:
    """A rule that is due; the chore for it."""
    alert = {"name": "Shut", "metric": "gate", "webhook": cloud.tool.url}
    made = cloud.tenant.made(f"/control/destinations/{cloud.destination}/alerts", alert)
    key = Key(cloud.tenant.id, cloud.destination, made["id"])
    AlertTable(dynamodb(), "penstock-test-gates", lambda: LONG_AGO).watch(key)
    return (cloud.tenant.id, f"alerts#{cloud.destination}")


def told(cloud: Cloud) -> list[str]:
    return [json.loads(body)["type"] for _, body in cloud.tool.received]


def test_a_quota_that_cannot_be_looked_at_keeps_no_other_chore_of_its_batch_from_being_done(cloud: Cloud) -> None:
    gate, alert = pause(cloud), watch_alert(cloud)
    dynamodb().delete_table(TableName="penstock-test-quotas")
    do((cloud.tenant.id, cloud.source), alert, gate)
    assert not book().read(*gate).mapped.on
    assert told(cloud) == ["alert.raised"]


def test_a_tick_sends_chores_for_gates_and_for_alerts_whatever_of_it_fails(cloud: Cloud) -> None:
    gate, alert = pause(cloud), watch_alert(cloud)
    dynamodb().delete_table(TableName="penstock-test-quotas")
    assert sorted(wake()) == sorted([gate, alert])


def test_a_tick_sends_chores_before_it_looks_at_what_is_moved(cloud: Cloud) -> None:
    gate, alert = pause(cloud), watch_alert(cloud)
    unreadable = {"owner": {"S": "operator"}, "sk": {"S": "a mark that nobody can read"}}
    dynamodb().put_item(TableName="penstock-test-quotas", Item=unreadable)
    with pytest.raises(TypeError):
        wake()
    assert sorted(sent()) == sorted([gate, alert])


def test_a_source_that_is_calm_is_told_to_come_back_at_a_tick(cloud: Cloud) -> None:
    store = ConfigStore(Place("penstock-test-config", "penstock-test-audit", REGION))
    source = store.find(Source, cloud.tenant.id, cloud.source)
    assert source is not None
    store.commit(sources.replaced(source, sources.announcing(source, Announced(1, LONG_AGO))), None)
    QuotaTable(dynamodb(), "penstock-test-quotas", time.time).mark(cloud.tenant.id, cloud.source)
    wake()
    after = store.find(Source, cloud.tenant.id, cloud.source)
    assert after is not None
    assert after.turn == 2


def test_a_rule_that_is_due_is_looked_at_once_its_chore_is_done(cloud: Cloud) -> None:
    pause(cloud)
    watch_alert(cloud)
    do(*wake())
    assert told(cloud) == ["alert.raised"]
    assert wake() == []
