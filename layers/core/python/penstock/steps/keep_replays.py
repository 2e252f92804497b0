"""Keep replays: begin one, list them, cancel one. What they do is `replay_letters`'.

All workspaces' replays take turns at a few steps, so each workspace has so many at once and no more. A replay enters
before it is there and leaves after it has ended, by conditional writes of one item: more than that are never live. What
a crash leaves there is found to be over when the next one would not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from penstock.domain import audit, letter_index, replays
from penstock.domain.audit import Entry
from penstock.domain.destinations import Destination
from penstock.domain.letter_index import LetterFilter
from penstock.domain.paging import Window, cut
from penstock.domain.replays import LIST, NewReplay, Replay, Ticket
from penstock.domain.tokens import Caller
from penstock.errors import Conflict, Invalid, NotFound, StoreChanged
from penstock.steps.read_letters import Index, require_known
from penstock.steps.record import Ledger, settled

MOST_LIVE = 20  # of a workspace
MADE_WITHIN_S = 60.0  # of its entry, or never: whoever made it lives no longer
UNTIL_THERE_S = 1  # a ticket that comes before its replay is there comes again


class Replays(Protocol):
    """Raises `StoreUnavailable`."""

    def find(self, workspace: str, destination: str, replay_id: str) -> Replay | None: ...

    def newest(self, workspace: str, destination: str, after: str | None, limit: int) -> list[Replay]:
        """The newest first, one more than `limit` where there are more."""

    def create(self, replay: Replay, entry: Entry) -> None: ...

    def enter(self, workspace: str, destination: str, replay_id: str, most: int) -> bool:
        """Have a replay be among those of a workspace that may be live, unless there are `most`; whether it is."""

    def entered(self, workspace: str) -> Sequence[tuple[str, str]]:
        """(destination, replay) of those."""

    def leave(self, workspace: str, destination: str, replay_id: str) -> None: ...

    def change(self, before: Replay, after: Replay, entry: Entry) -> None:
        """Together with its entry in the audit log. Raises `StoreChanged` where it is not as it was any more."""


class Tickets(Protocol):
    def put(self, ticket: Ticket, delay_s: int) -> None:
        """Raises `QueueUnavailable`."""


@dataclass(frozen=True)
class Works:
    """All that beginning a replay takes."""

    ledger: Ledger
    index: Index
    replays: Replays
    tickets: Tickets


def begin_replay(works: Works, caller: Caller, destination_id: str, wanted: NewReplay) -> Replay:
    """Raises `NotFound`, `Invalid` for a target or a time that is none, `Conflict` for a target that is disabled, or
    where there are too many.

    The ticket goes out first: a replay that anybody can see is worked on, whatever crashes.
    """
    asked = letter_index.checked(wanted.filter, "filter.")
    _require_letters(works, caller.workspace_id, destination_id, asked)
    target = _target(works, caller.workspace_id, wanted.to or destination_id)
    epoch_s, at = works.ledger.clock(), works.ledger.now()
    replay = Replay(
        workspace=caller.workspace_id,
        destination=destination_id,
        id=replays.new_id(epoch_s, works.ledger.chance(4)),
        filter=_until(asked, epoch_s),
        target=target.id,
        created_at=at,
        updated_at=at,
        writer=caller.actor,
    )
    _require_room(works, replay)
    works.tickets.put(replay.ticket, UNTIL_THERE_S)
    works.replays.create(replay, _entry(works.ledger, caller, "replay.created", replay))
    return replay


def read_replay(works: Works, workspace_id: str, destination_id: str, replay_id: str) -> Replay:
    found = works.replays.find(workspace_id, destination_id, replay_id)
    if found is None:
        raise NotFound("replay_not_found", "this destination has no such replay")
    return found


def list_replays(
    works: Works, workspace_id: str, destination_id: str, window: Window
) -> tuple[Sequence[Replay], str | None]:
    require_known(works.ledger.store, works.index, workspace_id, destination_id)
    found = works.replays.newest(workspace_id, destination_id, window.after, window.limit)
    return cut(found, window, list_of(destination_id), workspace_id)


def list_of(destination_id: str) -> str:
    """What a cursor in the list of a destination's replays names."""
    return f"{LIST}.{destination_id}"


def cancel_replay(works: Works, caller: Caller, destination_id: str, replay_id: str) -> Replay:
    """What it is sending just now still goes. Raises `Conflict` for one that has ended otherwise."""

    def attempt() -> Replay | None:
        before = read_replay(works, caller.workspace_id, destination_id, replay_id)
        if before.state == "cancelled":
            return before
        if not before.is_live:
            raise Conflict("replay_ended", f"this replay is {before.state}")
        after = replays.moved(before, works.ledger.now(), caller.actor, state="cancelled")
        try:
            works.replays.change(before, after, _entry(works.ledger, caller, "replay.cancelled", after))
        except StoreChanged:
            return None
        return after

    cancelled = settled(attempt)
    works.replays.leave(caller.workspace_id, destination_id, replay_id)
    return cancelled


def _require_room(works: Works, replay: Replay) -> None:
    kept = works.replays
    if kept.enter(*_place(replay), MOST_LIVE):
        return
    for each in kept.entered(replay.workspace):
        if _is_over(works, replay.workspace, *each):
            kept.leave(replay.workspace, *each)
    if not kept.enter(*_place(replay), MOST_LIVE):
        says = f"a workspace has at most {MOST_LIVE} replays at once: wait for one to end, or cancel one"
        raise Conflict("too_many_replays", says)


def _is_over(works: Works, workspace_id: str, destination_id: str, replay_id: str) -> bool:
    found = works.replays.find(workspace_id, destination_id, replay_id)
    if found is None:
        return works.ledger.clock() - replays.begun_at(replay_id) > MADE_WITHIN_S
    return not found.is_live


def _place(replay: Replay) -> tuple[str, str, str]:
    return replay.workspace, replay.destination, replay.id


def _require_letters(works: Works, workspace_id: str, destination_id: str, wanted: LetterFilter) -> None:
    require_known(works.ledger.store, works.index, workspace_id, destination_id)
    if wanted.letter is not None:
        place = letter_index.place_of_id(wanted.letter)
        if works.index.find(workspace_id, destination_id, place) is None:
            raise NotFound("letter_not_found", "this destination has no such letter")


def _target(works: Works, workspace_id: str, destination_id: str) -> Destination:
    target = works.ledger.store.find(Destination, workspace_id, destination_id)
    if target is None:
        raise Invalid("unknown_destination", f"this workspace has no destination {destination_id}", "to")
    if not target.enabled:
        raise Conflict("destination_disabled", "it takes no events while it is disabled", "to")
    return target


def _until(wanted: LetterFilter, epoch_s: float) -> LetterFilter:
    """Nothing that becomes a letter later, so that a replay comes to its end. One letter is what it is at any time."""
    now = datetime.fromtimestamp(epoch_s, UTC)
    until = now if wanted.to is None else min(wanted.to, now)
    return wanted if wanted.letter else msgspec.structs.replace(wanted, to=until)


def _entry(ledger: Ledger, caller: Caller, action: str, replay: Replay) -> Entry:
    fields = ("to",) if replay.target != replay.destination else ()
    return audit.entry(replay.workspace, ledger.chance(12), ledger.clock(), caller.actor, action, replay.id, *fields)
