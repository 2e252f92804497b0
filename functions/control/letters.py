"""Letters: what a destination did not take, and replays of it."""

from __future__ import annotations

from typing import Any, get_args

from functions.control.serving import Call, Resource
from penstock.domain import letter_index, replays
from penstock.domain.letter_index import LONGEST_TEXT, LetterFilter, LetterList, WholeLetter
from penstock.domain.letters import Kind
from penstock.domain.openapi import Parameter
from penstock.domain.replays import NewReplay, OneReplay, ReplayList, ReplayView
from penstock.errors import Invalid
from penstock.steps import keep_replays, read_letters

resource = Resource("letters")
LETTERS = "/control/destinations/{destination_id}/letters"
REPLAYS = "/control/destinations/{destination_id}/replays"
TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}
TIME = {"type": "string", "format": "date-time"}
KINDS = get_args(Kind)
FILTERS = (
    Parameter("kind", "Those that are dead, or those that were discarded", {"type": "string", "enum": list(KINDS)}),
    Parameter("reason", "Such as `http_404`", TEXT),
    Parameter("from", "Those that became letters at that time or later", TIME),
    Parameter("to", "Those that became letters at that time or earlier", TIME),
    Parameter("user", "Those of this ordering key", TEXT),
    Parameter("event", "Those of this event, or of this call where it is none with a name", TEXT),
)


@resource.operation(
    "GET",
    LETTERS,
    name="listLetters",
    summary="List the events that a destination did not take, the newest first",
    scope="destinations:read",
    answer=LetterList,
    paged=True,
    query=FILTERS,
)
def listed(call: Call) -> LetterList:
    destination_id = _known(call)
    window = call.window(read_letters.list_of(destination_id))
    ports = call.ports.letters
    return read_letters.list_letters(call.caller.workspace_id, destination_id, _filter(call), window, ports)


@resource.operation(
    "GET",
    LETTERS + "/{letter_id}",
    name="getLetter",
    summary="Read an event that a destination did not take, with what was sent and what came back",
    scope="destinations:read",
    answer=WholeLetter,
)
def read(call: Call) -> WholeLetter:
    destination_id = _known(call)
    return read_letters.read_letter(call.caller.workspace_id, destination_id, call.ids["letter_id"], call.ports.letters)


@resource.operation(
    "POST",
    LETTERS + "/{letter_id}/replay",
    name="replayLetter",
    summary="Send one event again",
    scope="destinations:write",
    body=OneReplay,
    needs_body=False,
    answer=ReplayView,
    status=201,
    conflicts=True,
)
def replay_one(call: Call) -> ReplayView:
    wanted = NewReplay(LetterFilter(letter=call.ids["letter_id"]), call.body.to)
    begun = keep_replays.begin_replay(call.ports.replays, call.caller, call.ids["destination_id"], wanted)
    return replays.view(begun)


@resource.operation(
    "POST",
    REPLAYS,
    name="createReplay",
    summary="Send events again that a destination did not take, in order, beside the live ones",
    scope="destinations:write",
    body=NewReplay,
    answer=ReplayView,
    status=201,
    conflicts=True,
)
def create(call: Call) -> ReplayView:
    begun = keep_replays.begin_replay(call.ports.replays, call.caller, call.ids["destination_id"], call.body)
    return replays.view(begun)


@resource.operation(
    "GET",
    REPLAYS,
    name="listReplays",
    summary="List the replays of a destination's letters, the newest first",
    scope="destinations:read",
    answer=ReplayList,
    paged=True,
)
def listed_replays(call: Call) -> ReplayList:
    destination_id = call.ids["destination_id"]
    window = call.window(keep_replays.list_of(destination_id))
    found, more = keep_replays.list_replays(call.ports.replays, call.caller.workspace_id, destination_id, window)
    return ReplayList([replays.view(item) for item in found], more)


@resource.operation(
    "GET",
    REPLAYS + "/{replay_id}",
    name="getReplay",
    summary="Read how far a replay has come",
    scope="destinations:read",
    answer=ReplayView,
)
def read_replay(call: Call) -> ReplayView:
    ids = (call.ids["destination_id"], call.ids["replay_id"])
    return replays.view(keep_replays.read_replay(call.ports.replays, call.caller.workspace_id, *ids))


@resource.operation(
    "POST",
    REPLAYS + "/{replay_id}/cancel",
    name="cancelReplay",
    summary="Let a replay go no further; what it has sent stays sent",
    scope="destinations:write",
    answer=ReplayView,
    conflicts=True,
)
def cancel(call: Call) -> ReplayView:
    ids = (call.ids["destination_id"], call.ids["replay_id"])
    return replays.view(keep_replays.cancel_replay(call.ports.replays, call.caller, *ids))


def _known(call: Call) -> str:
    destination_id = call.ids["destination_id"]
    index = call.ports.letters.index
    read_letters.require_known(call.ports.ledger.store, index, call.caller.workspace_id, destination_id)
    return destination_id


def _filter(call: Call) -> LetterFilter:
    """What the query asks for; what was replayed is listed too."""
    given = {name: call.query[name] for name in ("reason", "user", "event") if name in call.query}
    for name, value in given.items():
        if not 0 < len(value) <= LONGEST_TEXT:
            raise Invalid("invalid_filter", f"{name} has 1 to {LONGEST_TEXT} characters", name)
    kind = call.query.get("kind")
    if kind is not None and kind not in KINDS:
        raise Invalid("invalid_kind", f"kind is one of {', '.join(KINDS)}", "kind")
    times = {
        f"{name}_" if name == "from" else name: letter_index.time_in(call.query.get(name), name)
        for name in ("from", "to")
    }
    wanted = LetterFilter(kind=kind, **given, **times, include_replayed=True)  # type: ignore[arg-type]
    return letter_index.checked(wanted)
