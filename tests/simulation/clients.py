"""Clients: each sends its users' events in order, and sends a request again until it has seen a 200."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.errors import Unavailable
from penstock.steps.collect import Call
from tests.simulation.clock import Clock

MOST_TRIES = 12
LONGEST_PAUSE_S = 20.0

Post = Callable[[Call], int]  # the status that the client sees; raises `Unseen`


class Unseen(Exception):
    """No answer came back: what became of the request is not known."""


@dataclass(frozen=True)
class Event:
    """What the simulator knows of an event that a client made."""

    message_id: str
    source: str
    key: str
    n: int


@dataclass(frozen=True)
class Request:
    """`after_s` since the one before; all its events of a user in order."""

    after_s: float
    body: bytes
    events: Sequence[Event]


class Client:
    """One device or server: one request after the other."""

    def __init__(self, name: str, write_key: str, requests: Sequence[Request], clock: Clock, post: Post) -> None:
        self.name = name
        self.requests = requests
        self.is_done = False
        self._write_key = write_key
        self._clock = clock
        self._post = post

    def live(self) -> None:
        for request in self.requests:
            self._clock.sleep(request.after_s)
            self._send(request)
        self.is_done = True

    def _send(self, request: Request) -> None:
        """Until it is seen to be accepted; a client that loses patience goes on with the next."""
        call = Call(request.body, None, self._write_key, None)
        for attempt in range(MOST_TRIES):
            try:
                if self._post(call) == 200:
                    return
            except (Unseen, Unavailable):
                pass
            self._clock.sleep(min(0.5 * 2.0**attempt, LONGEST_PAUSE_S))


def requests(
    chance: random.Random, source: str, users: Sequence[str], name: str, count: int, until: float
) -> list[Request]:
    """So many requests over that time, some of them in bursts."""
    found, n = [], 0
    pace = until / (count + 1)
    is_bursty = chance.random() < 0.3
    widest = chance.choice((3, 9, 9, 40))  # events in one request
    for _ in range(count):
        events, texts = [], []
        for _ in range(1 + int(chance.random() ** 2 * widest)):
            n += 1
            key = users[int(chance.random() * len(users))]
            event = Event(f"{name}-{n}", source, key, n)
            events.append(event)
            texts.append(_text(event))
        after_s = 0.0 if is_bursty and chance.random() < 0.8 else pace * 2 * chance.random()
        found.append(Request(after_s, f'{{"batch":[{",".join(texts)}]}}'.encode(), events))
    return found


def _text(event: Event) -> str:
    who = "userId" if event.key.startswith("u") else "anonymousId"
    return (
        f'{{"type":"track","event":"Counted","messageId":"{event.message_id}","{who}":"{event.key}",'
        f'"timestamp":"2026-11-23T16:00:00.000Z","properties":{{"n":{event.n}}}}}'
    )
