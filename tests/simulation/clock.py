"""Simulated time: things happen at moments, and simulated threads give way to each other only where they wait.

A task is a greenlet. It runs until it sleeps or waits for another; then the clock goes on to whatever is due next. Two
things that are due at one moment happen in the order in which they were asked for, so a run is a pure function of what
it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from heapq import heappop, heappush
from itertools import count
from typing import Any

from greenlet import getcurrent, greenlet


class Killed(BaseException):
    """The process is gone: nothing of ours catches this."""


class NeverAtRest(AssertionError):
    """Something goes on and on."""


class Task(greenlet):
    """A simulated thread; `of` is whatever it works for, passed on to the threads that it starts."""

    def __init__(self, clock: Clock, work: Callable[[], Any], of: Any) -> None:
        super().__init__(parent=clock.hub)
        self.of = of
        self.is_killed = False
        self._clock = clock
        self._work = work
        self._turn = 0
        self._awaited_by: list[Task] = []
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            if not self.is_killed:
                self.value = self._work()
        except Killed as killed:
            self.error = killed
        except Exception as error:
            if self.of is None:
                raise  # a defect of the simulator itself ends the run
            self.error = error  # whoever waits for it gets to know
        for task in self._awaited_by:
            task.wake()
        self._awaited_by = []

    def pause(self, until: float | None) -> None:
        """Give way until that moment, or until somebody wakes it."""
        self._turn += 1
        if until is not None:
            self._clock.at(until, self._resume, self._turn)
        self._clock.hub.switch()
        if self.is_killed:
            raise Killed

    def wake(self) -> None:
        self._clock.at(self._clock.now, self._resume, self._turn)

    def kill(self) -> None:
        """What it does next, it does not do any more."""
        if not self.dead:
            self.is_killed = True
            self.wake()

    def wait(self) -> None:
        """Let the caller wait until this one is over."""
        me = getcurrent()
        while not self.dead:
            self._awaited_by.append(me)
            me.pause(None)

    def _resume(self, turn: int) -> None:
        if turn == self._turn and not self.dead:
            self.switch()


class Clock:
    """Seconds since the run began, and what is still to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hub = getcurrent()
        self.happened = 0
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()

    def __call__(self) -> float:
        return self.now

    def at(self, moment: float, act: Callable[..., None], *given: Any) -> None:
        heappush(self._due, (moment, next(self._numbers), act, given))

    def start(self, work: Callable[[], Any], of: Any = None) -> Task:
        task = Task(self, work, of)
        self.at(self.now, task._resume, 0)
        return task

    def sleep(self, seconds: float) -> None:
        """Of the task that calls."""
        getcurrent().pause(self.now + seconds)

    def run(self, until: float, most: int = 5_000_000) -> None:
        """All that is due until then."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, act, given = heappop(due)
            self.happened += 1
            if self.happened > most:
                raise NeverAtRest(f"more than {most} things happened")
            act(*given)
        self.now = max(self.now, until)

    @property
    def next_at(self) -> float | None:
        return self._due[0][0] if self._due else None


class _Door:
    """In the place of a future's lock: who wants in gives way until the work is done."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def acquire(self) -> None:
        if getcurrent() is not self._task:
            self._task.wait()

    def release(self) -> None:
        pass

    def notify_all(self) -> None:
        pass

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        pass


class Threads(Executor):
    """An executor whose threads are tasks; `concurrent.futures.wait` and `result` give way to them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def submit(self, fn: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*given, **named))
            except Exception as error:  # noqa: BLE001 - as every executor does
                future.set_exception(error)

        task = self._clock.start(work, getcurrent().of)
        if task.of is not None:
            task.of.tasks.append(task)
        future._condition = _Door(task)  # the one place where a thread waits for another
        return future
