"""What the gatekeeper buries deleted destinations with."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from penstock.adapters.burial_notes import BurialNotes
from penstock.adapters.chores import ChoreQueue
from penstock.adapters.config_store import ConfigStore
from penstock.adapters.gate_table import GateTable
from penstock.adapters.overflow_table import OverflowTable
from penstock.adapters.probe_queue import ProbeQueue
from penstock.adapters.progress import ProgressTable
from penstock.adapters.queue_mapping import MappingPlan, QueueMapping
from penstock.adapters.queue_provision import QueueProvision
from penstock.adapters.receipts import ReceiptTable
from penstock.settings import Settings
from penstock.steps import bury
from penstock.steps.keep_burials import KeepBurials, Ports
from penstock.steps.record import Ledger
from penstock.wiring import letters


def keeping(client: Callable[[str], Any], store: ConfigStore, given: Settings) -> KeepBurials:
    dynamodb, sqs = client("dynamodb"), client("sqs")
    tables = given.overflow_table, given.dedup_table, given.gates_table
    overflow = OverflowTable(dynamodb, *tables, time.time, time.sleep)
    queue = ProbeQueue(sqs)
    plan = MappingPlan(given.stage, given.queue_prefix, given.deliver_function_arn, given.deliver_concurrency)
    graves = bury.Ports(
        queue=queue,
        overflow=overflow,
        progress=ProgressTable(dynamodb, given.progress_table, time.time),
        letters=letters.keeping(client, given),
        receipts=ReceiptTable(dynamodb, given.receipts_table, time.time, letters.new_id),
        now=_now,
    )
    ports = Ports(
        ledger=Ledger(store, lambda length: letters.new_id()[:length], time.time),
        notes=BurialNotes(dynamodb, given.gates_table, time.time),
        queues=QueueProvision(sqs, given.stage, given.queue_prefix, given.visibility_timeout_s),
        mappings=QueueMapping(client("lambda"), plan, time.sleep),
        gates=GateTable(dynamodb, given.gates_table, time.time),
        queue=queue,
        overflow=overflow,
        graves=graves,
        chores=ChoreQueue(sqs, given.chores_url),
        outlives_s=given.queue_outlives_s,
    )
    return KeepBurials(ports)


def _now() -> datetime:
    return datetime.now(UTC)
