"""`penstock destinations dead`, `replay`, `replays`: what a destination did not take, and sending it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from penstock.local.cli_destinations import DestinationId
from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, errors, show, show_json, show_list, show_one
from penstock.local.control_client import PAGE, ControlClient
from penstock.local.trouble import Trouble

Json = dict[str, Any]

LOOK_EVERY_S = 0.5
LIVE = ("pending", "running")
SHOWN = ("id", "at", "kind", "reason", "user", "event", "message_id", "attempts", "replayed_at")


class Kind(StrEnum):
    """What became of an event that was not delivered."""

    DEAD = "dead"
    DISCARDED = "discarded"


LetterId = Annotated[str | None, typer.Argument(metavar="LETTER", help="One of them, by its id.")]
KindOf = Annotated[Kind | None, typer.Option("--kind", help="Given up after its last try, or refused for good.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Such as http_404.")]
User = Annotated[str | None, typer.Option("--user", help="The ordering key: anonymousId, else userId.")]
Event = Annotated[str | None, typer.Option("--event", help="The event's name, or its call where it has none.")]
Since = Annotated[str | None, typer.Option("--since", help="Not before this ISO 8601 date and time.")]
Until = Annotated[str | None, typer.Option("--until", help="Not after this ISO 8601 date and time.")]


def dead(
    destination: DestinationId,
    letter: LetterId = None,
    kind: KindOf = None,
    reason: Reason = None,
    user: User = None,
    event: Event = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What a destination did not take, the newest first; with LETTER all of one, as JSON."""
    api, path = control(), f"/control/destinations/{destination}/letters"
    if letter is not None:
        show_json(api.get(f"{path}/{letter}"))
        return
    found = islice(letters(api, path, given(kind, reason, user, event, since, until)), limit)
    show_list(found, SHOWN, as_json)


def replay(
    destination: DestinationId,
    letter: LetterId = None,
    every: Annotated[bool, typer.Option("--all", help="All that were not replayed yet.")] = False,
    kind: KindOf = None,
    reason: Reason = None,
    user: User = None,
    event: Event = None,
    since: Since = None,
    until: Until = None,
    again: Annotated[bool, typer.Option("--again", help="Those too that were replayed already.")] = False,
    to: Annotated[str | None, typer.Option("--to", help="Another destination to send them to.")] = None,
    wait: Annotated[bool, typer.Option(help="Stay until all are on their way.")] = True,
    as_json: AsJson = False,
) -> None:
    """Send again what a destination did not take: one LETTER, --all, or what the options pick; 1 if that fails."""
    wanted = given(kind, reason, user, event, since, until)
    if (letter is not None) + every + bool(wanted) != 1:
        raise Trouble("give one of: LETTER, --all, or options that pick some, such as --reason")
    api, path = control(), f"/control/destinations/{destination}"
    if letter is not None:
        begun = api.post(f"{path}/letters/{letter}/replay", {"to": to})
    else:
        begun = api.post(f"{path}/replays", {"filter": {**wanted, "include_replayed": again}, "to": to})
    ended = follow(lambda: api.get(f"{path}/replays/{begun['id']}"), begun) if wait else begun
    show_json(ended) if as_json else show(line_of(ended))
    if ended["state"] in ("failed", "cancelled"):
        raise typer.Exit(1)


def replays(
    destination: DestinationId,
    cancel: Annotated[str | None, typer.Option("--cancel", help="The id of one that is to go no further.")] = None,
    as_json: AsJson = False,
) -> None:
    """The replays of what a destination did not take, the newest first."""
    api, path = control(), f"/control/destinations/{destination}/replays"
    if cancel is not None:
        show_one(api.post(f"{path}/{cancel}/cancel"), as_json)
        return
    columns = ("id", "created_at", "state", "total", "sent", "missing", "skipped", "to", "filter", "reason")
    show_list(api.get(path, limit=PAGE)["replays"], columns, as_json)


def letters(api: ControlClient, path: str, wanted: Json) -> Iterator[Json]:
    """Page by page; one may be empty and yet not the last."""
    query = {**wanted, "limit": PAGE}
    while True:
        page = api.get(path, **query)
        yield from page["letters"]
        if not page["next"]:
            return
        query["next"] = page["next"]


def follow(look: Callable[[], Json], begun: Json) -> Json:
    """The replay as it ended, its progress shown meanwhile. Who interrupts this does not interrupt the replay."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors(), transient=True) as shown:
        task = shown.add_task(begun["state"], total=begun["total"])
        found = begun
        while found["state"] in LIVE:
            time.sleep(LOOK_EVERY_S)
            found = look()
            done = found["sent"] + found["missing"] + found["skipped"]
            shown.update(task, description=found["state"], total=found["total"], completed=done)
    return found


def line_of(found: Json) -> str:
    total = "?" if found["total"] is None else found["total"]
    gone = f", {found['missing']} gone" if found["missing"] else ""
    skipped = f", {found['skipped']} left to another replay" if found["skipped"] else ""
    why = f" ({found['reason']})" if found["reason"] else ""
    return f"{found['id']} is {found['state']}{why}: {found['sent']} of {total} sent to {found['to']}{gone}{skipped}"


def given(
    kind: Kind | None, reason: str | None, user: str | None, event: str | None, since: str | None, until: str | None
) -> Json:
    """The options that were given, in the API's words."""
    named = {"kind": kind and kind.value, "reason": reason, "user": user, "event": event, "from": since, "to": until}
    return {name: value for name, value in named.items() if value is not None}
