"""Usage by windows, marks of what is moved: the fake and DynamoDB keep one contract; limits as control writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.quota_table import QuotaLimits, QuotaTable
from penstock.domain.config import Create
from penstock.domain.quotas import WINDOW_S, Lag, Limits, Mark, Quota, Used
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import SOURCE, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_pipeline import Clock
from tests.fakes_quotas import MemoryUsage

OTHER = "src_bbbbbbbbbbbb"
STANDARD = Limits(5_000, 1_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        make_tables()
        yield boto3.client("dynamodb", region_name=REGION)


@pytest.fixture(params=["memory", "dynamodb"])
def usage(request: pytest.FixtureRequest, clock: Clock, dynamodb: Any) -> Any:
    return MemoryUsage(clock) if request.param == "memory" else QuotaTable(dynamodb, "penstock-test-quotas", clock)


def test_a_window_adds_up_what_a_source_brings(usage: Any, clock: Clock) -> None:
    assert [usage.add(WORKSPACE, SOURCE, 5, None), usage.add(WORKSPACE, SOURCE, 7, 1.5)] == [5, 12]
    assert usage.add(WORKSPACE, OTHER, 1, None) == 1
    clock.now += WINDOW_S
    assert usage.add(WORKSPACE, SOURCE, 3, None) == 3
    first = int(clock.now) - WINDOW_S
    assert usage.read(WORKSPACE, clock.now - WINDOW_S) == [
        Used(SOURCE, first, 12, 1.5),
        Used(OTHER, first, 1),
        Used(SOURCE, first + WINDOW_S, 3),
    ]
    assert [used.events for used in usage.read(WORKSPACE, clock.now)] == [3]
    assert usage.read("ws_bbbbbbbbbbbb", 0) == []


def test_a_window_adds_up_what_a_workspaces_sources_bring_live(usage: Any, clock: Clock) -> None:
    usage.add(WORKSPACE, SOURCE, 5, None)
    assert [usage.add_live(WORKSPACE, 5), usage.add_live(WORKSPACE, 7), usage.add_live("ws_bbbbbbbbbbbb", 1)] == [
        5,
        12,
        1,
    ]
    clock.now += WINDOW_S
    assert usage.add_live(WORKSPACE, 3) == 3
    assert [used.source for used in usage.read(WORKSPACE, 0)] == [SOURCE]


def test_of_a_windows_lags_of_a_shard_the_longest_stays(usage: Any, clock: Clock) -> None:
    first = int(clock.now)
    for shard, lag_s in (("b-shardId-1", 2.5), ("b-shardId-1", 7.25), ("b-shardId-1", 0.5), ("b-shardId-2", 0.0)):
        usage.note_lag(shard, lag_s)
    clock.now += WINDOW_S
    usage.note_lag("b-shardId-1", 1.0)
    later = Lag("b-shardId-1", first + WINDOW_S, 1.0)
    assert usage.lags(first) == [Lag("b-shardId-1", first, 7.25), Lag("b-shardId-2", first, 0.0), later]
    assert usage.lags(clock.now) == [later]


def test_what_is_marked_is_so_until_it_is_unmarked(usage: Any) -> None:
    for source in (SOURCE, OTHER, SOURCE):
        usage.mark(WORKSPACE, source)
    usage.unmark(WORKSPACE, OTHER)
    usage.unmark(WORKSPACE, OTHER)
    assert usage.marked() == [(WORKSPACE, SOURCE)]
    usage.mark("ws_aaaaaaaaaaab", SOURCE)
    assert usage.marked(WORKSPACE) == [(WORKSPACE, SOURCE)]
    assert usage.marked() == [(WORKSPACE, SOURCE), ("ws_aaaaaaaaaaab", SOURCE)]
    assert usage.marked("ws_cccccccccccc") == []


def test_where_a_tick_ended_is_kept_until_one_comes_to_the_end(usage: Any) -> None:
    assert usage.reached() is None
    for mark in (Mark(WORKSPACE, SOURCE), Mark(WORKSPACE, OTHER), None):
        usage.reach(mark)
        assert usage.reached() == mark
    assert usage.marked() == []


def test_a_workspace_has_its_stages_quota_until_the_operator_gives_it_another(dynamodb: Any) -> None:
    limits = QuotaLimits(dynamodb, "penstock-test-config", STANDARD)
    assert limits.read(WORKSPACE) == STANDARD
    store = ConfigStore(Place("penstock-test-config", "penstock-test-audit", REGION))
    given = Quota(workspace_id=WORKSPACE, id=WORKSPACE, workspace=9, sources={SOURCE: 3})
    assert not store.commit([Create(given)], None)
    assert limits.read(WORKSPACE) == Limits(9, 1_000, {SOURCE: 3})
    assert store.find(Quota, WORKSPACE, WORKSPACE) == given


def test_a_table_that_does_not_answer_is_unavailable(dynamodb: Any, clock: Clock) -> None:
    for act in (
        lambda: QuotaTable(dynamodb, "absent", clock).add(WORKSPACE, SOURCE, 1, None),
        lambda: QuotaTable(dynamodb, "absent", clock).read(WORKSPACE, 0),
        lambda: QuotaTable(dynamodb, "absent", clock).marked(),
        lambda: QuotaTable(dynamodb, "absent", clock).reach(None),
        lambda: QuotaTable(dynamodb, "absent", clock).note_lag("b-shardId-1", 1.0),
        lambda: QuotaLimits(dynamodb, "absent", STANDARD).read(WORKSPACE),
    ):
        with pytest.raises(StoreUnavailable):
            act()
