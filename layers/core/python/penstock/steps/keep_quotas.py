"""Keep quotas: announce the bulk stream to a source that is above its quota, and the live one when it has calmed down.

A source that is moved is marked before it is told, so that no crash leaves it where it is for good, and after, so that
no tick forgets it that looked before it was told. A tick that cannot look at all that are marked ends in time, and the
next goes on behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple, Protocol

import msgspec

from penstock.domain import audit, quotas, sources, turns
from penstock.domain.config import Change, Create, Steps
from penstock.domain.paging import Window
from penstock.domain.quotas import LOOK_BACK_S, SILENT_S, WINDOW_S, Lag, Limits, Mark, NewQuota, Quota, QuotaView, Used
from penstock.domain.sources import Source
from penstock.domain.tokens import Caller
from penstock.domain.turns import Announced, is_bulk
from penstock.domain.workspaces import Workspace
from penstock.errors import Invalid, Unavailable
from penstock.steps.record import Ledger, settled

GATEKEEPER = "gatekeeper"
LOOK_S = 20.0  # from then on a look moves nobody else: the next window has the workspace looked at again
TICK_S = 20.0  # from then on a tick looks at nobody else


class Usage(Protocol):
    """Raises `StoreUnavailable`."""

    def read(self, workspace: str, since: float) -> Sequence[Used]: ...


class Marks(Usage, Protocol):
    """Raises `StoreUnavailable`."""

    def lags(self, since: float) -> Sequence[Lag]:
        """Of bulk's shards."""

    def mark(self, workspace: str, source: str) -> None: ...

    def unmark(self, workspace: str, source: str) -> None: ...

    def marked(self, workspace: str | None = None) -> Sequence[Mark]:
        """All, or a workspace's."""

    def reached(self) -> Mark | None:
        """The last that a tick came to which did not come to all."""

    def reach(self, mark: Mark | None) -> None: ...


class Looked(NamedTuple):
    """The sources that were told to come back, what kept which workspaces' from it, and whether all had their turn."""

    moved: Sequence[str]
    troubles: Sequence[tuple[str, str]]
    is_whole: bool


class Store(Protocol):
    """Configuration and audit log. Raises `StoreUnavailable`."""

    def find(self, kind: type[Source], workspace_id: str, item_id: str) -> Source | None: ...

    def commit(self, steps: Steps, entry: audit.Entry | None) -> object: ...


class Quotas(Protocol):
    def read(self, workspace: str) -> Limits:
        """Raises `StoreUnavailable`."""


@dataclass(frozen=True)
class Ports:
    """`clock` is epoch seconds; `cache_life_s` is for how long `collect` goes by what it knows."""

    usage: Marks
    store: Store
    quotas: Quotas
    chance: Callable[[int], str]
    clock: Callable[[], float]
    cache_life_s: float
    settles_s: float


def look_at(workspace: str, ports: Ports) -> list[str]:
    """Have the workspace's sources that are above its quotas move; which. Raises `Unavailable`."""
    limits = ports.quotas.read(workspace)
    used = ports.usage.read(workspace, ports.clock() - WINDOW_S)
    above = quotas.above(used, limits, _in_bulk(workspace, used, ports))
    moved, until = [], ports.clock() + LOOK_S
    for name in above:
        if ports.clock() > until:
            break
        if _move(ports.store.find(Source, workspace, name), ports):
            moved.append(name)
    return moved


def _in_bulk(workspace: str, used: Sequence[Used], ports: Ports) -> frozenset[str]:
    """Those that are told to be there, and the deleted. Of what is neither marked nor came from there none is asked."""
    marked = {name for _, name in ports.usage.marked(workspace)}
    names = {each.source for each in used if each.source in marked or each.lag_s is not None}
    known = {name: ports.store.find(Source, workspace, name) for name in names}
    return frozenset(name for name, source in known.items() if source is None or is_bulk(source.turn))


def tick(ports: Ports) -> Looked:
    """Look at those that are moved: the calm ones come back, those that are back are forgotten.

    What keeps one workspace from being looked at keeps up no other. Raises `Unavailable` where that is so of all.
    """
    until = ports.clock() + TICK_S
    reached = ports.usage.reached()
    looks = _Looks(ports, ports.usage.lags(ports.clock() - SILENT_S), until)
    marks = quotas.in_turn(ports.usage.marked(), reached)
    for workspace, theirs in groupby(marks, lambda mark: mark.workspace):
        if looks.is_over:
            break
        looks.look_at(workspace, [mark.source for mark in theirs])
    after = marks[looks.done - 1] if 0 < looks.done < len(marks) else None
    if looks.done and after != reached:
        ports.usage.reach(after)
    return Looked(looks.moved, looks.troubles, looks.done == len(marks))


