"""Puts dead and discarded events on a queue once more, a step at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from penstock.domain.replays import Ticket
from penstock.errors import Unavailable
from penstock.steps.replay_letters import BROKEN, GIVEN_UP, fail_replay, replay_letters
from penstock.wiring.replay import ports, ticket_in

STEP_S = 5.0  # then the next replay's turn comes: with five at once and a workspace's twenty before it, in 20 s
MARGIN_S = 25.0  # a page of letters, each of which waits for its own acknowledgement
MOST_RECEIVES = 960  # every 90 s: a step that fails for a day


class Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


@cache
def logger() -> Logger:
    return Logger(service="replay")


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answers a batch of tickets: those for which something did not answer come again when their time-out ends."""
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]} for record in event["Records"] if not _is_done(record, context)
        ]
    }


def _is_done(record: dict[str, Any], context: Context) -> bool:
    ticket = ticket_in(record["body"])
    receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
    try:
        if receives > MOST_RECEIVES:
            return _is_failed(ticket, GIVEN_UP)
        _work_on(ticket, context)
    except Unavailable as error:
        logger().warning("not replayed", workspace=ticket.workspace, replay=ticket.replay, trouble=str(error))
        return False
    except Exception:  # noqa: BLE001 - the outermost edge: the same ticket would break the same way for ever
        logger().exception("a ticket breaks the replay", workspace=ticket.workspace, replay=ticket.replay)
        return _is_failed(ticket, BROKEN)
    return True


def _work_on(ticket: Ticket, context: Context) -> None:
    outcome = replay_letters(ticket, ports(), step(context, time.monotonic))
    logger().info(
        "replayed",
        workspace=ticket.workspace,
        destination=ticket.destination,
        replay=ticket.replay,
        outcome=outcome.value,
    )


def step(context: Context, clock: Callable[[], float]) -> Callable[[], bool]:
    """Whether a step that begins now has time for another page."""
    until = clock() + STEP_S
    return lambda: clock() < until and context.get_remaining_time_in_millis() > 1000 * MARGIN_S


def _is_failed(ticket: Ticket, reason: str) -> bool:
    """Whether its replay has ended; a ticket whose replay nobody can read is let go."""
    try:
        fail_replay(ticket, reason, ports())
    except Unavailable as error:
        logger().warning("not failed", workspace=ticket.workspace, replay=ticket.replay, trouble=str(error))
        return False
    except Exception:  # noqa: BLE001 - the outermost edge
        logger().exception("a replay cannot be read", workspace=ticket.workspace, replay=ticket.replay)
        return True
    logger().warning("failed", workspace=ticket.workspace, replay=ticket.replay, reason=reason)
    return True
