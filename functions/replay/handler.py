"""Puts dead and discarded events on a queue once more, a step at a time."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from penstock.errors import Unavailable
from penstock.steps.replay_letters import replay_letters
from penstock.wiring.replay import ports, ticket_in

MARGIN_S = 25.0  # a page of letters, each of which waits for its own acknowledgement


class Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


@cache
def logger() -> Logger:
    return Logger(service="replay")


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answers a batch of tickets: those whose step failed come again when their time-out ends."""
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]}
            for record in event["Records"]
            if not _is_worked_on(record["body"], context)
        ]
    }


def _is_worked_on(body: str, context: Context) -> bool:
    ticket = ticket_in(body)
    try:
        outcome = replay_letters(ticket, ports(), lambda: context.get_remaining_time_in_millis() > 1000 * MARGIN_S)
    except Unavailable as error:
        logger().warning("not replayed", workspace=ticket.workspace, replay=ticket.replay, trouble=str(error))
        return False
    logger().info(
        "replayed",
        workspace=ticket.workspace,
        destination=ticket.destination,
        replay=ticket.replay,
        outcome=outcome.value,
    )
    return True
