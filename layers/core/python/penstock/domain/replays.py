"""Replays: letters of one destination that are put on a queue once more, its own or another one's."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from penstock.domain.letter_index import LetterFilter
from penstock.domain.names import END

State: TypeAlias = Literal["pending", "running", "done", "failed", "cancelled"]
LIVE = frozenset({"pending", "running"})
KEPT_DAYS = 400
LIST = "replays"

DestinationId = Annotated[
    str, Meta(pattern="^dst_[a-z0-9]{12}" + END, description="Where they go; back where they were if absent")
]
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIME_LENGTH = 8


class Ticket(Struct, frozen=True, omit_defaults=True):
    """What sets a step of a replay going; `looks` counts how often the replay was not there yet."""

    workspace: str
    destination: str
    replay: str
    looks: int = 0


class Replay(Struct, frozen=True, kw_only=True):
    """One replay. `pending` while its letters are counted, which is when `total` is not known yet.

    `cursor` is the place of the last letter that was dealt with; `version` counts changes and `writer` says who made
    the last of them. `missing` are letters whose bodies are gone, `skipped` those that another replay had in hand.
    """

    workspace: str
    destination: str
    id: str
    filter: LetterFilter
    target: str
    state: State = "pending"
    total: int | None = None
    sent: int = 0
    missing: int = 0
    skipped: int = 0
    cursor: str | None = None
    reason: str | None = None
    created_at: str
    updated_at: str
    version: int = 1
    writer: str = ""

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.workspace, self.destination, self.id)


class NewReplay(Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters are to be replayed, all that were not yet where `filter` is empty, and where to."""

    filter: LetterFilter
    to: DestinationId | None = None


class OneReplay(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a letter that is named goes."""

    to: DestinationId | None = None


class ReplayView(Struct, frozen=True):
    """A replay and how far it has come; `total` is null while it counts.

    `missing` are letters whose bodies are gone, `skipped` those that another replay was sending at the time.
    """

    id: str
    destination: str
    to: str
    filter: LetterFilter
    state: State
    total: int | None
    sent: int
    missing: int
    skipped: int
    reason: str | None
    created_at: str
    updated_at: str


class ReplayList(Struct, frozen=True):
    """A page of replays, the newest first."""

    replays: list[ReplayView]
    next: str | None


def new_id(epoch_s: float, chance: str) -> str:
    """`rpl_` and 12 characters, the first of which sort by time."""
    number, digits = int(epoch_s * 1000), ""
    for _ in range(_TIME_LENGTH):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return f"rpl_{digits}{chance[:4]}"


def begun_at(replay_id: str) -> float:
    """When a replay was made, in epoch seconds, by its id; long ago where that says nothing."""
    digits = replay_id.removeprefix("rpl_")[:_TIME_LENGTH]
    return int(digits, 36) / 1000 if len(digits) == _TIME_LENGTH and digits.isascii() and digits.isalnum() else 0.0


def moved(replay: Replay, at: str, writer: str, **changes: object) -> Replay:
    """The replay after a change of it."""
    return msgspec.structs.replace(replay, updated_at=at, writer=writer, version=replay.version + 1, **changes)


def view(item: Replay) -> ReplayView:
    return ReplayView(
        id=item.id,
        destination=item.destination,
        to=item.target,
        filter=item.filter,
        state=item.state,
        total=item.total,
        sent=item.sent,
        missing=item.missing,
        skipped=item.skipped,
        reason=item.reason,
        created_at=item.created_at,
        updated_at=item.updated_at,
    )
