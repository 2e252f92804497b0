"""An SQS FIFO queue in high-throughput mode, as AWS documents it; held against a real API by its contract test.

Deduplication and order are per message group. A group is locked while one of its messages is in flight. A receive takes
as many messages of one group as it can, then of others, and looks no further than the first 120,000. Receipts are good
until the visibility time-out, and only the last one is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from penstock.domain.job import decode_job
from penstock.domain.overflow import parked_id
from penstock.errors import QueueGone
from penstock.steps.deliver import Message as Received
from penstock.steps.fan_out import Message as Outgoing

DEDUPLICATED_S = 300.0
KEPT_S = 14 * 86_400.0
LOOKED_AT = 120_000
MOST_IN_FLIGHT = 120_000
PARKED = parked_id("")
NEW, ABSORBED, LATE = "new", "absorbed", "late"  # sent again within five minutes, and after them


class ReceiptExpired(Exception):
    """The visibility time-out of that receive is over, or the message was received again since."""


class NotInFlight(Exception):
    """The message is visible: there is nothing to change."""


@dataclass
class Held:
    """One message that the queue holds; `receipt` is that of its last receive."""

    number: int
    group: str
    dedup_id: str
    body: str
    sent_at: float
    epoch_s: float  # the same, as the queue tells it
    visible_at: float = 0.0
    receives: int = 0
    first_received_at: float = 0.0
    receipt: str = ""
    was_hidden: bool = False  # by a consumer, rather than by the queue's own time-out
    holder: Any = None

    @property
    def id(self) -> str:
        return f"message-{self.number}"

    @property
    def job(self) -> str:
        """The job in it; what was parked in between comes back under another deduplication id."""
        return job_in(self.dedup_id, self.body)


@dataclass
class Fifo:
    clock: Callable[[], float]
    visibility_s: float = 360.0
    kept_s: float = KEPT_S
    began: float = 0.0  # epoch seconds when the clock shows none
    looked_at: int = LOOKED_AT
    most_in_flight: int = MOST_IN_FLIGHT
    held: OrderedDict[int, Held] = field(default_factory=OrderedDict)
    groups: dict[str, deque[Held]] = field(default_factory=dict)
    in_flight: dict[str, list[Held]] = field(default_factory=dict)
    by_receipt: dict[str, Held] = field(default_factory=dict)
    seen: dict[tuple[str, str], float] = field(default_factory=dict)
    expired: int = 0
    numbers: int = 0
    changed: Callable[[], None] = lambda: None

    def take(self, group: str, dedup_id: str, body: str) -> str:
        """The sender is told that it is taken, in any case; the simulator, as what."""
        now = self.clock()
        before = self.seen.get((group, dedup_id))
        if before is not None and now - before < DEDUPLICATED_S:
            return ABSORBED
        self.seen[group, dedup_id] = now
        self.numbers += 1
        message = Held(self.numbers, group, dedup_id, body, now, self.began + now)
        self.held[message.number] = message
        self.groups.setdefault(group, deque()).append(message)
        self.changed()
        return NEW if before is None else LATE

    def receive(self, most: int = 10) -> list[Held]:
        self._expire()
        found: list[Held] = []
        room = min(most, self.most_in_flight - sum(map(len, self._flying())))
        for waiting in self._open_groups():
            for message in islice(waiting, max(0, room - len(found))):
                self._hand_out(message)
                found.append(message)
            if len(found) >= room:
                break
        return found

    def delete(self, receipt: str) -> None:
        """Raises `ReceiptExpired`."""
        message = self._known(receipt)
        if message is None:
            return
        if message.visible_at <= self.clock():
            raise ReceiptExpired
        self._forget(message)
        self.changed()

    def change_visibility(self, receipt: str, seconds: float) -> None:
        """Raises `ReceiptExpired` or `NotInFlight`."""
        message = self._known(receipt)
        if message is None:
            raise ReceiptExpired
        if message.visible_at <= self.clock():
            raise NotInFlight
        message.visible_at = self.clock() + seconds
        message.was_hidden = True
        self.changed()

    def next_at(self) -> float | None:
        """When a receive may find something; None for a queue that holds nothing to wait for."""
        found = None
        for group in self.groups:
            at = max((each.visible_at for each in self.in_flight.get(group, ())), default=0.0)
            found = at if found is None else min(found, at)
        return found

    def _known(self, receipt: str) -> Held | None:
        """None for what is deleted already; deleting that again is no error."""
        message = self.by_receipt.get(receipt)
        if message is not None and message.receipt != receipt:
            raise ReceiptExpired
        return message if message is not None and message.number in self.held else None

    def _flying(self) -> Iterator[list[Held]]:
        """What is in flight of each group that has any."""
        now = self.clock()
        for group in list(self.in_flight):
            left = [each for each in self.in_flight[group] if each.visible_at > now]
            if left:
                self.in_flight[group] = left
                yield left
            else:
                del self.in_flight[group]

    def _open_groups(self) -> list[deque[Held]]:
        """The groups with nothing in flight, the one with the oldest message first."""
        reach = self._reach()
        waiting = [
            line for group, line in self.groups.items() if group not in self.in_flight and line[0].number <= reach
        ]
        return sorted(waiting, key=lambda line: line[0].number)

    def _reach(self) -> int:
        if len(self.held) <= self.looked_at:
            return self.numbers
        return next(islice(self.held, self.looked_at - 1, None))

    def _hand_out(self, message: Held) -> None:
        now = self.clock()
        message.receives += 1
        message.first_received_at = message.first_received_at or now
        message.receipt = f"receipt-{message.number}-{message.receives}"
        message.visible_at = now + self.visibility_s
        self.by_receipt[message.receipt] = message
        self.in_flight.setdefault(message.group, []).append(message)

    def _forget(self, message: Held) -> None:
        del self.held[message.number]
        line = self.groups[message.group]
        line.remove(message)
        if not line:
            del self.groups[message.group]
        self.in_flight[message.group] = [each for each in self.in_flight.get(message.group, ()) if each is not message]
        if not self.in_flight[message.group]:
            del self.in_flight[message.group]

    def _expire(self) -> None:
        """What was kept for too long is gone, whoever holds it."""
        oldest = self.clock() - self.kept_s
        for message in list(islice(self.held.values(), 1)):
            while message.sent_at <= oldest:
                self._forget(message)
                self.expired += 1
                if not self.held:
                    return
                message = next(iter(self.held.values()))


@dataclass
class Queues:
    """The queues by their URLs, as fan-out and deliver see them; one that is not there is gone."""

    clock: Callable[[], float]
    by_url: dict[str, Fifo] = field(default_factory=dict)
    began: float = 0.0
    on_taken: Callable[[str, Outgoing, str], None] = lambda url, message, as_what: None

    def make(self, queue_url: str, **fields: Any) -> Fifo:
        return self.by_url.setdefault(queue_url, Fifo(self.clock, began=self.began, **fields))

    def delete(self, queue_url: str) -> Fifo | None:
        return self.by_url.pop(queue_url, None)

    def send(self, queue_url: str, messages: Sequence[Outgoing]) -> set[str]:
        queue = self._queue(queue_url)
        for message in messages:
            self.on_taken(queue_url, message, queue.take(message.group, message.id, message.body))
        return set()

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        """What SQS does not change keeps the time-out that it has."""
        queue = self._queue(queue_url)
        for receipt, seconds in waits:
            try:
                queue.change_visibility(receipt, seconds)
            except (ReceiptExpired, NotInFlight):
                continue

    def _queue(self, queue_url: str) -> Fifo:
        if queue_url not in self.by_url:
            raise QueueGone("SQS: no such queue")
        return self.by_url[queue_url]


def job_in(dedup_id: str, body: str) -> str:
    return decode_job(body).id if dedup_id.startswith(PARKED) else dedup_id


def received(message: Held) -> Received:
    return Received(message.id, message.receipt, message.group, message.body, message.receives, message.epoch_s)
