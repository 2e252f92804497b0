"""What `schema_changes` works with, for each of the two things that it does."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from penstock import settings
from penstock.adapters.change_feed import FeedPublisher, change_in
from penstock.adapters.destination_queue import DestinationQueues
from penstock.adapters.event_bus import EventBus
from penstock.adapters.place_table import PlaceTable, facts_in
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.routes import RouteTable
from penstock.adapters.schema_table import SchemaTable
from penstock.adapters.source_policies import SourcePolicies
from penstock.settings import Settings
from penstock.steps import announce_changes, publish_schema
from penstock.steps.look_up import LookUp

__all__ = ["announcing", "change_in", "facts_in", "given", "publishing"]

PATHS_AT_ONCE = 16
LONGEST_PAUSE_S = 1.0
STORES = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
    max_pool_connections=PATHS_AT_ONCE + 1,
)


@cache
def given() -> Settings:
    return settings.from_environment()


@cache
def publishing() -> publish_schema.Ports:
    dynamodb = _client("dynamodb")
    policies = SourcePolicies(dynamodb, given().config_table)
    return publish_schema.Ports(
        places=PlaceTable(dynamodb, given().places_table, ThreadPoolExecutor(PATHS_AT_ONCE)),
        feed=FeedPublisher(dynamodb, given().changes_table, given().places_table),
        schemas=SchemaTable(dynamodb, given().schemas_table),
        policies=LookUp(policies.read, given().cache_fresh_s, given().cache_stale_s),
        pause=_pause,
    )


@cache
def announcing() -> announce_changes.Ports:
    dynamodb = _client("dynamodb")
    routes = RouteTable(dynamodb, given().config_table)
    return announce_changes.Ports(
        bus=EventBus(_client("events"), given().event_bus),
        routes=LookUp(routes.read, given().cache_fresh_s, given().cache_stale_s),
        queues=DestinationQueues(_client("sqs")),
        receipts=ReceiptTable(dynamodb, given().receipts_table, time.time, _new_id),
        now=_now,
    )


def _pause(attempt: int) -> None:
    """Longer each time, and never two writers the same."""
    time.sleep(random.uniform(0, min(LONGEST_PAUSE_S, 0.02 * 2**attempt)))  # noqa: S311 - no secret


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _new_id() -> str:
    return f"{random.getrandbits(64):016x}"


def _client(service: str) -> Any:
    return get_session().create_client(service, region_name=given().region, config=STORES)
