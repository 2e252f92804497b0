"""The schema of a source's events: what was observed, and how it changed."""

from __future__ import annotations

import re

from msgspec import Raw

from functions.control.serving import Call, Resource
from penstock.domain.openapi import Parameter
from penstock.domain.schema_event import EventKey
from penstock.domain.schema_view import ChangeList, EventList, EventView
from penstock.domain.sources import Source
from penstock.errors import Invalid
from penstock.steps import read_schema
from penstock.steps.read_schema import Asked

resource = Resource("schema")
SCHEMA = "/control/sources/{source_id}/schema"
FORMAT = Parameter("format", "`jsonschema` for JSON Schema 2020-12", {"type": "string", "enum": ["jsonschema"]})
EVENT = Parameter("event", "The event's name", {"type": "string", "minLength": 1}, required=True)
AFTER = Parameter("after", "The `next` of the answer before", {"type": "string", "pattern": "^(0|[1-9][0-9]{0,15})$"})
WAIT = Parameter(
    "wait", "For how many seconds to wait for a change, eight at most", {"type": "integer", "minimum": 0, "maximum": 60}
)
_VERSION = re.compile(AFTER.schema["pattern"])
_SECONDS = re.compile(r"[1-5]?[0-9]|60")


@resource.operation(
    "GET",
    SCHEMA,
    name="listEvents",
    summary="List a source's events with their counts",
    scope="sources:read",
    answer=EventList,
    paged=True,
)
def listed(call: Call) -> EventList:
    source = _source(call)
    return read_schema.events(source.workspace_id, source.id, call.window(read_schema.LIST), call.ports.schema)


@resource.operation(
    "GET",
    SCHEMA + "/events",
    name="getSchemaByQuery",
    summary="Read the schema of a track call's event, whatever its name",
    scope="sources:read",
    answer=EventView,
    query=(EVENT, FORMAT),
    or_document=True,
)
def by_query(call: Call) -> Raw:
    name = call.query.get("event")
    if not name:
        raise Invalid("missing_event", "event names the event whose schema is asked for", "event")
    return _schema(call, "track", name)


@resource.operation(
    "GET",
    SCHEMA + "/events/{event}",
    name="getSchema",
    summary="Read the schema of a track call's event",
    scope="sources:read",
    answer=EventView,
    query=(FORMAT,),
    or_document=True,
)
def of_event(call: Call) -> Raw:
    return _schema(call, "track", call.ids["event"])


@resource.operation(
    "GET",
    SCHEMA + "/calls/{call}",
    name="getSchemaOfCall",
    summary="Read the schema of a source's identify, page, screen, group or alias calls",
    scope="sources:read",
    answer=EventView,
    query=(FORMAT,),
    or_document=True,
)
def of_call(call: Call) -> Raw:
    return _schema(call, call.ids["call"], None)


@resource.operation(
    "GET",
    SCHEMA + "/changes",
    name="listSchemaChanges",
    summary="Follow the changes of a source's schema, without gap and without repeat",
    scope="sources:read",
    answer=ChangeList,
    query=(AFTER, WAIT),
)
def changes(call: Call) -> ChangeList:
    source = _source(call)
    after, wait = call.query.get("after", "0"), call.query.get("wait", "0")
    if not _VERSION.fullmatch(after):
        raise Invalid("invalid_cursor", "after is the `next` of an earlier answer", "after")
    if not _SECONDS.fullmatch(wait):
        raise Invalid("invalid_wait", "wait is a whole number of seconds from 0 to 60", "wait")
    limit = read_schema.CHANGES_AT_ONCE
    wait_s = min(int(wait), call.ports.longest_wait_s)
    return read_schema.changes(source.workspace_id, source.id, int(after), limit, wait_s, call.ports.schema)


def _schema(call: Call, kind: str, event: str | None) -> Raw:
    source = _source(call)
    form = call.query.get("format", read_schema.VIEW)
    if "format" in call.query and form != read_schema.JSON_SCHEMA:
        raise Invalid("invalid_format", "format is `jsonschema`, or is left out", "format")
    key = EventKey(source.workspace_id, source.id, kind, event)
    return call.ports.schema.answers.get(Asked(key, source.schema_policy, form))


def _source(call: Call) -> Source:
    return call.ports.ledger.get(Source, call.caller.workspace_id, call.ids["source_id"])
