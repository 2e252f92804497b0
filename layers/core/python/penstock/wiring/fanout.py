"""What `fanout` works with."""

from __future__ import annotations

import os
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from penstock import settings
from penstock.adapters.aws_wire import AwsWire, WireFailed
from penstock.adapters.chores import ChoreQueue
from penstock.adapters.dedup_table import DedupTable
from penstock.adapters.destination_queue import DestinationQueues
from penstock.adapters.event_stream import KinesisStream
from penstock.adapters.gate_table import GateTable
from penstock.adapters.home_table import HomeTable
from penstock.adapters.import_notes import ImportNotes
from penstock.adapters.overflow_table import OverflowTable
from penstock.adapters.parked_records import ParkedRecords
from penstock.adapters.plan_table import PlanTable
from penstock.adapters.queue_mapping import MappingPlan, QueueMapping
from penstock.adapters.queue_provision import QueueProvision
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.routes import RouteTable
from penstock.domain.sigv4 import Signer
from penstock.settings import Settings
from penstock.steps import equip_imports, keep_order, measure
from penstock.steps.equip_imports import ImportQueues
from penstock.steps.fan_out import MOST_QUEUES_AT_ONCE, Ports
from penstock.steps.look_up import LookUp
from penstock.steps.spill import Spill
from penstock.wiring import quotas
from penstock.wiring.plans import plans_in_force

STORES = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
    max_pool_connections=MOST_QUEUES_AT_ONCE,
)
# The step itself tries again, so a queue that hangs takes no more than four of these before its records are replayed.
QUEUES = Config(
    connect_timeout=2, read_timeout=4, retries={"total_max_attempts": 1}, max_pool_connections=MOST_QUEUES_AT_ONCE
)


@cache
def given() -> Settings:
    return settings.from_environment()


@cache
def ports() -> Ports:
    dynamodb, threads = _client("dynamodb", STORES), ThreadPoolExecutor(MOST_QUEUES_AT_ONCE)
    measuring = _measuring(dynamodb)
    queues = DestinationQueues(_client("sqs", QUEUES))
    routes = RouteTable(dynamodb, given().config_table)
    plans = PlanTable(dynamodb, given().config_table)
    return Ports(
        dedup=DedupTable(_wire("dynamodb"), given().dedup_table, (WireFailed,), time.sleep),
        routes=LookUp(routes.read, given().cache_fresh_s, given().cache_stale_s),
        queues=queues,
        spill=Spill(_overflow(dynamodb), queues, time.time),
        receipts=ReceiptTable(dynamodb, given().receipts_table, time.time, new_id),
        parked=ParkedRecords(_client("s3", STORES), given().failure_bucket),
        plans=plans_in_force(plans, given().cache_fresh_s, given().cache_stale_s),
        imports=_imports(dynamodb),
        order=_order(dynamodb, threads),
        measure=partial(measure.measure, ports=measuring),
        note_lag=partial(measure.note_lag, ports=measuring),
        threads=threads,
        now=now,
        sleep=time.sleep,
    )


def _overflow(dynamodb: Any) -> OverflowTable:
    tables = given().overflow_table, given().dedup_table, given().gates_table
    return OverflowTable(dynamodb, *tables, time.time, time.sleep)


def _imports(dynamodb: Any) -> ImportQueues:
    stage, prefix = given().stage, given().queue_prefix
    plan = MappingPlan(stage, prefix, given().deliver_function_arn, given().deliver_concurrency, is_on=False)
    equipping = equip_imports.Ports(
        QueueProvision(_client("sqs", STORES), stage, prefix, given().visibility_timeout_s),
        QueueMapping(_client("lambda", STORES), plan, time.sleep),
        ImportNotes(dynamodb, given().config_table),
        GateTable(dynamodb, given().gates_table, time.time),
        ChoreQueue(_client("sqs", QUEUES), given().chores_url),
    )
    return ImportQueues(equipping)


def _order(dynamodb: Any, threads: Executor) -> keep_order.Ports:
    kinesis = _wire("kinesis")
    return keep_order.Ports(
        homes=HomeTable(dynamodb, given().dedup_table, time.time, time.sleep),
        live=KinesisStream(kinesis, given().stream_arn, (WireFailed,)),
        bulk=KinesisStream(kinesis, given().bulk_stream_arn, (WireFailed,)),
        threads=threads,
        clock=time.time,
        sleep=time.sleep,
        settles_s=given().settles_s,
    )


def _measuring(dynamodb: Any) -> measure.Ports:
    limits = quotas.limits(dynamodb, given())
    return measure.Ports(
        usage=quotas.table(dynamodb, given()),
        quotas=LookUp(limits.read, given().cache_fresh_s, given().cache_stale_s),
        chores=ChoreQueue(_client("sqs", QUEUES), given().chores_url),
        clock=time.time,
    )


def _wire(service: str) -> AwsWire:
    signer = Signer(given().access_key, given().secret_key, given().session_token, given().region, service)
    return AwsWire(given().endpoint_of(service), signer, idle=MOST_QUEUES_AT_ONCE)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def new_id() -> str:
    return os.urandom(8).hex()


def _client(service: str, config: Config) -> Any:
    return get_session().create_client(service, region_name=given().region, config=config)
