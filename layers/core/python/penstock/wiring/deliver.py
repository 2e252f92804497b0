"""What `deliver` works with."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from penstock import settings
from penstock.adapters.chores import ChoreQueue
from penstock.adapters.destination_queue import DestinationQueues, queue_url_of
from penstock.adapters.gate_table import GateTable
from penstock.adapters.progress import ProgressTable
from penstock.adapters.rate_table import RateTable
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.recent_deliveries import RecentDeliveries
from penstock.adapters.sealed_destinations import SealedDestinations
from penstock.adapters.secret_cipher import SecretCipher
from penstock.adapters.tool_http import ToolHttp
from penstock.domain.delivery import Patience
from penstock.domain.destinations import IMPORTS
from penstock.settings import Settings
from penstock.steps.deliver import Ports
from penstock.steps.keep_rate import KeepRate
from penstock.steps.look_up import LookUp
from penstock.steps.open_destination import OpenDestination
from penstock.steps.watch_gate import WatchGate
from penstock.wiring import letters

GROUPS_AT_ONCE = 10  # no batch of SQS has more messages
GATE_FRESH_S = 5.0  # a gate is never taken for older than that: what it closed for goes on meanwhile

CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})


@cache
def given() -> Settings:
    return settings.from_environment()


@cache
def ports() -> Ports:
    dynamodb = _client("dynamodb")
    sealed = SealedDestinations(dynamodb, given().config_table)
    opened = OpenDestination(sealed, SecretCipher(_client("kms"), given().secrets_key_arn))
    sqs = _client("sqs")
    book = GateTable(dynamodb, given().gates_table, time.time)
    fresh_s = min(given().cache_fresh_s, GATE_FRESH_S)
    gates = LookUp(book.find, fresh_s, fresh_s)
    deliveries = RecentDeliveries(dynamodb, given().receipts_table)
    return Ports(
        destinations=LookUp(opened.find, given().cache_fresh_s, given().cache_stale_s),
        gates=gates,
        watch=WatchGate(gates, book, deliveries, ChoreQueue(sqs, given().chores_url), time.time),
        rate=KeepRate(RateTable(dynamodb, given().gates_table), time.time, random.random, _new_id),
        letters=letters.keeping(_client, given()),
        tool=ToolHttp(given().request_timeout_s, given().allow_loopback),
        progress=ProgressTable(dynamodb, given().progress_table, time.time),
        queue=DestinationQueues(sqs),
        receipts=ReceiptTable(dynamodb, given().receipts_table, time.time, _new_id),
        threads=ThreadPoolExecutor(GROUPS_AT_ONCE),
        now=_now,
        seconds=time.monotonic,
        chance=random.random,
        patience=Patience(given().early_timeout_s, given().request_timeout_s),
    )


def queue_url(arn: str) -> str:
    return queue_url_of(arn, given().endpoint_of("sqs"))


def destination_of(arn: str) -> str:
    """The id of the destination whose queue it is, for imports or not."""
    return arn.rpartition(":")[2].removeprefix(given().queue_prefix).removesuffix(".fifo").removesuffix(IMPORTS)


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return os.urandom(8).hex()


def _client(service: str) -> Any:
    return get_session().create_client(service, region_name=given().region, config=CONFIG)
