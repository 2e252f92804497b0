"""The customers' tools: each goes through moods, and remembers what it really took, whatever it answered."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from greenlet import getcurrent

from penstock.domain.delivery import Answer, Trouble
from tests.simulation.lambdas import Invocation
from tests.simulation.weather import Weather

WELL = "well"
MOODS = (WELL, WELL, "failing", "down", "hanging", "lying", "limiting", "flaky", "slow", "forbidding", "moved")


class _Properties(msgspec.Struct):
    n: int


class _Event(msgspec.Struct, rename="camel"):
    message_id: str
    properties: _Properties


class Taken(NamedTuple):
    """One event that the tool took, by whom, and whether it answered the truth."""

    at: float
    message_id: str
    invocation: Invocation
    key: str
    lied: bool


@dataclass
class Site:
    """One destination's tool. A picky one refuses every seventh event for good."""

    name: str
    weather: Weather
    chance: random.Random
    moods: Sequence[tuple[float, str]] = ((float("inf"), WELL),)
    is_picky: bool = False
    taken: list[Taken] = field(default_factory=list)
    requests: int = 0
    _window: int = -1
    _in_window: int = 0

    @property
    def mood(self) -> str:
        now = self.weather.clock.now
        return next((mood for until, mood in self.moods if now < until), WELL)

    def answer(self, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        self.requests += 1
        task, clock, mood = getcurrent(), self.weather.clock, self.mood
        if self.weather.strikes(self.weather.odds.crash):
            task.of.crash("crashed before a request")
        event = _decode(body)
        if mood == "hanging":
            takes = self.chance.random() < 0.3
            return self._hang(event, headers, task.of, timeout_s * self.chance.random() if takes else None, timeout_s)
        takes_s = self.weather.between((2.0, 6.0) if mood == "slow" else (0.005, 0.2))
        if takes_s > timeout_s:
            return self._hang(event, headers, task.of, timeout_s, timeout_s)
        task.pause(clock.now + takes_s)
        answer = self._answer(mood, event, headers, task.of)
        if self.weather.strikes(self.weather.odds.crash):
            task.of.crash("crashed after a request")
        return answer

    def _hang(
        self, event: _Event, headers: Mapping[str, str], by: Invocation, takes_after_s: float | None, timeout_s: float
    ) -> Answer:
        """No answer in time; it may take the event all the same."""
        over_at = self.weather.clock.now + timeout_s
        if takes_after_s is not None and not self._refuses(event):
            getcurrent().pause(self.weather.clock.now + takes_after_s)
            self._take(event, headers, by, lied=True)
        getcurrent().pause(over_at)
        return Answer(None, trouble=Trouble.TIMEOUT)

    def _answer(self, mood: str, event: _Event, headers: Mapping[str, str], by: Invocation) -> Answer:
        drawn = self.chance.random()
        if mood == "failing" or (mood == "flaky" and drawn < 0.3):
            return Answer((500, 503, 502, 408, 423)[int(drawn * 5)], "5" if drawn > 0.8 else None)
        if mood == "down":
            return Answer(None, trouble=(Trouble.CONNECTION, Trouble.DNS, Trouble.TLS)[int(drawn * 3)])
        if mood == "forbidding" and drawn < 0.9:
            return Answer(401 if drawn < 0.5 else 403)
        if mood == "moved":
            return Answer(308)
        if mood == "limiting" and self._is_over():
            return Answer(429, "3")
        if self._refuses(event):
            return Answer(422, body=b"no sevens")
        if mood == "lying" and drawn < 0.5:
            self._take(event, headers, by, lied=True)
            return Answer(500) if drawn < 0.2 else Answer(None, trouble=Trouble.TIMEOUT)
        self._take(event, headers, by, lied=False)
        return Answer(200)

    def _refuses(self, event: _Event) -> bool:
        return self.is_picky and event.properties.n % 7 == 0

    def _is_over(self) -> bool:
        """More than two requests in one second."""
        second = int(self.weather.clock.now)
        self._in_window = self._in_window + 1 if second == self._window else 1
        self._window = second
        return self._in_window > 2

    def _take(self, event: _Event, headers: Mapping[str, str], by: Invocation, lied: bool) -> None:
        self.taken.append(Taken(self.weather.clock.now, event.message_id, by, headers["Idempotency-Key"], lied))


@dataclass
class Sites:
    """All tools by their URLs, as deliver's port."""

    by_url: dict[str, Site] = field(default_factory=dict)

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        return self.by_url[url].answer(headers, body, timeout_s)


_decode = msgspec.json.Decoder(_Event).decode


def moods(chance: random.Random, until: float) -> list[tuple[float, str]]:
    """A few moods until then, and well afterwards."""
    found, at = [], 0.0
    while at < until:
        at = min(at + until * chance.uniform(0.1, 0.6), until)
        found.append((at, chance.choice(MOODS)))
    return found
