"""Looks after gates: those that chores name, and once a minute, woken by the scheduler, those that are overdue.

The tick also raises alerts, has sources move back, and goes on with the round in which books are counted.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from penstock.steps import count_books, keep_quotas
from penstock.steps.keep_gates import tend_all, tick
from penstock.steps.raise_alerts import raise_alerts
from penstock.wiring.gatekeeper import alert_ports, chore_in, count_ports, ports, quota_ports

SOURCES = "src_"  # how the id of a source begins


@cache
def logger() -> Logger:
    return Logger(service="gatekeeper")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answers a batch of chores: none is handed out again, for what is left of one is overdue at the next tick."""
    if "Records" not in event:
        logger().info("ticked", overdue=tick(ports()))
        for each in raise_alerts(alert_ports()):
            logger().info("alert", notice=each.notice.id, workspace=each.notice.workspace, taken=each.is_taken)
        logger().info("moving", sources=keep_quotas.tick(quota_ports()))
        logger().info("counted", **count_books.tick(count_ports())._asdict())
        return {}
    chores = [chore_in(record["body"]) for record in event["Records"]]
    for workspace in {workspace for workspace, what in chores if what.startswith(SOURCES)}:
        logger().info("moving", workspace=workspace, sources=keep_quotas.look_at(workspace, quota_ports()))
    states = tend_all((chore for chore in chores if not chore[1].startswith(SOURCES)), ports())
    told = [{"workspace": key[0], "destination": key[1], "gate": str(state)} for key, state in states.items()]
    logger().info("tended", gates=told)
    return {"batchItemFailures": []}
