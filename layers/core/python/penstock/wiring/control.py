"""What the control function works with, made once at its first request."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from penstock import settings
from penstock.adapters import plan_validator
from penstock.adapters.burial_notes import BurialNotes
from penstock.adapters.change_feed import ChangeFeed
from penstock.adapters.chores import ChoreQueue
from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.gate_table import GateTable
from penstock.adapters.operator_secret import OperatorSecret
from penstock.adapters.queue_mapping import MappingPlan, QueueMapping
from penstock.adapters.queue_provision import QueueProvision
from penstock.adapters.quota_table import QuotaLimits, QuotaTable
from penstock.adapters.schema_table import SchemaTable
from penstock.adapters.secret_cipher import SecretCipher
from penstock.domain.ids import ALPHABET
from penstock.domain.tracking_plan import Compiled, NewPlan
from penstock.settings import Settings
from penstock.steps import keep_replays, read_health, read_letters, read_schema, trace_event
from penstock.steps.authenticate import OperatorToken
from penstock.steps.keep_alerts import AlertWorks
from penstock.steps.keep_destinations import Works
from penstock.steps.look_up import LookUp
from penstock.steps.read_schema import answer
from penstock.steps.record import Ledger
from penstock.steps.switch_gates import GateWorks
from penstock.wiring import insight, letters, quotas

SCHEMAS_IN_MEMORY = 64


@dataclass(frozen=True)
class Ports:
    ledger: Ledger
    works: Works
    gates: GateWorks
    quotas: QuotaLimits
    quota_usage: QuotaTable
    health: read_health.Ports
    trace: trace_event.Ports
    alerts: AlertWorks
    letters: read_letters.Ports
    replays: keep_replays.Works
    operator: OperatorToken
    schema: read_schema.Ports
    compiled_plan: Callable[[NewPlan], Compiled]
    longest_wait_s: float


@cache
def ports() -> Ports:
    given = settings.from_environment()
    client = _clients(given.region)
    store = ConfigStore(Place(given.config_table, given.audit_table, given.region))
    ledger = Ledger(store, _chance, time.time)
    plan = MappingPlan(given.stage, given.queue_prefix, given.deliver_function_arn, given.deliver_concurrency)
    dynamodb, sqs = client("dynamodb"), client("sqs")
    kept = letters.Letters(client, given)
    gates = GateTable(dynamodb, given.gates_table, time.time)
    chores = ChoreQueue(sqs, given.chores_url)
    works = Works(
        ledger,
        SecretCipher(client("kms"), given.secrets_key_arn),
        QueueProvision(sqs, given.stage, given.queue_prefix, given.visibility_timeout_s),
        QueueMapping(client("lambda"), plan, time.sleep),
        gates,
        BurialNotes(dynamodb, given.gates_table, time.time),
        chores,
        given.allow_loopback,
    )
    secret = OperatorSecret(client("secretsmanager"), given.operator_secret_arn)
    operator = OperatorToken(secret.read, time.monotonic)
    return Ports(
        ledger,
        works,
        GateWorks(ledger, gates, chores),
        quotas.limits(dynamodb, given),
        quotas.table(dynamodb, given),
        insight.health(dynamodb, sqs, given),
        insight.trace(dynamodb, ledger, kept, given),
        insight.alerts(dynamodb, ledger, given),
        read_letters.Ports(kept.index, kept.bodies),
        letters.replays(client, ledger, kept, given),
        operator,
        _schema(dynamodb, given),
        plan_validator.compiled,
        given.longest_wait_s,
    )


def _schema(dynamodb: Any, given: Settings) -> read_schema.Ports:
    schemas = SchemaTable(dynamodb, given.schemas_table)
    return read_schema.Ports(
        schemas,
        LookUp(
            lambda asked: answer(asked, schemas), given.schema_fresh_s, given.schema_stale_s, capacity=SCHEMAS_IN_MEMORY
        ),
        ChangeFeed(dynamodb, given.changes_table),
        time.monotonic,
        time.sleep,
    )


def _clients(region: str) -> Callable[[str], Any]:
    """Clients of botocore's own: boto3 would add the half of its import time that serves S3."""
    session = get_session()
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})
    return lambda service: session.create_client(service, region_name=region, config=config)


def _chance(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
