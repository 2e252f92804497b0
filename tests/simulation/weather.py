"""What goes wrong, by chance: drawn from one seed, and over when the weather is calm."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from greenlet import getcurrent

from penstock.errors import Unavailable
from tests.simulation.clock import Clock

T = TypeVar("T")

QUICK_S = (0.002, 0.03)
HANGS_S = (3.0, 40.0)


@dataclass(frozen=True)
class Odds:
    """How likely each trouble is, each time. Every seed draws its own, and leaves many out."""

    crash: float = 0.0  # of a Lambda, before or after any of its effects
    refusal: float = 0.0  # of an effect that was not done
    silence: float = 0.0  # after an effect that was done
    hang: float = 0.0  # an effect that takes its time
    throttle: float = 0.0  # of single entries of a call, and of an invocation by its poller
    stall: float = 0.0  # of a poller, for minutes, with messages in its hands
    twice: float = 0.0  # a batch is handed over again although all went well
    lost_deletion: float = 0.0
    lost_answer: float = 0.0  # the function answers and its poller does not hear it


def drawn(chance: random.Random) -> Odds:
    """Each kind of trouble is absent, rare or frequent, by itself."""

    def odds(rare: float, frequent: float) -> float:
        return chance.choice((0.0, rare, rare, frequent))

    return Odds(
        crash=odds(0.002, 0.02),
        refusal=odds(0.01, 0.06),
        silence=odds(0.005, 0.04),
        hang=odds(0.002, 0.01),
        throttle=odds(0.05, 0.4),
        stall=odds(0.01, 0.06),
        twice=odds(0.01, 0.1),
        lost_deletion=odds(0.01, 0.1),
        lost_answer=odds(0.005, 0.03),
    )


class Weather:
    def __init__(self, clock: Clock, chance: random.Random, odds: Odds) -> None:
        self.clock = clock
        self.chance = chance
        self.odds = odds
        self._draw = chance.random
        self._struck = (odds.crash, odds.crash + odds.refusal, odds.crash + odds.refusal + odds.hang)
        self._struck_after = (odds.crash, odds.crash + odds.silence)

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.odds = Odds()
        self._struck, self._struck_after = (0.0, 0.0, 0.0), (0.0, 0.0)

    def strikes(self, probability: float) -> bool:
        return probability > 0.0 and self._draw() < probability

    def between(self, span: tuple[float, float]) -> float:
        return span[0] + (span[1] - span[0]) * self._draw()

    def effect(self, act: Callable[[], T], trouble: type[Unavailable]) -> T:
        """Do it, after a while, or not, or without an answer, or with a crash before or after."""
        task = getcurrent()
        crash, refusal, hang = self._struck
        drawn = self._draw()
        slow = refusal <= drawn < hang
        task.pause(self.clock.now + self.between(HANGS_S if slow else QUICK_S))
        if drawn < refusal:
            if drawn < crash:
                task.of.crash("crashed before an effect")
            raise trouble("injected, not done")
        done = act()
        crash, silence = self._struck_after
        drawn = self._draw()
        if drawn < silence:
            if drawn < crash:
                task.of.crash("crashed after an effect")
            raise trouble("injected, though done")
        return done


class Effects:
    """Any port whose every method is an effect on something outside."""

    def __init__(self, port: Any, weather: Weather, trouble: type[Unavailable]) -> None:
        self._port = port
        self._weather = weather
        self._trouble = trouble

    def __getattr__(self, name: str) -> Any:
        method, effect, trouble = getattr(self._port, name), self._weather.effect, self._trouble

        def call(*given: Any, **named: Any) -> Any:
            return effect(lambda: method(*given, **named), trouble)

        self.__dict__[name] = call
        return call
