"""Sources."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import sources
from penstock.domain.sources import NewSource, Source, SourceChange, SourceList, SourceView
from penstock.steps import keep_sources

resource = Resource("sources")
ONE = "/control/sources/{source_id}"


@resource.operation(
    "POST",
    "/control/sources",
    name="createSource",
    summary="Create a source with its first write key",
    scope="sources:write",
    body=NewSource,
    answer=SourceView,
    status=201,
)
def create(call: Call) -> SourceView:
    return sources.view(keep_sources.create_source(call.ports.ledger, call.caller, call.body))


@resource.operation(
    "GET",
    "/control/sources",
    name="listSources",
    summary="List sources",
    scope="sources:read",
    answer=SourceList,
    paged=True,
)
def listed(call: Call) -> SourceList:
    found, more = call.ports.ledger.page(Source, call.caller.workspace_id, call.window(Source.kind))
    return SourceList([sources.view(item) for item in found], more)


@resource.operation("GET", ONE, name="getSource", summary="Read a source", scope="sources:read", answer=SourceView)
def read(call: Call) -> SourceView:
    return sources.view(call.ports.ledger.get(Source, call.caller.workspace_id, call.ids["source_id"]))


@resource.operation(
    "PATCH",
    ONE,
    name="changeSource",
    summary="Rename, enable or disable a source; a disabled one takes no events",
    scope="sources:write",
    body=SourceChange,
    answer=SourceView,
    conflicts=True,
)
def change(call: Call) -> SourceView:
    return sources.view(keep_sources.change_source(call.ports.ledger, call.caller, call.ids["source_id"], call.body))


@resource.operation(
    "DELETE",
    ONE,
    name="deleteSource",
    summary="Delete a source and its write keys",
    scope="sources:write",
    status=204,
    conflicts=True,
)
def delete(call: Call) -> None:
    keep_sources.delete_source(call.ports.ledger, call.caller, call.ids["source_id"])
