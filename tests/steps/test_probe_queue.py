"""A probe's jobs at the queue: what one call does not delete keeps no other call from its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from penstock.errors import QueueUnavailable
from penstock.steps.lane import Message
from penstock.steps.probe_queue import Sent, probe_queue


@dataclass
class Refusing:
    """Hands out jobs of as many users, ten at a time, and refuses the first call to delete any."""

    left: list[Message]
    deleted: list[str] = field(default_factory=list)
    calls: int = 0

    def receive(self, queue_url: str, hidden_s: int) -> Sequence[Message]:
        found, self.left = self.left[:10], self.left[10:]
        return found

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None:
        self.calls += 1
        if self.calls == 1:
            raise QueueUnavailable("injected")
        self.deleted += receipts

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        raise AssertionError("nothing is to be tried again")

    def waiting(self, queue_url: str) -> int:
        return len(self.left)


def test_what_one_call_does_not_delete_keeps_no_other_from_it_and_is_told() -> None:
    queue = Refusing([Message(str(number), f"r{number}", f"user {number}", "{}", 1, 0.0) for number in range(24)])
    with pytest.raises(QueueUnavailable):
        probe_queue("dst", "url", 24, queue, lambda *_: Sent(frozenset(), 24))
    assert queue.deleted == [f"r{number}" for number in range(10, 24)]