@dataclass
class _Looks:
    """One tick's; `done` is how many sources had their turn."""

    ports: Ports
    noted: Sequence[Lag]
    until: float
    done: int = 0
    moved: list[str] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.ports.clock() > self.until

    def look_at(self, workspace: str, names: Sequence[str]) -> None:
        """At a workspace's sources, by one reading of its usage, while there is time."""
        try:
            limits = self.ports.quotas.read(workspace)
            used = self.ports.usage.read(workspace, self.ports.clock() - LOOK_BACK_S)
        except Unavailable as error:
            self.troubles.append((workspace, str(error)))
            self.done += len(names)
            return
        calm = quotas.calm(names, used, limits, self.noted)
        for name in names:
            if self.is_over:
                return
            self.done += 1
            try:
                self._look_at(Mark(workspace, name), name in calm)
            except Unavailable as error:
                self.troubles.append((workspace, str(error)))

    def _look_at(self, mark: Mark, is_calm: bool) -> None:
        source = self.ports.store.find(Source, *mark)
        if source is None or (not is_bulk(source.turn) and _is_settled(source, self.ports)):
            self._forget(mark)
        elif is_bulk(source.turn) and is_calm and _move(source, self.ports):
            self.moved.append(mark.source)

    def _forget(self, mark: Mark) -> None:
        """Unless it is being moved at this moment: whoever announces that marks it before and after."""
        self.ports.usage.unmark(*mark)
        source = self.ports.store.find(Source, *mark)
        if source is not None and is_bulk(source.turn):
            self.ports.usage.mark(*mark)


def _is_settled(source: Source, ports: Ports) -> bool:
    return turns.may_announce(source.announced, ports.clock(), ports.settles_s)


def _move(source: Source | None, ports: Ports) -> bool:
    """Announce a source's next turn; whether it was, now and by us."""
    if source is None or not _is_settled(source, ports):
        return False
    now = ports.clock()
    turn, at = turns.next_turn(source.announced, now, ports.cache_life_s)
    ports.usage.mark(source.workspace_id, source.id)
    after = sources.announcing(source, Announced(turn, float(int(at) + 1)))
    action = "source.to_bulk" if is_bulk(turn) else "source.to_live"
    entry = audit.entry(source.workspace_id, ports.chance(12), now, GATEKEEPER, action, source.id)
    if ports.store.commit(sources.replaced(source, after), entry):
        return False
    ports.usage.mark(source.workspace_id, source.id)  # a tick may have taken it for one that is back
    return True


def set_quota(ledger: Ledger, caller: Caller, workspace_id: str, wanted: NewQuota) -> NewQuota:
    """Raises `NotFound`, `Invalid` for a source that does not exist when it is added."""
    ledger.get(Workspace, workspace_id, workspace_id)

    def attempt() -> NewQuota | None:
        before = ledger.store.find(Quota, workspace_id, workspace_id)
        for source in wanted.sources.keys() - (before.sources if before else {}).keys():
            if ledger.store.find(Source, workspace_id, source) is None:
                raise Invalid("unknown_source", f"this workspace has no source {source}", f"sources.{source}")
        given = msgspec.structs.asdict(wanted)
        after = Quota(workspace_id=workspace_id, id=workspace_id, **given)
        step = Create(after) if before is None else Change(before, msgspec.structs.replace(before, **given))
        return None if ledger.commit(caller, "quota.changed", after, [step], tuple(given)) else wanted

    return settled(attempt)


def view(ledger: Ledger, workspace_id: str, limits: Limits, usage: Usage, window: Window) -> QuotaView:
    """Raises `StoreUnavailable`."""
    now = ledger.clock()
    used = usage.read(workspace_id, now - LOOK_BACK_S)
    found, more = ledger.page(Source, workspace_id, window)
    shown = [quotas.usage(each, used, limits, now, audit.iso(each.turns_at) if each.turn else None) for each in found]
    return QuotaView(limits.workspace, quotas.rate_of(used, now), shown, more)
