"""What differs between stages: data, never code."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field


class WrongStage(ValueError):
    """`STAGE` is no name that AWS resources could carry."""


@dataclass(frozen=True)
class Stage:
    """One deployment of the hub. Times are in seconds, memory in MB, log retention in days.

    `reserved` gives functions their own share of the account's concurrency, so that `collect` is safe from the rest; a
    new account has too little for it, so only `prod` asks for it.
    """

    name: str
    region: str
    local: bool = False
    log_retention_days: int = 30
    cache_fresh_s: float = 10.0
    cache_stale_s: float = 30.0
    settles_s: float = 30.0
    source_quota: int = 1_000
    workspace_quota: int = 5_000
    request_timeout_s: float = 10.0
    early_timeout_s: float = 4.0
    deliver_timeout_s: int = 60
    visibility_timeout_s: int = 360
    queue_outlives_s: float = 300.0
    schema_window_s: int = 1
    reserved: Mapping[str, int] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return f"penstock-{self.name}"

    @property
    def queue_prefix(self) -> str:
        return f"{self.prefix}-d-"

    @property
    def alert_topics(self) -> str:
        """What the name of every SNS topic begins with that an alert may name; a workspace's id follows."""
        return f"{self.prefix}-alerts-"

    @property
    def chores(self) -> str:
        """The name of the queue of the gatekeeper's chores."""
        return f"{self.prefix}-chores"

    @property
    def replays(self) -> str:
        """The name of the queue of the replays' next steps."""
        return f"{self.prefix}-replays"

    def function(self, name: str) -> str:
        return f"{self.prefix}-{name}"


def stage(name: str, region: str) -> Stage:
    """The stage of that name. Raises `WrongStage`."""
    if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", name):
        raise WrongStage(f"STAGE must be 1 to 16 lower-case letters and digits, not {name!r}")
    if name == "local":
        return Stage(
            name,
            region,
            local=True,
            log_retention_days=1,
            cache_fresh_s=0.5,
            cache_stale_s=1.5,
            settles_s=3.0,
            source_quota=200,
            workspace_quota=1_000,
            deliver_timeout_s=20,
            visibility_timeout_s=25,
            queue_outlives_s=5.0,
            schema_window_s=0,
        )
    if name == "prod":
        return Stage(
            name,
            region,
            log_retention_days=90,
            reserved={
                "collect": 140,
                "fanout": 80,
                "fanout_bulk": 40,
                "schema": 40,
                "deliver": 380,
                "deliver_slow": 120,
                "gatekeeper": 25,
                "replay": 10,
            },
        )
    return Stage(name, region)


def from_environment() -> Stage:
    """By `STAGE` (dev) and `REGION`, else the region of the AWS command line, else us-east-1."""
    given = os.environ
    region = given.get("REGION") or given.get("CDK_DEFAULT_REGION") or given.get("AWS_REGION") or "us-east-1"
    return stage(given.get("STAGE") or "dev", region)
