"""What replays letters, with the queue of its tickets."""

from __future__ import annotations

from aws_cdk import Duration, Stack

from infra import rights
from infra.functions import Maker
from infra.settings import Environments
from infra.stages import Stage
from infra.work_queue import Work, add_work

TIMEOUT_S = 60
HIDDEN_S = 90  # with the time of a step less than the five minutes for which a queue knows its jobs again
STEPS_AT_ONCE = 5
NO_DEAD_TICKETS = "Every step puts a new ticket; what fails comes again until it works, for a day."


def add_replay(stack: Stack, stage: Stage, maker: Maker, on: rights.Resources, given: Environments) -> None:
    made = maker.function(stack, "replay", rights.replay(on), given.replay, timeout_s=TIMEOUT_S)
    tickets = Work(
        "Replays",
        stage.replays,
        hidden_s=HIDDEN_S,
        kept=Duration.days(14),
        at_once=1,
        batches_at_once=STEPS_AT_ONCE,
        why_no_dead=NO_DEAD_TICKETS,
    )
    add_work(stack, tickets, made)
