"""What became of one event."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import trace
from penstock.domain.event import LONGEST_MESSAGE_ID
from penstock.domain.openapi import PATTERNS, Parameter
from penstock.domain.trace import TraceView
from penstock.steps import trace_event

resource = Resource("trace")
TRACE = "/control/trace"
USER = Parameter(
    "user",
    "The event's anonymousId, or its userId where it has none",
    {"type": "string", "minLength": 1},
    required=True,
)
SOURCE = Parameter("source", "Its source, else every one", {"type": "string", "pattern": PATTERNS["source_id"]})
MESSAGE = Parameter(
    "message_id",
    "The event's messageId",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_MESSAGE_ID},
    required=True,
)


@resource.operation(
    "GET",
    TRACE + "/{message_id}",
    name="traceEvent",
    summary="Tell what became of an event at every destination",
    scope="destinations:read",
    answer=TraceView,
    query=(USER, SOURCE),
)
def of_path(call: Call) -> TraceView:
    return _traced(call, call.ids["message_id"])


@resource.operation(
    "GET",
    TRACE,
    name="traceEventByQuery",
    summary="Tell what became of an event, whatever its messageId",
    scope="destinations:read",
    answer=TraceView,
    query=(MESSAGE, USER, SOURCE),
)
def of_query(call: Call) -> TraceView:
    return _traced(call, call.query.get("message_id"))


def _traced(call: Call, message_id: str | None) -> TraceView:
    source = call.query.get("source")
    named, user = trace.checked(message_id, call.query.get("user"), source)
    return trace_event.trace_event(call.caller.workspace_id, named, user, source, call.ports.trace)
