"""Quotas by the control API: the operator sets them, a workspace sees them and what it uses."""

from __future__ import annotations

import time
from collections.abc import Iterator

import boto3
import pytest

from penstock.adapters.quota_table import QuotaTable
from tests.control_api import OPERATOR_TOKEN, REGION, Tenant, call, control_cloud, tenant


@pytest.fixture
def owner() -> Iterator[Tenant]:
    with control_cloud():
        yield tenant()


def test_a_workspace_sees_its_quota_and_what_each_source_sends(owner: Tenant) -> None:
    source = owner.source()["id"]
    QuotaTable(boto3.client("dynamodb", region_name=REGION), "penstock-test-quotas", time.time).add(
        owner.id, source, 200, None
    )
    found = owner.call("GET", "/control/quotas").body
    assert found["quota"] == 5_000
    (one,) = found["sources"]
    assert 10 <= one["events_per_s"] <= 20
    assert {"source_id": source, "quota": 1_000, "mode": "live", "since": None, "lag_s": None}.items() <= one.items()


def test_sources_are_paged_and_none_is_left_out(owner: Tenant) -> None:
    made = sorted(owner.source()["id"] for _ in range(5))
    page = owner.call("GET", "/control/quotas", limit=2).body
    found = [each["source_id"] for each in page["sources"]]
    while page["next"]:
        page = owner.call("GET", "/control/quotas", limit=2, next=page["next"]).body
        assert (page["quota"], len(page["sources"])) == (5_000, min(2, 5 - len(found)))
        found += [each["source_id"] for each in page["sources"]]
    assert found == made


def test_the_operator_gives_a_workspace_another_quota(owner: Tenant) -> None:
    source = owner.source()["id"]
    path = f"/control/workspaces/{owner.id}/quota"
    for given in ({"workspace": 9, "source": None, "sources": {source: 3}}, {"workspace": 9, "source": 4}):
        assert call("PUT", path, given, OPERATOR_TOKEN).status == 200
    found = owner.call("GET", "/control/quotas").body
    assert (found["quota"], found["sources"][0]["quota"]) == (9, 4)


BOTH = {"workspace": None, "source": None}


@pytest.mark.parametrize("quota", [{"workspace": 0}, {"source": "many"}, {"sources": {"src_a": -1}}, {"more": 1}, {}])
def test_a_quota_that_is_none_is_refused(owner: Tenant, quota: dict[str, object]) -> None:
    path = f"/control/workspaces/{owner.id}/quota"
    assert call("PUT", path, quota and BOTH | quota, OPERATOR_TOKEN).status == 400


@pytest.mark.parametrize("name", ["nonsense", "", "SRC_AAAAAAAAAAAA", "src_a"])
def test_a_single_sources_quota_names_a_source_by_its_id(owner: Tenant, name: str) -> None:
    path = f"/control/workspaces/{owner.id}/quota"
    answer = call("PUT", path, BOTH | {"sources": {name: 5}}, OPERATOR_TOKEN)
    assert (answer.status, answer.error["field"]) == (400, "sources")
    assert "^src_" in answer.error["message"]


def test_a_source_that_is_given_a_quota_is_there_when_it_is_added(owner: Tenant) -> None:
    path = f"/control/workspaces/{owner.id}/quota"
    theirs, source = tenant("Other").source()["id"], owner.source()["id"]
    answer = call("PUT", path, BOTH | {"sources": {theirs: 5}}, OPERATOR_TOKEN)
    refusal = (answer.status, answer.error["code"], answer.error["field"])
    assert refusal == (400, "unknown_source", f"sources.{theirs}")
    assert call("PUT", path, BOTH | {"sources": {source: 5}}, OPERATOR_TOKEN).status == 200
    assert owner.call("DELETE", f"/control/sources/{source}").status == 204
    kept = BOTH | {"workspace": 7, "sources": {source: 5}}
    assert call("PUT", path, kept, OPERATOR_TOKEN).status == 200


def test_no_workspace_sets_its_own_quota(owner: Tenant) -> None:
    path = f"/control/workspaces/{owner.id}/quota"
    assert owner.call("PUT", path, BOTH).status == 403
    assert call("PUT", "/control/workspaces/ws_zzzzzzzzzzzz/quota", BOTH, OPERATOR_TOKEN).status == 404
