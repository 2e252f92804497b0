"""What health, trace and alerts work with: parts of what the control function and the gatekeeper have."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from penstock.adapters.alert_table import AlertTable
from penstock.adapters.alert_topics import AlertTopics
from penstock.adapters.claim_reader import ClaimReader
from penstock.adapters.gate_table import GateTable
from penstock.adapters.minute_table import MinuteTable
from penstock.adapters.probe_queue import ProbeQueue
from penstock.adapters.progress import ProgressTable
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.tool_http import ToolHttp
from penstock.domain.destinations import Destination
from penstock.domain.health import RateView
from penstock.settings import Settings
from penstock.steps import raise_alerts, read_health, trace_event
from penstock.steps.keep_alerts import AlertWorks
from penstock.steps.record import Ledger

NOTICE_TIMEOUT_S = 5.0


class Letters(trace_event.LetterIndex, trace_event.LetterBodies, Protocol):
    """Letters by their places, and what is in them."""


def health(dynamodb: Any, sqs: Any, given: Settings) -> read_health.Ports:
    books = read_health.Books(
        _receipts(dynamodb, given), MinuteTable(dynamodb, given.receipts_table, time.time), time.time
    )
    gates = GateTable(dynamodb, given.gates_table, time.time)
    return read_health.Ports(books, ProbeQueue(sqs), gates, _Rates())


def trace(dynamodb: Any, ledger: Ledger, letters: Letters, given: Settings) -> trace_event.Ports:
    return trace_event.Ports(
        ledger=ledger,
        claims=ClaimReader(dynamodb, given.dedup_table),
        receipts=_receipts(dynamodb, given),
        notes=ProgressTable(dynamodb, given.progress_table, time.time),
        letters=letters,
        bodies=letters,
        clock=time.time,
    )


def alerts(dynamodb: Any, ledger: Ledger, given: Settings) -> AlertWorks:
    watched = AlertTable(dynamodb, given.gates_table, time.time)
    return AlertWorks(ledger, watched, given.alert_topics, given.allow_loopback)


def watch(client: Callable[[str], Any], store: raise_alerts.Store, given: Settings) -> raise_alerts.Ports:
    """For the gatekeeper's tick."""
    dynamodb = client("dynamodb")
    return raise_alerts.Ports(
        watched=AlertTable(dynamodb, given.gates_table, time.time),
        store=store,
        health=health(dynamodb, client("sqs"), given),
        tool=ToolHttp(NOTICE_TIMEOUT_S, given.allow_loopback),
        topics=AlertTopics(lambda: client("sns")),
        clock=time.time,
    )


class _Rates:
    """What a destination's own policy says."""

    def view(self, item: Destination) -> RateView:
        return RateView(item.delivery.requests_per_s, item.delivery.concurrency)


def _receipts(dynamodb: Any, given: Settings) -> ReceiptTable:
    """For reading: nothing is kept under an id."""
    return ReceiptTable(dynamodb, given.receipts_table, time.time, str)
