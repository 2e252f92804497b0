"""Record a change of a workspace's configuration together with its entry in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from penstock.domain import audit
from penstock.domain.audit import Entry
from penstock.domain.config import Item, Step, Steps
from penstock.domain.paging import MOST, Window, cut
from penstock.domain.tokens import Caller
from penstock.errors import Conflict, NotFound

TRIES = 5

I = TypeVar("I", bound=Item)  # noqa: E741
T = TypeVar("T")


class Store(Protocol):
    """Where configuration and audit log are kept. Every call names the workspace. Raises `StoreUnavailable`."""

    def find(self, kind: type[I], workspace_id: str, item_id: str) -> I | None: ...

    def page(self, kind: type[I], workspace_id: str, window: Window) -> list[I]:
        """By id, from after `window.after` on, one more than `window.limit` where there are more."""

    def entries(self, workspace_id: str, window: Window) -> list[Entry]:
        """Of the audit log, the newest first, in the same manner."""

    def commit(self, steps: Steps, entry: Entry | None) -> Sequence[Step]:
        """All steps or none. What is returned are the steps that kept it from happening; empty is success."""


@dataclass(frozen=True)
class Ledger:
    """The store with what makes ids and times: `chance(n)` gives n characters of [a-z0-9], `clock` epoch seconds."""

    store: Store
    chance: Callable[[int], str]
    clock: Callable[[], float]

    def new_id(self, prefix: str) -> str:
        return prefix + self.chance(12)

    def now(self) -> str:
        return audit.iso(self.clock())

    def get(self, kind: type[I], workspace_id: str, item_id: str) -> I:
        found = self.store.find(kind, workspace_id, item_id)
        if found is None:
            raise NotFound(f"{kind.kind}_not_found", f"this workspace has no such {kind.kind}")
        return found

    def page(self, kind: type[I], workspace_id: str, window: Window) -> tuple[Sequence[I], str | None]:
        return cut(self.store.page(kind, workspace_id, window), window, kind.kind, workspace_id)

    def pages(self, kind: type[I], workspace_id: str) -> Iterator[list[I]]:
        """All of a kind by id, page by page; the last one may be empty."""
        after = None
        while True:
            found = self.store.page(kind, workspace_id, Window(MOST, after))
            yield found[:MOST]
            if len(found) <= MOST:
                return
            after = found[MOST - 1].id

    def entries(self, workspace_id: str, window: Window) -> tuple[Sequence[Entry], str | None]:
        return cut(self.store.entries(workspace_id, window), window, "audit", workspace_id)

    def commit(
        self, caller: Caller, action: str, target: Item, steps: Steps, fields: tuple[str, ...] = ()
    ) -> Sequence[Step]:
        """The steps that kept it from happening; empty is success."""
        suffix = self.chance(12)
        entry = audit.entry(target.workspace_id, suffix, self.clock(), caller.actor, action, target.id, *fields)
        return self.store.commit(steps, entry)


def settled(attempt: Callable[[], T | None]) -> T:
    """What an attempt gives; it reads anew and tries again where somebody else was faster (None)."""
    for _ in range(TRIES):
        done = attempt()
        if done is not None:
            return done
    raise Conflict("changed_meanwhile", "others are changing the same thing: read it and try again")
