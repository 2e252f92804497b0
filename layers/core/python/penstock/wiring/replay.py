"""What `replay` works with."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from penstock import settings
from penstock.adapters import replay_tickets
from penstock.adapters.destination_queue import DestinationQueues
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.replay_table import ReplayTable
from penstock.adapters.replay_tickets import ReplayTickets
from penstock.adapters.routes import RouteTable
from penstock.domain.event import iso
from penstock.domain.replays import Ticket
from penstock.settings import Settings
from penstock.steps.replay_letters import Ports
from penstock.wiring import letters

CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
    max_pool_connections=letters.AT_ONCE,
)


@cache
def given() -> Settings:
    return settings.from_environment()


@cache
def ports() -> Ports:
    dynamodb, sqs = _client("dynamodb"), _client("sqs")
    kept = letters.Letters(_client, given())
    return Ports(
        index=kept.index,
        bodies=kept.bodies,
        replays=ReplayTable(dynamodb, given().letters_table, "", time.time),
        targets=RouteTable(dynamodb, given().config_table),
        queues=DestinationQueues(sqs),
        receipts=ReceiptTable(dynamodb, given().receipts_table, time.time, letters.new_id),
        tickets=ReplayTickets(sqs, given().replays_url),
        now=_now,
        new_id=letters.new_id,
        sleep=time.sleep,
    )


def ticket_in(body: str) -> Ticket:
    return replay_tickets.ticket_in(body)


def _now() -> str:
    return iso(datetime.now(UTC))


@cache
def _client(service: str) -> Any:
    return get_session().create_client(service, region_name=given().region, config=CONFIG)
