"""Quotas as fan-out measures, the gatekeeper keeps and the control API shows them."""

from __future__ import annotations

import secrets
import time
from typing import Any

from penstock.adapters.config_store import ConfigStore
from penstock.adapters.quota_table import QuotaLimits, QuotaTable
from penstock.domain.ids import ALPHABET
from penstock.domain.quotas import Limits
from penstock.settings import Settings
from penstock.steps import keep_quotas


def table(dynamodb: Any, given: Settings) -> QuotaTable:
    return QuotaTable(dynamodb, given.quotas_table, time.time)


def limits(dynamodb: Any, given: Settings) -> QuotaLimits:
    return QuotaLimits(dynamodb, given.config_table, Limits(given.workspace_quota, given.source_quota))


def keeping(dynamodb: Any, store: ConfigStore, given: Settings) -> keep_quotas.Ports:
    return keep_quotas.Ports(
        usage=table(dynamodb, given),
        store=store,
        quotas=limits(dynamodb, given),
        chance=lambda length: "".join(secrets.choice(ALPHABET) for _ in range(length)),
        clock=time.time,
        cache_life_s=given.cache_stale_s,
        settles_s=given.settles_s,
    )
