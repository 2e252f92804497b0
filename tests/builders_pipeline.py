"""Runs, jobs and destinations for tests, each field overridable."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw

from penstock.domain.job import Job, encode_job, group_of
from penstock.domain.routing import Route
from penstock.domain.run import Run, encode_run
from penstock.domain.webhook import Webhook
from penstock.steps.fan_out import Record
from penstock.steps.lane import Message
from penstock.steps.settle import Batch

WORKSPACE, SOURCE, DESTINATION = "ws_aaaaaaaaaaaa", "src_aaaaaaaaaaaa", "dst_aaaaaaaaaaaa"
SHARD = "shardId-000000000000"
ARRIVED_AT = 1_795_449_600.123  # 2026-11-23T16:00:00.123Z
SENT_AT = 1_795_449_600.0  # 2026-11-23T16:00:00Z


def raw(value: Any) -> Raw:
    return Raw(value if isinstance(value, bytes) else json.dumps(value).encode())


def event(number: int = 1, **fields: Any) -> dict[str, Any]:
    plain = {"type": "track", "event": "Counted", "messageId": f"m-{number}", "properties": {"n": number}}
    return plain | {"timestamp": "2026-11-23T16:00:00.000Z"} | fields


def run_of(*events: Any, key: str = "ada", **fields: Any) -> Run:
    shared = {name: raw(fields.pop(name)) for name in ("context", "integrations") if name in fields}
    given = [raw(each) for each in (events or (event(),))]
    plain = {"v": 1, "workspace": WORKSPACE, "source": SOURCE, "received_at": "2026-11-23T16:00:00.123Z"}
    return Run(**(plain | {"key": key, "events": given} | shared | fields))


def record_of(run: Run, number: int = 1, shard: str = SHARD, arrived_at: float = ARRIVED_AT) -> Record:
    return Record(f"{shard}-{number:056d}", encode_run(run), arrived_at)


def route(id_: str = DESTINATION, **fields: Any) -> Route:
    plain = {"id": id_, "name": "Webhook A", "enabled": True, "source_ids": frozenset([SOURCE]), "subscription": None}
    return Route(**(plain | {"queue_url": url_of(id_)} | fields))


def url_of(destination: str) -> str:
    return f"https://sqs.us-east-1.amazonaws.com/123456789012/penstock-test-d-{destination}.fifo"


def webhook(**fields: Any) -> Webhook:
    return Webhook(**({"enabled": True, "url": "https://example.com/hook", "headers": {}, "secret": None} | fields))


def job_of(run: Run, number: int = 1, destination: str = DESTINATION) -> Job:
    return Job(1, f"{SHARD}-{number:056d}-0", destination, run)


def message(job: Job | str, receives: int = 1, **fields: Any) -> Message:
    body = job if isinstance(job, str) else encode_job(job)
    group = "group" if isinstance(job, str) else group_of(job.run.source, job.run.key)
    name = str(abs(hash(body)))
    usual = {"id": f"id-{name}", "receipt": f"r-{name}", "group": group, "body": body, "sent_at": SENT_AT}
    return Message(**(usual | fields), receives=receives)


def batch(*messages: Message, destination: str = DESTINATION) -> Batch:
    return Batch(destination, url_of(destination), messages)


def plain(value: Raw) -> Any:
    return msgspec.json.decode(value)
