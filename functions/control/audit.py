"""The audit log."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain import audit
from penstock.domain.audit import EntryList

resource = Resource("audit")


@resource.operation(
    "GET",
    "/control/audit",
    name="listAudit",
    summary="List who changed what and when, the newest first",
    scope="audit:read",
    answer=EntryList,
    paged=True,
)
def listed(call: Call) -> EntryList:
    found, more = call.ports.ledger.entries(call.caller.workspace_id, call.window("audit"))
    return EntryList([audit.view(entry) for entry in found], more)
