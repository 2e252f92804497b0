"""`penstock trace`: what became of one event."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, show, show_json, table

Json = dict[str, Any]


def trace(
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="The event's messageId.")],
    user: Annotated[str, typer.Option(help="Its anonymousId, or its userId where it has none.")],
    source: Annotated[str, typer.Option(help="Its source, else every one.")] = "",
    as_json: AsJson = False,
) -> None:
    """What became of an event at every destination."""
    query = {"message_id": message_id, "user": user} | ({"source": source} if source else {})
    found = control().get("/control/trace", **query)
    if as_json:
        show_json(found)
        return
    for event in found["events"]:
        show_event(event)
    if found["unasked_sources"]:
        show(f"not asked, for want of time (--source asks one): {', '.join(found['unasked_sources'])}")


def show_event(event: Json) -> None:
    when = event["accepted_at"] or f"on {event['day']}, exactly when is not known"
    show(f"{event['source']} accepted it {when}: event {event['index']} of {event['record']}")
    columns = ("destination", "name", "verdict", "why", "tries", "when", "last answer")
    table(columns, [row(each) for each in event["destinations"]])


def row(each: Json) -> tuple[str, ...]:
    last = each["last"] or {"status": None, "trouble": None, "body": ""}
    answer = " ".join(str(part) for part in (last["status"] or last["trouble"], last["body"]) if part)
    tries = "" if each["attempts"] is None else str(each["attempts"])
    return each["id"], each["name"], each["verdict"], each["reason"] or "", tries, each["at"] or "", answer
