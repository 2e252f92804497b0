"""Lambda functions: instances with clocks and memories of their own, and invocations that may die at any effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from penstock.errors import Unavailable
from tests.simulation.clock import Clock, Killed, Task, Threads
from tests.simulation.weather import Weather

P = TypeVar("P")

LONGEST_SKEW_S = 2.0


class Failed(Exception):
    """An invocation that gave no answer."""


@dataclass
class Instance:
    """A warm worker: what it works with, and how far its clock is off."""

    skew_s: float
    ports: Any = None


@dataclass
class Invocation:
    """One call of a function.

    `excuses` are why what it did may be done again, for single jobs or (under "") for all of them; `echoes` are why
    what it does may be done already.
    """

    number: int
    function: str
    clock: Clock
    deadline: float
    about: Any = None
    tasks: list[Task] = field(default_factory=list)
    excuses: dict[str, str] = field(default_factory=dict)
    echoes: dict[str, str] = field(default_factory=dict)
    ended: str = ""
    is_over: bool = False

    def excuse(self, why: str, job: str = "") -> None:
        self.excuses.setdefault(job, why)

    def echo(self, why: str, job: str) -> None:
        self.echoes.setdefault(job, why)

    def crash(self, why: str) -> None:
        """From the inside: the whole process is gone, with all of its threads."""
        self.end(why)
        raise Killed

    def end(self, why: str) -> None:
        if not self.is_over and not self.ended:
            self.ended = why
            self.excuse(why)
            for task in self.tasks:
                task.kill()

    def has(self, seconds: float) -> bool:
        """Whether so much time is left before its time-out."""
        return self.deadline - self.clock.now > seconds


class Function(Generic[P]):
    """A deployed function; `make` gives an instance what it works with."""

    def __init__(
        self, name: str, clock: Clock, weather: Weather, timeout_s: float, make: Callable[[Instance], P]
    ) -> None:
        self.name = name
        self._clock = clock
        self._weather = weather
        self._timeout_s = timeout_s
        self._make = make
        self._idle: list[Instance] = []
        self.threads = Threads(clock)
        self.invocations: list[Invocation] = []

    def invoke(self, work: Callable[[P, Invocation], Any], about: Any = None) -> tuple[Invocation, Any]:
        """Called from a task, which waits. Raises `Failed`; what it did until then is done."""
        invocation = self.begun(about)
        instance = self._idle.pop() if self._idle else self._instance()
        task = self._clock.start(lambda: work(instance.ports, invocation), invocation)
        invocation.tasks.append(task)
        self._clock.at(invocation.deadline, invocation.end, "timed out")
        task.wait()
        if invocation.ended:
            invocation.is_over = True
            raise Failed(invocation.ended)
        invocation.is_over = True
        self._idle.append(instance)
        if task.error is not None:
            if not isinstance(task.error, Unavailable):
                raise task.error  # a defect, not the weather
            why = f"failed as a whole: {task.error}"
            invocation.excuse(why)
            invocation.ended = why
            raise Failed(why) from task.error
        return invocation, task.value

    def begun(self, about: Any) -> Invocation:
        deadline = self._clock.now + self._timeout_s
        invocation = Invocation(len(self.invocations), self.name, self._clock, deadline, about)
        self.invocations.append(invocation)
        return invocation

    def _instance(self) -> Instance:
        instance = Instance((self._weather.chance.random() * 2 - 1) * LONGEST_SKEW_S)
        instance.ports = self._make(instance)
        return instance


class Memory:
    """A look-up through an instance's memory: fresh for a while; while its source is down, what is known serves on."""

    def __init__(self, load: Callable[[Any], Any], fresh_s: float, outage_s: float, clock: Clock) -> None:
        self._load = load
        self._fresh_s = fresh_s
        self._outage_s = outage_s
        self._clock = clock
        self._known: dict[Any, tuple[float, Any]] = {}

    def get(self, key: Any) -> Any:
        known = self._known.get(key)
        if known is not None and self._clock.now - known[0] <= self._fresh_s:
            return known[1]
        asked_at = self._clock.now
        try:
            value = self._load(key)
        except Unavailable:
            if known is None or asked_at - known[0] > self._outage_s:
                raise
            return known[1]
        self._known[key] = (asked_at, value)
        return value
