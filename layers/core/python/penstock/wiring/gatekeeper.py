"""What the gatekeeper works with; a probe goes through deliver's own step, with deliver's own ports."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from penstock.adapters.chores import ChoreQueue, chore_in
from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.destination_queue import DestinationQueues
from penstock.adapters.event_bus import EventBus
from penstock.adapters.gate_table import GateTable
from penstock.adapters.mapping_switch import Functions, MappingSwitch
from penstock.adapters.overflow_table import OverflowTable
from penstock.adapters.probe_queue import ProbeQueue
from penstock.adapters.progress import ProgressTable
from penstock.domain.evidence import Evidence
from penstock.steps import count_books, deliver, keep_quotas, raise_alerts
from penstock.steps.keep_gates import Ports
from penstock.steps.keep_overflow import KeepOverflow
from penstock.steps.lane import Message
from penstock.steps.probe_queue import Received, Sent
from penstock.steps.settle import Batch
from penstock.wiring import burials, insight, quotas
from penstock.wiring import deliver as delivering
from penstock.wiring.deliver import given

__all__ = ["alert_ports", "chore_in", "count_ports", "ports", "quota_ports", "threads"]

GATES_AT_ONCE = 10  # as many chores as a batch has
LANES_AT_ONCE = 100  # ten probes of a few users, or some of many
PROBING_S = 15.0  # from then on a probe begins no request

CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
    max_pool_connections=2 * GATES_AT_ONCE,
)


@cache
def ports() -> Ports:
    sqs, dynamodb = _client("sqs"), _client("dynamodb")
    return Ports(
        book=GateTable(dynamodb, given().gates_table, time.time),
        store=_store(),
        switch=MappingSwitch(
            _client("lambda"), Functions(given().deliver_function_arn, given().deliver_slow_function_arn)
        ),
        queue=ProbeQueue(sqs),
        deliver=_deliver,
        overflow=_overflow(dynamodb, sqs),
        burials=burials.keeping(_client, _store(), given()),
        chores=ChoreQueue(sqs, given().chores_url),
        bus=EventBus(_client("events"), given().event_bus),
        threads=ThreadPoolExecutor(GATES_AT_ONCE),
        clock=time.time,
    )


def _overflow(dynamodb: Any, sqs: Any) -> KeepOverflow:
    tables = given().overflow_table, given().dedup_table, given().gates_table
    table = OverflowTable(dynamodb, *tables, time.time, time.sleep)
    notes = ProgressTable(dynamodb, given().progress_table, time.time)
    return KeepOverflow(table, ProbeQueue(sqs), DestinationQueues(sqs), notes, time.time)


@cache
def _store() -> ConfigStore:
    return ConfigStore(Place(given().config_table, given().audit_table, given().region))


@cache
def threads() -> ThreadPoolExecutor:
    """For a batch's chores that are no gates': none of them waits for a probe, and no probe for them."""
    return ThreadPoolExecutor(GATES_AT_ONCE)


@cache
def alert_ports() -> raise_alerts.Ports:
    return insight.watch(_client, _store(), given())


@cache
def count_ports() -> count_books.Ports:
    return insight.counting(_client("dynamodb"), _store(), given())


@cache
def quota_ports() -> keep_quotas.Ports:
    return quotas.keeping(_client("dynamodb"), _store(), given())


def _deliver(destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
    until = time.monotonic() + PROBING_S
    messages = [Message(job.id, job.receipt, job.group, job.body, job.receives, job.sent_at) for job in jobs]
    batch = Batch(destination, queue_url, messages)
    outcome = deliver.deliver(batch, _delivering(), lambda: time.monotonic() < until, is_probe=True)
    return Sent(frozenset(outcome.failed), outcome.delivered)


@cache
def _delivering() -> deliver.Ports:
    """Ten probes at once, each with threads enough: a lane that hangs holds up no other destination's."""
    return dataclasses.replace(delivering.ports(), threads=ThreadPoolExecutor(LANES_AT_ONCE), watch=_NoWatch())


class _NoWatch:
    """What a probe shows is the gatekeeper's to judge."""

    def report(self, workspace: str, destination: str, evidence: Evidence) -> None: ...


def _client(service: str) -> Any:
    return get_session().create_client(service, region_name=given().region, config=CONFIG)
