"""What health, trace and alerts work with: parts of what the control function and the gatekeeper have."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any, Protocol

from penstock.adapters.alert_table import AlertTable
from penstock.adapters.alert_topics import AlertTopics
from penstock.adapters.chores import ChoreQueue
from penstock.adapters.claim_reader import ClaimReader
from penstock.adapters.gate_table import GateTable
from penstock.adapters.minute_table import MinuteTable
from penstock.adapters.overflow_table import OverflowTable
from penstock.adapters.probe_queue import ProbeQueue
from penstock.adapters.progress import ProgressTable
from penstock.adapters.rate_table import RateTable
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.round_table import RoundTable
from penstock.adapters.tool_http import ToolHttp
from penstock.domain import rate
from penstock.domain.audit import iso
from penstock.domain.destinations import Destination
from penstock.domain.health import RateView
from penstock.settings import Settings
from penstock.steps import count_books, raise_alerts, read_health, trace_event
from penstock.steps.keep_alerts import AlertWorks
from penstock.steps.record import Ledger

NOTICE_TIMEOUT_S = 5.0
MEASURED_AT_ONCE = 2  # destinations, each in as much as a quarter of a function's memory (`docs/scale.md`)


class Letters(trace_event.LetterIndex, trace_event.LetterBodies, Protocol):
    """Letters by their places, and what is in them."""


def health(dynamodb: Any, sqs: Any, given: Settings) -> read_health.Ports:
    gates = GateTable(dynamodb, given.gates_table, time.time)
    tables = given.overflow_table, given.dedup_table, given.gates_table
    overflow = OverflowTable(dynamodb, *tables, time.time, time.sleep)
    return read_health.Ports(
        _books(dynamodb, given), ProbeQueue(sqs), overflow, gates, _Rates(RateTable(dynamodb, given.gates_table))
    )


def counting(dynamodb: Any, store: count_books.Store, given: Settings) -> count_books.Ports:
    """For the gatekeeper's tick."""
    return count_books.Ports(RoundTable(dynamodb, given.gates_table), store, _books(dynamodb, given))


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
    """For the gatekeeper."""
    dynamodb = client("dynamodb")
    return raise_alerts.Ports(
        watched=AlertTable(dynamodb, given.gates_table, time.time),
        store=store,
        health=health(dynamodb, client("sqs"), given),
        tool=ToolHttp(NOTICE_TIMEOUT_S, given.allow_loopback),
        topics=AlertTopics(lambda: client("sns")),
        chores=ChoreQueue(client("sqs"), given.chores_url),
        clock=time.time,
        room=BoundedSemaphore(MEASURED_AT_ONCE),
    )


class _Rates:
    """What a destination's own policy says, or what it has taught by answering 429."""

    def __init__(self, table: RateTable) -> None:
        self._table = table

    def view(self, item: Destination) -> RateView:
        state = self._table.read(item.workspace_id, item.id)
        paused_until = iso(state.pause_until) if state.pause_until > time.time() else None
        return RateView(rate.limit_of(state, item.delivery), item.delivery.concurrency, paused_until)


def _books(dynamodb: Any, given: Settings) -> read_health.Books:
    counted = MinuteTable(dynamodb, given.receipts_table, time.time)
    return read_health.Books(_receipts(dynamodb, given), counted, time.time)


def _receipts(dynamodb: Any, given: Settings) -> ReceiptTable:
    """For reading: nothing is kept under an id."""
    return ReceiptTable(dynamodb, given.receipts_table, time.time, str)
