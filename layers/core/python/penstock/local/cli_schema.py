"""`penstock schema`: what a source's events look like, and what is new about them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, json_of, show, show_json, show_list, table
from penstock.local.control_client import PAGE, ControlClient
from penstock.local.trouble import Trouble

Json = dict[str, Any]

SOURCE_ID = "src_"
WAIT_S = 8
BEGINNING = "0"


class Call(StrEnum):
    """The calls that have one schema each, whatever they say."""

    IDENTIFY = "identify"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"


class Subject(NamedTuple):
    """What is asked about: one event, one call, or with neither all of a source."""

    event: str | None
    call: Call | None

    def is_whole_source(self) -> bool:
        return self.event is None and self.call is None

    def has(self, change: Json) -> bool:
        if self.is_whole_source():
            return True
        return (change["call"], change["event"]) == (self.call or "track", self.event)


def schema(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The id of a source, or its name.")],
    event: Annotated[str | None, typer.Argument(metavar="EVENT", help="The name of a track call's event.")] = None,
    call: Annotated[Call | None, typer.Option(help="Another call in place of EVENT.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="What is new, as it comes, until interrupted.")] = False,
    from_start: Annotated[bool, typer.Option(help="With --watch: begin with what was new long ago.")] = False,
    as_json: AsJson = False,
) -> None:
    """A source's events with their counts, or the schema of one; --watch follows what changes."""
    if event is not None and call is not None:
        raise Trouble("either EVENT or --call: only track calls have an event's name")
    api = control()
    path = f"/control/sources/{source_id(api, source)}/schema"
    subject = Subject(event, call)
    if watch:
        follow(api, path, subject, from_start, as_json)
    elif subject.is_whole_source():
        show_events(events_of(api, path), as_json)
    else:
        show_schema(schema_of(api, path, subject), as_json)


def source_id(api: ControlClient, source: str) -> str:
    """Raises `Trouble` where a name is no source's, or that of several."""
    if source.startswith(SOURCE_ID):
        return source
    found = [each["id"] for each in api.all_of("sources") if each["name"] == source]
    if not found:
        raise Trouble(f"no source has the name {source!r}")
    if len(found) > 1:
        raise Trouble(f"{len(found)} sources have the name {source!r}: give one of {', '.join(found)}")
    return str(found[0])


def events_of(api: ControlClient, path: str) -> Iterator[Json]:
    """Every event of the source, page by page."""
    query: dict[str, str | int] = {"limit": PAGE}
    while True:
        page = api.get(path, **query)
        yield from page["events"]
        if not page["next"]:
            return
        query["next"] = page["next"]


def show_events(events: Iterator[Json], as_json: bool) -> None:
    show_list(events, ("call", "event", "count", "first_seen", "last_seen"), as_json)


def schema_of(api: ControlClient, path: str, subject: Subject) -> Json:
    if subject.call is not None:
        return api.get(f"{path}/calls/{subject.call}")
    return api.get(f"{path}/events", event=subject.event or "")


def show_schema(found: Json, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    seen = f"{found['count']} from {found['first_seen']} to {found['last_seen']}"
    named = f"{found['call']} {found['event'] or ''}".rstrip()
    show(f"{named}: {seen}, table {found['table']}, version {found['version']}")
    columns = ("path", "kinds", "type", "column", "count", "")
    table(columns, [path_row(path) for path in found["paths"]])
    for guard in found["guards"]:
        place = f" at {guard['path']}" if guard["path"] else ""
        show(f"guard {guard['guard']}{place}: {guard['message']} (past {guard['limit']})")


def path_row(path: Json) -> list[str]:
    columns = [path["column"] or "", *(f"{each['column']} ({each['type']})" for each in path["variants"])]
    marked = "conflict" if path["conflict"] else ""
    return [path["path"], ", ".join(path["kinds"]), path["type"], ", ".join(columns), str(path["count"]), marked]


def follow(api: ControlClient, path: str, subject: Subject, from_start: bool, as_json: bool) -> None:
    """Print each change on a line, for as long as nobody interrupts."""
    after = BEGINNING if from_start else end_of(api, path)
    for change in changes_after(api, path, after):
        if subject.has(change):
            show(json_of(change) if as_json else line_of(change))


def end_of(api: ControlClient, path: str) -> str:
    """Where the feed ends now."""
    after = BEGINNING
    while (page := api.get(f"{path}/changes", after=after))["changes"]:
        after = page["next"]
    return after


def changes_after(api: ControlClient, path: str, after: str) -> Iterator[Json]:
    while True:
        page = api.get(f"{path}/changes", after=after, wait=WAIT_S)
        yield from page["changes"]
        after = page["next"]


def line_of(change: Json) -> str:
    named = [change["call"]] if change["event"] is None else [change["call"], change["event"]]
    column = f", column {change['column']}" if change["column"] else ""
    kinds = ", ".join(change["kinds"])
    what = f"{change['kind']} (kinds {kinds}; type {change['type']}{column})"
    return " ".join([str(change["version"]), change["at"], change["change"], *named, change["path"], what])
