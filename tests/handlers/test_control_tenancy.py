"""Tenants cannot meet, and a token reaches nothing outside its scopes: every operation is tried."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.control.handler import RESOURCES
from penstock.adapters.schema_table import SchemaTable
from penstock.domain import dedup
from penstock.domain.job import group_of
from penstock.domain.openapi import Operation
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_model import EventSchema
from penstock.domain.tokens import ALL_WORKSPACES, EVERYTHING, Scope
from penstock.settings import from_environment
from penstock.tables import key_owner
from penstock.wiring import letters
from tests.builders_letters import letter
from tests.builders_pipeline import SHARD
from tests.control_api import OPERATOR_TOKEN, REGION, Tenant, call, control_cloud, tenant, webhook

OPERATIONS = {operation.name: operation for resource in RESOURCES for operation, _ in resource.served}
TENANTS = {name: operation for name, operation in OPERATIONS.items() if operation.scope != ALL_WORKSPACES}
WITH_IDS = [name for name, operation in TENANTS.items() if operation.parameters]
SCOPES = [scope for scope in get_args(Scope) if scope != EVERYTHING]
EVENT = "Seen"
BODIES: dict[str, Any] = {
    "createWorkspace": {"name": "x"},
    "recoverWorkspace": {"name": "x", "scopes": ["*"]},
    "setQuota": {"workspace": None, "source": None},
    "createSource": {"name": "x"},
    "changeSource": {"name": "stolen"},
    "changeWriteKey": {"enabled": False},
    "createDestination": webhook(),
    "changeDestination": {"name": "stolen"},
    "pauseDestination": {"reason": "stolen"},
    "replayLetter": {"to": None},
    "createReplay": {"filter": {}},
    "changeOwnWorkspace": {"letters_retention_days": 7},
    "createToken": {"name": "x", "scopes": ["audit:read"]},
    "rotateSigningSecret": {"overlap_s": 0},
    "changeToken": {"name": "stolen"},
    "saveTrackingPlan": {"name": "stolen", "rules": []},
    "createAlert": {"name": "x", "metric": "gate", "webhook": "https://example.com/alert"},
    "changeAlert": {"name": "stolen"},
}


@dataclass(frozen=True)
class World:
    """Two tenants; `ids` are those of what the first one has."""

    mine: Tenant
    other: Tenant
    ids: dict[str, str]

    def path(self, operation: Operation) -> str:
        path = operation.path
        for name in operation.parameters:
            path = path.replace("{" + name + "}", self.ids[name])
        return path

    def query(self, operation: Operation) -> dict[str, str]:
        return {parameter.name: EVENT for parameter in operation.query if parameter.required}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with control_cloud():
        mine, other = tenant("Mine"), tenant("Other")
        source = mine.source()
        ids = {
            "workspace_id": mine.id,
            "source_id": source["id"],
            "key": source["write_keys"][0]["key"],
            "destination_id": mine.destination()["id"],
            "token_id": mine.made("/control/tokens", {"name": "x", "scopes": ["audit:read"]})["id"],
        }
        mine.call("PUT", f"/control/sources/{source['id']}/tracking-plan", {"name": "x", "rules": []})
        for call_, event in (("track", EVENT), ("identify", None)):
            key = EventKey(mine.id, source["id"], call_, event)
            schemas = SchemaTable(boto3.client("dynamodb", region_name=REGION), "penstock-test-schemas")
            schemas.publish(key, EventSchema(call_, event, "table", 1, "2026-11-23T16:00:00.000Z", ()), "")
        alerts = f"/control/destinations/{ids['destination_id']}/alerts"
        ids |= letter_and_replay(mine, ids["destination_id"])
        ids |= {"alert_id": mine.made(alerts, BODIES["createAlert"])["id"], "message_id": EVENT}
        claim(mine.id, source["id"])
        yield World(mine, other, ids | {"event": EVENT, "call": "identify", "version": "1"})


def claim(workspace_id: str, source_id: str) -> None:
    """A message of the user and with the messageId that every required parameter asks for."""
    item = {
        "owner": {"S": key_owner(workspace_id, source_id, group_of(source_id, EVENT))},
        "sk": {"S": dedup.day_of(time.time())},
        dedup.short_hash(EVENT): {"B": dedup.claims_of(f"{SHARD}-{1:056d}", 1)[0]},
    }
    boto3.client("dynamodb", region_name=REGION).put_item(TableName="penstock-test-dedup", Item=item)


def letter_and_replay(mine: Tenant, destination: str) -> dict[str, str]:
    """The ids of an event that the destination did not take, and of a replay of that."""
    kept = letters.keeping(lambda service: boto3.client(service, region_name=REGION), from_environment())
    kept.keep(mine.id, destination, [letter(workspace=mine.id)])
    path = f"/control/destinations/{destination}"
    listed = mine.call("GET", f"{path}/letters").body["letters"]
    return {"letter_id": listed[0]["id"], "replay_id": mine.made(f"{path}/replays", {"filter": {}})["id"]}


def test_the_table_of_bodies_knows_every_operation_that_takes_one() -> None:
    assert set(BODIES) == {name for name, operation in OPERATIONS.items() if operation.body}


@pytest.mark.parametrize("name", WITH_IDS)
def test_what_is_another_workspaces_is_not_there(world: World, name: str) -> None:
    operation = TENANTS[name]
    answer = world.other.call(operation.method, world.path(operation), BODIES.get(name), **world.query(operation))
    assert answer.status == 404, answer


def test_nothing_of_the_first_workspace_has_changed(world: World) -> None:
    for kind, key in (("sources", "source_id"), ("destinations", "destination_id"), ("tokens", "token_id")):
        assert world.mine.call("GET", f"/control/{kind}/{world.ids[key]}").body["name"] != "stolen"
        listed = world.other.call("GET", f"/control/{kind}").body[kind]
        assert world.ids[key] not in [thing["id"] for thing in listed]
    log = world.other.call("GET", "/control/audit").body["audit"]
    assert not {entry["target"] for entry in log} & set(world.ids.values())


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_of_one_scope_reaches_what_it_names_and_nothing_else(world: World, scope: str) -> None:
    token = world.mine.made("/control/tokens", {"name": scope, "scopes": [scope]})["token"]
    for name, operation in OPERATIONS.items():
        if operation.scope == scope:
            continue
        answer = call(operation.method, world.path(operation), BODIES.get(name), token)
        assert (answer.status, answer.error["code"]) == (403, "outside_scopes"), name


@pytest.mark.parametrize("name", [name for name, operation in TENANTS.items() if operation.method == "GET"])
def test_the_scope_that_an_operation_names_is_enough_for_it(world: World, name: str) -> None:
    operation = TENANTS[name]
    token = world.mine.made("/control/tokens", {"name": name, "scopes": [operation.scope]})["token"]
    assert call(operation.method, world.path(operation), token=token, **world.query(operation)).status == 200


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_nothing_is_served_without_a_token(world: World, name: str) -> None:
    operation = OPERATIONS[name]
    assert call(operation.method, world.path(operation), BODIES.get(name)).status == 401


@pytest.mark.parametrize("name", list(TENANTS))
def test_the_operators_token_opens_no_workspace(world: World, name: str) -> None:
    operation = TENANTS[name]
    assert call(operation.method, world.path(operation), BODIES.get(name), OPERATOR_TOKEN).status == 403


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["name", "enabled", "scopes", "type", "settings", "source_ids", "subscription"]


@pytest.mark.parametrize("name", [name for name in BODIES if OPERATIONS[name].scope != ALL_WORKSPACES])
def test_no_body_makes_the_api_fail(world: World, name: str) -> None:
    operation = OPERATIONS[name]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(JSON | st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from([*FIELDS, None]), JSON)
    def tried(body: Any, field: str | None, value: Any) -> None:
        sent = BODIES[name] | {field: value} if field else body
        answer = world.mine.call(operation.method, world.path(operation), sent)
        assert answer.status < 500, (sent, answer)

    tried()


@pytest.mark.parametrize("name", WITH_IDS)
def test_no_id_makes_the_api_fail(world: World, name: str) -> None:
    operation = OPERATIONS[name]
    for odd in (
        "x" * 5_000,
        "%00",
        "\u00e9",
        "src_",
        "..",
        "workspace",
        "src_000000000000#x",
        "\n",
        "src_aaaaaaaaaaa\n",
    ):
        path = operation.path
        for parameter in operation.parameters:
            path = path.replace("{" + parameter + "}", odd)
        answer = world.mine.call(operation.method, path, BODIES.get(name), **world.query(operation))
        assert answer.status in (404, 405), odd
