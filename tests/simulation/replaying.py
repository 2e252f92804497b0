"""Letters and their replays: what was given up goes on a queue once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock.domain import replays
from penstock.domain.event import iso
from penstock.domain.letter_index import LetterFilter
from penstock.domain.letters import Letter, decode_letter
from penstock.domain.replays import Replay, Ticket
from penstock.domain.routing import Route
from penstock.errors import QueueGone
from penstock.steps.replay_letters import Outcome, replay_letters
from tests.fakes_letters import MemoryBodies, MemoryLetters, MemoryReplays
from tests.simulation.clock import Clock
from tests.simulation.fifo import Queues
from tests.simulation.lambdas import Failed, Function
from tests.simulation.stores import Config
from tests.simulation.weather import Weather

AGAIN_S = 90.0  # a ticket whose invocation died comes again
MARGIN_S = 25.0
RETENTION_DAYS = 30


@dataclass
class Letterbox:
    """All letters: bodies and index."""

    clock: Callable[[], float]
    bodies: MemoryBodies = field(default_factory=MemoryBodies)
    index: MemoryLetters = field(init=False)

    def __post_init__(self) -> None:
        self.index = MemoryLetters(self.clock)

    def letters(self, workspace: str, destination: str) -> list[Letter]:
        rows = self.index.rows.get((workspace, destination), {})
        return [decode_letter(self.bodies.objects[row.object][row.slot]) for row in rows.values()]


class Retention:
    def get(self, workspace: str) -> int:
        return RETENTION_DAYS


class Targets:
    def __init__(self, config: Config) -> None:
        self._config = config

    def find(self, workspace: str, destination: str) -> Route | None:
        return self._config.now(destination).route


class ReplayQueues:
    """The destinations' queues as a replay fills them; `send` is the same that fan-out has."""

    def __init__(self, send: Any, queues: Queues) -> None:
        self.send = send
        self._queues = queues

    def waiting(self, queue_url: str) -> int:
        found = self._queues.by_url.get(queue_url)
        if found is None:
            raise QueueGone("SQS: no such queue")
        return len(found.held)


@dataclass
class Tickets:
    """The queue of tickets: each comes once, or twice, or again after a crash."""

    clock: Clock
    weather: Weather
    function: Function[Any]
    tell: Callable[..., None]
    waiting: int = 0

    def put(self, ticket: Ticket, delay_s: int) -> None:
        for _ in range(2 if self.weather.strikes(self.weather.odds.twice) else 1):
            self.waiting += 1
            self.clock.at(self.clock.now + delay_s + self.weather.between((0.01, 1.0)), self._begin, ticket)

    def _begin(self, ticket: Ticket) -> None:
        self.clock.start(lambda: self._work_off(ticket))

    def _work_off(self, ticket: Ticket) -> None:
        while True:
            try:
                _, outcome = self.function.invoke(
                    lambda ports, its: replay_letters(ticket, ports, lambda: its.has(MARGIN_S))
                )
            except Failed as failed:
                self.tell("replay", ticket.destination, str(failed))
                self.clock.sleep(AGAIN_S)
                continue
            self.tell("replay", ticket.destination, outcome)
            self.waiting -= 1
            assert isinstance(outcome, Outcome)
            return


def begin(store: MemoryReplays, workspace: str, destination: str, now: datetime) -> Ticket:
    """What a person begins by the control API: all letters until now that were not replayed yet."""
    replay = Replay(
        workspace=workspace,
        destination=destination,
        id=replays.new_id(now.timestamp(), f"{len(store.rows):04d}"),
        filter=LetterFilter(to=now),
        target=destination,
        created_at=iso(now),
        updated_at=iso(now),
    )
    store.create(replay, None)  # type: ignore[arg-type]
    return replay.ticket


def are_live(store: MemoryReplays) -> bool:
    found: Sequence[Replay] = list(store.rows.values())
    return any(each.is_live for each in found)
