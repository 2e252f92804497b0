"""What deliver's two functions, the gatekeeper and the control API do for gates, all of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import boto3
from msgspec import Raw

from penstock.adapters.gate_table import GateTable
from penstock.adapters.progress import ProgressTable
from penstock.domain import gate
from penstock.domain import gate_moves as moves
from penstock.domain.job import Job, encode_job, group_of
from penstock.domain.run import Run
from penstock.wiring import deliver
from tests.infra.iam_calls import ACCOUNT, REGION

Json = dict[str, Any]
Call = Callable[..., Any]
FORBIDDEN, DOWN, REFUSED, UP = 401, 503, 400, 200
ONE = "/control/destinations/{destination_id}"

_numbers = count(1)


class Sick:
    """A destination of its own, whose tool's answers are set."""

    def __init__(self, control: Call, made: Json, tool: Any) -> None:
        token, self.source = made["token"], made["source"]["id"]
        body = {"name": "Sick", "type": "webhook", "settings": {"url": tool.url, "secret": "s"}}
        self.id = str(control("POST", "/control/destinations", token, body)["id"])
        self.workspace = str(token.split(".")[1])
        self.queue = boto3.client("sqs").get_queue_url(QueueName=f"penstock-dev-d-{self.id}.fifo")["QueueUrl"]
        self.book = GateTable(boto3.client("dynamodb"), "penstock-dev-gates", a_while_ago)

    def put(self, *users: str) -> list[Json]:
        """A job of each user, and how the poller shows it that comes for the second time."""
        return [self._put(user) for user in users]

    def _put(self, user: str) -> Json:
        event = Raw(json.dumps({"type": "track", "event": "Seen", "messageId": "m"}).encode())
        run = Run(1, self.workspace, self.source, user, "2026-11-23T16:00:00.123Z", [event])
        job = Job(1, f"shardId-000000000000-{next(_numbers):056d}-0", self.id, run)
        group, body = group_of(run.source, run.key), encode_job(job)
        boto3.client("sqs").send_message(
            QueueUrl=self.queue, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=job.id
        )
        return {
            "messageId": job.id,
            "receiptHandle": "-",
            "body": body,
            "attributes": {
                "MessageGroupId": group,
                "ApproximateReceiveCount": "2",
                "SentTimestamp": f"{time.time() * 1000:.0f}",
            },
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:penstock-dev-d-{self.id}.fifo",
        }

    def show_again(self) -> None:
        sqs = boto3.client("sqs")
        for message in sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)["Messages"]:
            sqs.change_message_visibility(
                QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )

    def returns(self, job: Json) -> int:
        """How often deliver has noted that it gave the job back."""
        notes = ProgressTable(boto3.client("dynamodb"), "penstock-dev-progress", time.time)
        noted = notes.read(self.workspace, self.id, job["messageId"])
        return noted.returns if noted else 0

    def close(self) -> None:
        """Closed a while ago, and looked after by nobody since."""
        self.book.forget(self.workspace, self.id)
        open_gate = self.book.read(self.workspace, self.id)
        self.book.save(self.workspace, self.id, open_gate, moves.closed(open_gate, gate.FAILING, a_while_ago()))


def a_while_ago() -> float:
    return time.time() - 120


def gates(call: Call, control: Call, made: Json, tool: Any) -> None:
    """Destinations that fail in every way, are stopped, probed in vain and with success, paused and resumed."""
    for function in ("deliver", "deliver_slow"):
        fails_in_every_way(call, function, Sick(control, made, tool), tool)
    for tool.status in (DOWN, REFUSED, UP):
        sick = Sick(control, made, tool)
        probed(call, sick, opens=tool.status != DOWN)
    token = made["token"]
    control("POST", f"{ONE}/pause", token, {"reason": "x"}, destination_id=sick.id)
    tend(call, sick.workspace, sick.id)
    control("POST", f"{ONE}/resume", token, destination_id=sick.id)
    tend(call, sick.workspace, sick.id)
    assert control("GET", f"{ONE}/gate", token, destination_id=sick.id)["state"] == "open"
    sick.book.strike(sick.workspace, "dst_000000000000", ["ada"], 0.0)
    tend(call, sick.workspace, "dst_000000000000")


def fails_in_every_way(call: Call, function: str, sick: Sick, tool: Any) -> None:
    """The first answer closes the gate, which holds what comes meanwhile, and is then forgotten.

    Jobs that are given back untried, behind another of their user or by the gate, are noted like those that failed.
    """
    for tool.status in (FORBIDDEN, DOWN, REFUSED, UP):
        deliver.ports.cache_clear()
        jobs = sick.put("ada", "ada", "grace", "alan")
        call(function, {"Records": jobs}, PENSTOCK_ALLOW_LOOPBACK="true")
        if tool.status == FORBIDDEN:
            assert sick.book.read(sick.workspace, sick.id).state is gate.GateState.CLOSED
            assert all(sick.returns(job) == 1 for job in jobs), jobs
            held = sick.put("ada")
            deliver.ports.cache_clear()
            call(function, {"Records": held}, PENSTOCK_ALLOW_LOOPBACK="true")
            assert sick.returns(held[0]) == 1, held
            sick.book.forget(sick.workspace, sick.id)
    deliver.ports.cache_clear()


def probed(call: Call, sick: Sick, *, opens: bool) -> None:
    """A closed gate that the tick finds; the jobs of one that stays closed come again, one behind the other."""
    sick.put("ada")  # moto counts the receives of several jobs wrongly
    if not opens:
        sick.put("ada")
        sick.show_again()
    sick.close()
    call("gatekeeper", {"tick": True}, PENSTOCK_ALLOW_LOOPBACK="true")
    tend(call, sick.workspace, sick.id)
    found = sick.book.read(sick.workspace, sick.id)
    assert (found.state is gate.GateState.OPEN) is opens, found


def tend(call: Call, workspace: str, destination: str, **environment: str) -> None:
    body = json.dumps({"workspace": workspace, "destination": destination})
    call("gatekeeper", {"Records": [{"body": body}]}, PENSTOCK_ALLOW_LOOPBACK="true", **environment)
