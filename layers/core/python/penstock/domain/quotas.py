"""Quotas: how many events a source and a workspace may send in a second before a source has to take the bulk stream.

Usage is counted in windows of ten seconds, so a burst of ten seconds' worth at once is within a quota. Nobody is ever
told to back off: what is above a quota is delivered like all else, from a stream in which it delays nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct, field

from penstock.domain.config import Item
from penstock.domain.destinations import SourceId
from penstock.domain.sources import Source
from penstock.domain.turns import Announced, is_bulk

WINDOW_S = 10
LOOK_BACK_S = 120  # a source has to be calm for so long; a batch that hangs ends within 60 s, and comes again
CALM = 0.8  # of its quota
SHORT_LAG_S = 5.0
SILENT_S = 600  # a shard of bulk that hands out nothing for so long has nothing

Rate = Annotated[int, Meta(ge=1, le=10_000_000, description="Events per second", examples=[1000])]
Mode: TypeAlias = Literal["live", "to_bulk", "bulk", "to_live"]


class Quota(Item, frozen=True, kw_only=True):
    """What the operator gives a workspace instead of what its stage gives to all; None is the latter."""

    kind: ClassVar[str] = "quota"

    workspace: int | None = None
    source: int | None = None
    sources: dict[str, int] = field(default_factory=dict)


class NewQuota(Struct, frozen=True, forbid_unknown_fields=True):
    """A workspace's quota: of all its sources together, of each source, and of single ones; null is the stage's."""

    workspace: Rate | None
    source: Rate | None
    sources: Annotated[dict[SourceId, Rate], Meta(max_length=100)] = {}


class Limits(Struct, frozen=True):
    """Events per second."""

    workspace: int
    source: int
    sources: Mapping[str, int] = {}

    def of(self, source: str) -> int:
        return self.sources.get(source, self.source)


class Used(NamedTuple):
    """What a source brought in the window that began at `window` (epoch seconds), and how far behind bulk was then."""

    source: str
    window: int
    events: int
    lag_s: float | None = None


class Lag(NamedTuple):
    """How far behind a shard of bulk was at most in the window that began at `window`, when a batch of it arrived."""

    shard: str
    window: int
    lag_s: float


class Mark(NamedTuple):
    """A source that is moved, or was and is looked after still."""

    workspace: str
    source: str


class SourceUsage(Struct, frozen=True):
    """Where a source's events go and since when; `lag_s` is of bulk, null where that had none of late."""

    source_id: str
    quota: int
    events_per_s: float
    mode: Mode
    since: str | None
    lag_s: float | None


class QuotaView(Struct, frozen=True):
    """A workspace's quota, what it uses of it, and what each of its sources does, by pages of these."""

    quota: int
    events_per_s: float
    sources: list[SourceUsage]
    next: str | None


def limits_of(found: Quota | None, standard: Limits) -> Limits:
    if found is None:
        return standard
    return Limits(found.workspace or standard.workspace, found.source or standard.source, found.sources)


def window_of(now: float) -> int:
    return int(now) // WINDOW_S * WINDOW_S


def comes_above(quota: int, before: int, after: int) -> bool:
    """Whether what was brought in a window has just come to more than a quota allows in one."""
    return before <= quota * WINDOW_S < after


def above(used: Sequence[Used], limits: Limits, in_bulk: frozenset[str]) -> list[str]:
    """The sources that have to move, the largest first: those above their own quota, and of a workspace above its own
    as many as have to go for the rest to be within."""
    found = {each.source for each in used if each.events > limits.of(each.source) * WINDOW_S}
    for theirs in _by_window(used).values():
        left = sum(each.events for each in theirs if each.source not in found | in_bulk)
        for each in sorted(theirs, key=lambda each: -each.events):
            if left <= limits.workspace * WINDOW_S:
                break
            if each.source not in found | in_bulk:
                found.add(each.source)
                left -= each.events
    largest = {each.source: each.events for each in sorted(used, key=lambda each: each.events)}
    return sorted(found - in_bulk, key=lambda source: (-largest[source], source))


def calm(names: Iterable[str], used: Sequence[Used], limits: Limits, noted: Sequence[Lag]) -> frozenset[str]:
    """Those that in all of these windows were well below their quota, their workspace too, with bulk at its heels.

    What bulk has not come to yet is not measured, so while any of it lags nobody in it is known to be calm.
    """
    sums = [sum(each.events for each in theirs) for theirs in _by_window(used).values()]
    if lag_of_bulk(noted) >= SHORT_LAG_S or max(sums, default=0) > CALM * limits.workspace * WINDOW_S:
        return frozenset()
    own: dict[str, list[Used]] = defaultdict(list)
    for each in used:
        own[each.source].append(each)
    return frozenset(name for name in names if _is_calm(own[name], limits.of(name)))


def _is_calm(own: Sequence[Used], quota: int) -> bool:
    return max((each.events for each in own), default=0) <= CALM * quota * WINDOW_S and (lag_of(own) or 0) < SHORT_LAG_S


def lag_of(own: Iterable[Used]) -> float | None:
    """The latest that is known."""
    return next((each.lag_s for each in sorted(own, key=lambda each: -each.window) if each.lag_s is not None), None)


def lag_of_bulk(noted: Sequence[Lag]) -> float:
    """The longest of its shards': what each had in the look-back before it was last heard of.

    A shard is read in several lanes, of which one may be stuck while the others go on, and is heard of when its batch
    is tried again. A shard whose last batch came late and that is silent since may be stuck or empty.
    """
    last: dict[str, int] = {}
    for each in noted:
        last[each.shard] = max(each.window, last.get(each.shard, 0))
    return max((each.lag_s for each in noted if each.window >= last[each.shard] - LOOK_BACK_S), default=0.0)


def in_turn(marks: Iterable[Mark], reached: Mark | None) -> list[Mark]:
    """By workspace, beginning behind what was reached."""
    ordered = sorted(marks)
    if reached is None:
        return ordered
    return [each for each in ordered if each > reached] + [each for each in ordered if each <= reached]


def rate_of(used: Iterable[Used], now: float) -> float:
    """Events per second over the last whole window and what there is of this one."""
    first = window_of(now) - WINDOW_S
    return round(sum(each.events for each in used if each.window >= first) / max(now - first, 1.0), 1)


def mode_of(announced: Announced, now: float) -> Mode:
    to_come = now < announced.at
    if is_bulk(announced.turn):
        return "to_bulk" if to_come else "bulk"
    return "to_live" if to_come else "live"


def usage(source: Source, used: Sequence[Used], limits: Limits, now: float, since: str | None) -> SourceUsage:
    own = [each for each in used if each.source == source.id]
    return SourceUsage(
        source.id, limits.of(source.id), rate_of(own, now), mode_of(source.announced, now), since, lag_of(own)
    )


def _by_window(used: Iterable[Used]) -> dict[int, list[Used]]:
    found: dict[int, list[Used]] = defaultdict(list)
    for each in used:
        found[each.window].append(each)
    return found
