"""The index of letters: what can be asked of many without opening one, and how letters are shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from penstock.domain import letters
from penstock.domain.letters import Kind, Letter, Received, Sent
from penstock.domain.names import END
from penstock.domain.run import whole_event
from penstock.domain.timestamps import instant
from penstock.errors import Invalid, NotFound

LONGEST_TEXT = 300  # as far as which users, events and reasons are told apart in the index

LetterId = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{8,220}" + END, description="One letter, by its id")]
Reason = Annotated[
    str, Meta(min_length=1, max_length=LONGEST_TEXT, description="Such as `http_404`", examples=["http_404"])
]
Text = Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT)]
Time = Annotated[datetime, Meta(tz=True)]


class LetterEntry(Struct, frozen=True, kw_only=True):
    """A letter in the index: number `slot` in the object `object`, gone at `expires_at`, epoch seconds.

    `event` is a track call's event, for other calls their type. `replay` has sent it, at `replayed_at`; `claimed` is
    the replay that was the last to take it in hand.
    """

    place: str
    kind: Kind
    reason: str
    at: str
    job: str
    index: int
    source: str
    user: str
    event: str | None
    message_id: str | None
    attempts: int
    object: str
    slot: int
    expires_at: int
    replayed_at: str | None = None
    replay: str | None = None
    claimed: str | None = None

    @property
    def id(self) -> str:
        return letters.id_of(self.place)

    @property
    def listed(self) -> str:
        """Sorts by the time at which it became a letter."""
        return f"{self.at}#{self.place}"


class LetterFilter(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"from_": "from"}
):
    """Which letters: those for which all holds that is given."""

    kind: Kind | None = None
    reason: Reason | None = None
    from_: Time | None = None
    to: Time | None = None
    user: Text | None = None
    event: Text | None = None
    letter: LetterId | None = None
    include_replayed: bool = False

    @property
    def since(self) -> str | None:
        return None if self.from_ is None else iso(self.from_)

    @property
    def until(self) -> str | None:
        return None if self.to is None else iso(self.to)


class LetterView(Struct, frozen=True):
    """A letter, as it stands in a list; `user` is the ordering key, `event` for calls other than track their type."""

    id: str
    kind: Kind
    reason: str
    at: str
    source: str
    user: str
    event: str | None
    message_id: str | None
    attempts: int
    expires_at: str
    replayed_at: str | None
    replay: str | None


class LetterList(Struct, frozen=True):
    """A page of letters, the newest first; it may have fewer than asked for, or none, and yet a `next`."""

    letters: list[LetterView]
    next: str | None


class WholeLetter(LetterView, frozen=True):
    """A letter with its event as it was to be sent, the last request and what came back."""

    first_at: str | None
    content: Raw
    request: Sent | None
    response: Received | None


def entry(letter: Letter, held: str, slot: int, expires_at: int) -> LetterEntry:
    """The letter's place in the index, its body being one of the object `held`."""
    says = letters.named(letter.event)
    name = says.event if says.type == "track" and says.event else says.type
    return LetterEntry(
        place=letter.place,
        kind=letter.kind,
        reason=letter.reason[:LONGEST_TEXT],
        at=letter.at,
        job=letter.job,
        index=letter.index,
        source=letter.run.source,
        user=letter.run.key[:LONGEST_TEXT],
        event=name and name[:LONGEST_TEXT],
        message_id=says.message_id and says.message_id[:LONGEST_TEXT],
        attempts=letter.attempts,
        object=held,
        slot=slot,
        expires_at=expires_at,
    )


def matches(found: LetterEntry, wanted: LetterFilter, replay: str | None = None) -> bool:
    """Whether a letter is among those wanted. What `replay` itself has replayed stays so, what failed in it is not."""
    exact = (
        (wanted.kind, found.kind),
        (wanted.reason, found.reason),
        (wanted.user, found.user),
        (wanted.event, found.event),
    )
    return (
        all(given is None or given == has for given, has in exact)
        and (wanted.since is None or found.at >= wanted.since)
        and (wanted.until is None or found.at <= wanted.until)
        and (wanted.letter is None or found.place == letters.place_in(wanted.letter))
        and (wanted.include_replayed or found.replayed_at is None or found.replay == replay)
        and not (replay is not None and found.place.endswith(replay))
    )


def view(item: LetterEntry) -> LetterView:
    return LetterView(**_shown(item))


def whole(item: LetterEntry, letter: Letter) -> WholeLetter:
    request, response = letter.request, letter.response
    if request is not None:
        request = msgspec.structs.replace(request, headers=letters.masked(request.headers))
    if response is not None:
        response = msgspec.structs.replace(response, headers=letters.masked(response.headers))
    return WholeLetter(
        **_shown(item), first_at=letter.first_at, content=_content(letter), request=request, response=response
    )


def _content(letter: Letter) -> Raw:
    """The event with what it shares with its run; what is no JSON object as the text that it is."""
    try:
        return Raw(msgspec.json.encode(whole_event(letter.run, letter.event)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Raw(msgspec.json.encode(bytes(letter.event).decode("utf-8", "replace")))


def _shown(item: LetterEntry) -> dict[str, Any]:
    names = [name for name in LetterView.__struct_fields__ if name != "expires_at"]
    expires_at = iso(datetime.fromtimestamp(item.expires_at, UTC))
    return {name: getattr(item, name) for name in names} | {"expires_at": expires_at}


def iso(moment: datetime) -> str:
    """ISO 8601 UTC with milliseconds, as letters have it, which sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def checked(wanted: LetterFilter, within: str = "") -> LetterFilter:
    """The filter with its times in UTC, which can be compared and kept. Raises `Invalid`, of a field `within`."""
    from_, to = _in_utc(wanted.from_, f"{within}from"), _in_utc(wanted.to, f"{within}to")
    if from_ is not None and to is not None and from_ > to:
        raise Invalid("invalid_time", f"{within}from is later than {within}to", f"{within}from")
    return msgspec.structs.replace(wanted, from_=from_, to=to)


def _in_utc(moment: datetime | None, field: str) -> datetime | None:
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise Invalid("invalid_time", f"{field} is before the year 1 or after the year 9999 in UTC", field) from None


def time_in(text: str | None, field: str) -> datetime | None:
    """A time that a query names. Raises `Invalid`."""
    found = None if text is None else instant(text)
    if text is not None and found is None:
        raise Invalid("invalid_time", f"{field} is an ISO 8601 date and time", field)
    return found


def place_of_id(letter_id: str) -> str:
    """Raises `NotFound` for what no letter's id can be."""
    place = letters.place_in(letter_id)
    if place is None:
        raise NotFound("letter_not_found", "this destination has no such letter")
    return place
