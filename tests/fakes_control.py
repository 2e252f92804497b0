"""Stand-ins for what the control API's steps ask for; each runs the contract tests of what it stands for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from penstock.domain.audit import Entry
from penstock.domain.config import Change, Create, Item, Remove, Require, Step, Steps
from penstock.domain.ids import ALPHABET
from penstock.domain.paging import Window
from penstock.domain.tokens import Caller
from penstock.errors import QueueUnavailable, StoreUnavailable
from penstock.steps.keep_destinations import Works
from penstock.steps.record import Ledger
from tests.fakes_gate import MemoryBurials, MemoryChores, MemoryGates

I = TypeVar("I", bound=Item)  # noqa: E741


class MemoryStore:
    """Configuration and audit log in dictionaries."""

    def __init__(self) -> None:
        self.items: dict[tuple[type[Item], str, str], Item] = {}
        self.log: list[Entry] = []

    def find(self, kind: type[I], workspace_id: str, item_id: str) -> I | None:
        return self.items.get((kind, workspace_id, item_id))  # type: ignore[return-value]

    def page(self, kind: type[I], workspace_id: str, window: Window) -> list[I]:
        mine = [item for (k, w, _), item in self.items.items() if k is kind and w == workspace_id]
        after = [item for item in mine if window.after is None or item.id > window.after]
        return sorted(after, key=lambda item: item.id)[: window.limit + 1]  # type: ignore[return-value]

    def entries(self, workspace_id: str, window: Window) -> list[Entry]:
        mine = [entry for entry in self.log if entry.workspace_id == workspace_id]
        before = [entry for entry in mine if window.after is None or entry.id < window.after]
        return sorted(before, key=lambda entry: entry.id, reverse=True)[: window.limit + 1]

    def commit(self, steps: Steps, entry: Entry | None) -> Sequence[Step]:
        clashes = [step for step in steps if not self._holds(step)]
        if not clashes:
            for step in steps:
                self._apply(step)
            self.log += [entry] if entry else []
        return clashes

    def _holds(self, step: Step) -> bool:
        match step:
            case Create(item):
                return key(item) not in self.items
            case Require(kind, workspace_id, item_id):
                return (kind, workspace_id, item_id) in self.items
            case Remove(item) | Change(item, _):
                known = self.items.get(key(item))
                return known is not None and (item.version is None or known.version == item.version)

    def _apply(self, step: Step) -> None:
        match step:
            case Create(item):
                self.items[key(item)] = item
            case Change(before, after):
                version = None if before.version is None else before.version + 1
                self.items[key(before)] = msgspec.structs.replace(after, version=version)
            case Remove(item):
                del self.items[key(item)]


def key(item: Item) -> tuple[type[Item], str, str]:
    return type(item), item.workspace_id, item.id


class PlainCipher:
    """Seals by writing the context in front, and opens only what has it there."""

    def encrypt(self, data: bytes, context: Mapping[str, str]) -> bytes:
        return msgspec.json.encode(dict(sorted(context.items()))) + b"|" + data

    def decrypt(self, data: bytes, context: Mapping[str, str]) -> bytes:
        mark = self.encrypt(b"", context)
        if not data.startswith(mark):
            raise StoreUnavailable("sealed for another")
        return data[len(mark) :]


class MemoryQueues:
    def __init__(self) -> None:
        self.made: set[str] = set()

    def create(self, workspace_id: str, destination_id: str) -> str:
        self.made.add(destination_id)
        return f"https://queues.example.com/{destination_id}.fifo"

    def find(self, destination_id: str) -> str | None:
        return self.create("", destination_id) if destination_id in self.made else None

    def delete(self, destination_id: str) -> None:
        self.made.discard(destination_id)


class MemoryMappings:
    def __init__(self) -> None:
        self.made: set[str] = set()

    def create(self, workspace_id: str, destination_id: str) -> str:
        self.made.add(destination_id)
        return f"mapping-of-{destination_id}"

    def delete(self, destination_id: str, known_id: str | None) -> None:
        self.made.discard(destination_id)


class Crash(BaseException):
    """The Lambda is gone: nothing of ours catches this."""


class Faults:
    """Wraps ports so that the n-th call that changes something goes wrong, before or after it took effect."""

    def __init__(self, at: int, wrong: Callable[[], BaseException], after: bool) -> None:
        self._left = at
        self._wrong = wrong
        self._after = after
        self.struck = False

    def around(self, port: Any, *methods: str) -> Any:
        faults = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                found = getattr(port, name)
                return faults.wrapped(found) if name in methods else found

        return Wrapped()

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.struck = True
                if self._after:
                    call(*given)
                raise self._wrong()
            return call(*given)

        return called


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Hub:
    """A workspace's worth of steps in memory, optionally with faults."""

    def __init__(self, allow_loopback: bool = False) -> None:
        self.store, self.queues, self.mappings = MemoryStore(), MemoryQueues(), MemoryMappings()
        self.clock = Clock()
        self.gates, self.chores = MemoryGates(self.clock), MemoryChores(self.clock)
        self.burials = MemoryBurials(self.gates, self.clock)
        self.allow_loopback = allow_loopback
        self._random = random.Random(7)
        self.caller = Caller("ws_aaaaaaaaaaaa", "tok_aaaaaaaaaaaa", ("*",))

    def chance(self, length: int) -> str:
        return "".join(self._random.choice(ALPHABET) for _ in range(length))

    def ledger(self, store: Any = None) -> Ledger:
        return Ledger(store or self.store, self.chance, self.clock)

    def works(self, faults: Faults | None = None) -> Works:
        def around(port: Any, *methods: str) -> Any:
            return port if faults is None else faults.around(port, *methods)

        return Works(
            self.ledger(around(self.store, "commit")),
            around(PlainCipher(), "encrypt", "decrypt"),
            around(self.queues, "create", "delete"),
            around(self.mappings, "create", "delete"),
            around(self.gates, "forget"),
            around(self.burials, "begin"),
            around(self.chores, "send"),
            self.allow_loopback,
        )


def unavailable() -> QueueUnavailable:
    return QueueUnavailable("injected")
