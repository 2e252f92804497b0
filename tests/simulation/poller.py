"""Lambda's event source mapping of a queue: receives, invokes, and deletes what was not reported as failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from penstock.steps.deliver import Message
from tests.simulation.clock import Clock
from tests.simulation.fifo import Fifo, Held, ReceiptExpired, received
from tests.simulation.lambdas import Failed, Invocation
from tests.simulation.weather import Weather

BATCH_SIZE = 10
STALLS_S = (20.0, 420.0)
OUTLIVED = "outlived its visibility"
LOST_DELETION = "a deletion was lost"

# invokes the function with messages as they were received: the invocation, and the ids of those that it says failed
Carry = Callable[[Sequence[Held], Sequence[Message]], tuple[Invocation, Sequence[str]]]


class QueueMapping:
    """Up to `concurrency` batches of a queue at once."""

    def __init__(self, queue: Fifo, concurrency: int, carry: Carry, clock: Clock, weather: Weather) -> None:
        self.queue = queue
        self.is_on = True
        self.busy = 0
        self._concurrency = concurrency
        self._carry = carry
        self._clock = clock
        self._weather = weather
        self._looks_at: float | None = None
        queue.changed = self.look_soon
        self.look_soon()

    def switch(self, is_on: bool) -> None:
        self.is_on = is_on
        if is_on:
            self.look_soon()

    def look_soon(self) -> None:
        self._look_at(self._clock.now + self._weather.between((0.005, 0.05)))

    def _look_at(self, moment: float) -> None:
        if self._looks_at is None or moment < self._looks_at:
            self._looks_at = moment
            self._clock.at(moment, self._look, moment)

    def _look(self, moment: float) -> None:
        if moment != self._looks_at:
            return
        self._looks_at = None
        while self.is_on and self.busy < self._concurrency:
            messages = self.queue.receive(self._most())
            if not messages:
                break
            for message in messages:
                self._excuse_holder(message)
            self.busy += 1
            self._begin(messages, [received(each) for each in messages])
        at = self.queue.next_at() if self.is_on and self.busy < self._concurrency else None
        if at is not None:
            self._look_at(max(at, self._clock.now + 0.01))

    def _excuse_holder(self, message: Held) -> None:
        """Two Lambdas work on it now, if it came back by its time-out while somebody still had it."""
        if message.holder is not None and not message.holder.is_over and not message.was_hidden:
            message.holder.excuse(OUTLIVED, message.job)
            message.holder.echo(OUTLIVED, message.job)
        message.holder, message.was_hidden = None, False

    def _most(self) -> int:
        return 1 + int(self._weather.chance.random() * BATCH_SIZE)

    def _begin(self, messages: Sequence[Held], given: Sequence[Message]) -> None:
        self._clock.start(lambda: self._work_off(messages, given))

    def _work_off(self, messages: Sequence[Held], given: Sequence[Message]) -> None:
        try:
            if self._weather.strikes(self._weather.odds.stall):
                self._clock.sleep(self._weather.between(STALLS_S))  # no Lambda to be had
            if self._weather.strikes(self._weather.odds.throttle * 0.1):
                return  # never got one: the messages come back by themselves
            invocation, failed = self._carry(messages, given)
            if self._weather.strikes(self._weather.odds.lost_answer):
                invocation.excuse("the function's answer was lost")
                return
            for message, each in zip(messages, given, strict=True):
                if message.id not in failed:
                    self._delete(message, each.receipt, invocation)
        except Failed:
            pass
        finally:
            self.busy -= 1
            self.look_soon()

    def acknowledge(self, receipt: str) -> None:
        with suppress(ReceiptExpired):
            self.queue.delete(receipt)

    def _delete(self, message: Held, receipt: str, invocation: Invocation) -> None:
        if self._weather.strikes(self._weather.odds.lost_deletion):
            invocation.excuse(LOST_DELETION, message.job)
            return
        try:
            self.queue.delete(receipt)
        except ReceiptExpired:
            invocation.excuse(OUTLIVED, message.job)
