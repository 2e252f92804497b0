"""A destination with letters, another one, and replays of them, over stand-ins of everything around."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.domain import letters
from penstock.domain.books import CreatedReceipt, add_up
from penstock.domain.job import decode_job, group_of
from penstock.domain.letters import Letter
from penstock.domain.replays import Replay, Ticket
from penstock.domain.routing import Route
from penstock.errors import QueueUnavailable, StoreUnavailable
from penstock.steps.keep_letters import KeepLetters
from penstock.steps.replay_letters import LANE, Message, Outcome, Ports, replay_letters
from tests.builders_letters import LATER, REPLAY, replay
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, route, url_of
from tests.fakes_control import Crash, Faults
from tests.fakes_letters import MemoryBodies, MemoryLetters, MemoryReplays, MemoryTickets
from tests.fakes_pipeline import Clock, MemoryQueues

OTHER = "dst_bbbbbbbbbbbb"
HIDDEN_S = 90  # for how long a ticket that was taken stays away when its function dies
TICKET = Ticket(WORKSPACE, DESTINATION, REPLAY)
Key = tuple[str, str]


class Queues(MemoryQueues):
    """A queue that refuses the first `refusals` jobs that it is given, and knows its depth."""

    refusals = 0

    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        assert len({message.group for message in messages}) == len(messages) <= 10
        refused = {message.id for message in messages[: self.refusals]}
        self.refusals -= len(refused)
        super().send(queue_url, [message for message in messages if message.id not in refused])
        return refused

    def waiting(self, queue_url: str) -> int:
        return len(self._queue(queue_url).held)


@dataclass
class Receipts:
    rows: dict[Key, list[CreatedReceipt]] = field(default_factory=lambda: defaultdict(list))

    def keep_created(self, workspace: str, destination: str, receipt: CreatedReceipt) -> None:
        self.rows[workspace, destination].append(receipt)


@dataclass
class Targets:
    routes: dict[str, Route]

    def find(self, workspace: str, destination: str) -> Route | None:
        return self.routes.get(destination) if workspace == WORKSPACE else None


class Hub:
    """A destination with letters, another one, and one replay."""

    def __init__(self, found: Sequence[Letter], made: Replay | None = None, page: int = 500) -> None:
        self.clock, self._numbers = Clock(), 0
        self.bodies, self.index = MemoryBodies(), MemoryLetters(self.clock, page)
        self.queues, self.receipts, self.replays = Queues(self.clock), Receipts(), MemoryReplays()
        self.tickets, self.targets = MemoryTickets(), Targets({DESTINATION: route(), OTHER: route(OTHER)})
        for destination in (DESTINATION, OTHER):
            self.queues.make(url_of(destination))
        self.keep(found)
        self.made = made or replay()
        self.replays._put(self.made, None)
        self.replays.enter(WORKSPACE, DESTINATION, self.made.id, 20)

    def keep(self, found: Sequence[Letter]) -> None:
        retention: Any = {WORKSPACE: 30}
        KeepLetters(self.bodies, self.index, retention, self.clock, self.new_id).keep(WORKSPACE, DESTINATION, found)

    def new_id(self) -> str:
        self._numbers += 1
        return f"id-{self._numbers}"

    def ports(self, faults: Faults | None = None) -> Ports:
        around: Callable[..., Any] = faults.around if faults else lambda port, *_: port
        return Ports(
            index=around(self.index, "claim", "mark"),
            bodies=around(self.bodies, "read"),
            replays=around(self.replays, "change", "leave"),
            targets=self.targets,
            queues=around(self.queues, "send"),
            receipts=around(self.receipts, "keep_created"),
            tickets=around(self.tickets, "put"),
            now=lambda: LATER,
            new_id=self.new_id,
            sleep=lambda _: None,
        )

    def run(self, ports: Ports | None = None, has_time: Callable[[], bool] = lambda: True) -> Outcome:
        return replay_letters(TICKET, ports or self.ports(), has_time)

    def to_its_end(self, turns: int = 1_000, first: Ports | None = None, steps_per_ticket: int = 1_000) -> None:
        """As Lambda works tickets off: one that ends badly comes again after its time-out."""
        waiting = [TICKET]
        ports = first or self.ports()
        for _ in range(turns):
            if not waiting:
                return
            ticket, seen = waiting.pop(0), len(self.tickets.put_)
            left = iter([True] * steps_per_ticket)
            try:
                replay_letters(ticket, ports, lambda left=left: next(left, False))  # type: ignore[misc]
            except (Crash, StoreUnavailable, QueueUnavailable):
                self.clock.now += HIDDEN_S
                waiting.append(ticket)
            waiting += [each for each, _ in self.tickets.put_[seen:]]
            ports = self.ports() if first is None else ports
        raise AssertionError("it never ends")

    @property
    def state(self) -> Replay:
        found = self.replays.find(WORKSPACE, DESTINATION, REPLAY)
        assert found is not None
        return found

    def sent(self, destination: str = DESTINATION, replays: Sequence[str] = (REPLAY,)) -> dict[str, list[str]]:
        """By key, the places of the events in the order of the queue; all of them came by one of the replays."""
        by_key: dict[str, list[str]] = defaultdict(list)
        for held in self.queues.queues[url_of(destination)].held:
            job = decode_job(held.body)
            assert held.group == group_of(SOURCE, LANE + job.run.key)
            assert (job.replay in replays, job.destination) == (True, destination)
            by_key[job.run.key].append(letters.event_at(letters.place_of(job.id, 0, job.run.turn)))
        return by_key

    def created(self, destination: str = DESTINATION) -> int:
        return add_up(self.receipts.rows[WORKSPACE, destination]).created


def in_order(found: Sequence[Letter]) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = defaultdict(list)
    for each in sorted(found, key=lambda each: each.place):
        by_key[each.run.key].append(each.place)
    return by_key
