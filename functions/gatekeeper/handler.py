"""Does the gatekeeper's chores: gates, sources above their quotas, alerts; and once a minute sends those that are due.

The tick also has sources move back, and goes on with the round in which books are counted. What fails keeps nothing
else of its batch or tick from being done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from aws_lambda_powertools import Logger

from penstock.errors import Unavailable
from penstock.steps import count_books, keep_gates, keep_quotas, raise_alerts
from penstock.wiring.gatekeeper import alert_ports, chore_in, count_ports, ports, quota_ports, threads

SOURCES = "src_"  # how the id of a source begins


@cache
def logger() -> Logger:
    return Logger(service="gatekeeper")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answers a batch of chores: none is handed out again, for what is left of one is due at the next tick.

    Only a source's is not; as long as that is above its quota, each window of ten seconds brings another.
    """
    if "Records" not in event:
        _tick()
        return {}
    chores = {chore_in(record["body"]) for record in event["Records"]}
    sources = {chore for chore in chores if chore[1].startswith(SOURCES)}
    lanes = {chore for chore in chores if chore[1].startswith(raise_alerts.ALERTS)}
    works = [partial(_move, workspace, quota_ports()) for workspace in {workspace for workspace, _ in sources}]
    works += [partial(_alert, *lane, alert_ports()) for lane in lanes]
    begun = [threads().submit(work) for work in works]
    states = keep_gates.tend_all(chores - sources - lanes, ports())
    told = [{"workspace": key[0], "destination": key[1], "gate": str(state)} for key, state in states.items()]
    logger().info("tended", gates=told)
    for each in begun:
        each.result()
    return {"batchItemFailures": []}


def _tick() -> None:
    """What takes time comes behind what only sends chores, and counting last: it takes all there is."""
    with _logged("gates"):
        logger().info("ticked", overdue=keep_gates.tick(ports()))
    with _logged("alerts"):
        logger().info("watched", destinations=raise_alerts.tick(alert_ports()))
    with _logged("moving"):
        _move_back(quota_ports())
    with _logged("counting"):
        logger().info("counted", **count_books.tick(count_ports())._asdict())


def _move(workspace: str, of: keep_quotas.Ports) -> None:
    with _logged("moving", workspace=workspace):
        logger().info("moving", workspace=workspace, sources=keep_quotas.look_at(workspace, of))


def _move_back(of: keep_quotas.Ports) -> None:
    looked = keep_quotas.tick(of)
    logger().info("moving", sources=looked.moved, all=looked.is_whole)
    for workspace, trouble in looked.troubles:
        logger().warning("not done", what="moving", workspace=workspace, trouble=trouble)


def _alert(workspace: str, lane: str, of: raise_alerts.Ports) -> None:
    for each in raise_alerts.raise_alerts(workspace, lane, of):
        logger().info("alert", notice=each.notice.id, workspace=workspace, taken=each.is_taken)


@contextmanager
def _logged(what: str, workspace: str | None = None) -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        logger().warning("not done", what=what, workspace=workspace, trouble=str(error))
