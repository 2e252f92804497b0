"""What `schema` works with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from penstock import settings
from penstock.adapters.parked_records import ParkedRecords
from penstock.adapters.place_table import PlaceTable
from penstock.adapters.plan_table import PlanTable
from penstock.adapters.schema_table import SchemaTable
from penstock.settings import Settings
from penstock.steps.track_schema import Memory, Ports
from penstock.wiring.plans import plans_in_force

EVENTS_AT_ONCE = 8
PATHS_AT_ONCE = 16
STORES = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
    max_pool_connections=EVENTS_AT_ONCE + PATHS_AT_ONCE,
)


@cache
def given() -> Settings:
    return settings.from_environment()


@cache
def ports() -> Ports:
    dynamodb = _client("dynamodb")
    plans = PlanTable(dynamodb, given().config_table)
    return Ports(
        schemas=SchemaTable(dynamodb, given().schemas_table),
        places=PlaceTable(dynamodb, given().places_table, ThreadPoolExecutor(PATHS_AT_ONCE)),
        parked=ParkedRecords(_client("s3"), given().failure_bucket, "untracked"),
        plans=plans_in_force(plans, given().cache_fresh_s, given().cache_stale_s),
        memory=Memory(),
        threads=ThreadPoolExecutor(EVENTS_AT_ONCE),
    )


def _client(service: str) -> Any:
    return get_session().create_client(service, region_name=given().region, config=STORES)
