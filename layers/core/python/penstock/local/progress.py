"""Say what is being done: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class Progress:
    """Steps may run at once: each is named while it runs and gets a line with its time when it is done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._running: list[str] = []
        self._lock = threading.Lock()
        self._status: Status | None = console.status("") if console.is_terminal else None
        self._began = time.monotonic()

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        began = time.monotonic()
        self._change(add=doing)
        if self._status is None:
            self.say(f"{doing} …")
        try:
            yield
        finally:
            self._change(drop=doing)
        self.say(f"[green]✓[/green] {done} [dim]({time.monotonic() - began:.1f} s)[/dim]")

    def say(self, line: str) -> None:
        with self._lock:
            self.console.print(line, highlight=False, soft_wrap=True)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def stop(self) -> None:
        if self._status is not None:
            self._status.stop()

    def _change(self, add: str | None = None, drop: str | None = None) -> None:
        with self._lock:
            if add is not None:
                self._running.append(add)
            if drop is not None:
                self._running.remove(drop)
            if self._status is None:
                return
            if self._running:
                self._status.update(" · ".join(self._running))
                self._status.start()
            else:
                self._status.stop()
