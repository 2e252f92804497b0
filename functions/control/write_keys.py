"""Write keys of a source."""

from __future__ import annotations

from functions.control.serving import Call, Resource
from penstock.domain.sources import WriteKey, WriteKeyChange
from penstock.steps import keep_sources

resource = Resource("write keys")
ALL = "/control/sources/{source_id}/write-keys"
ONE = ALL + "/{key}"


@resource.operation(
    "POST",
    ALL,
    name="createWriteKey",
    summary="Add a write key to a source",
    scope="sources:write",
    answer=WriteKey,
    status=201,
    conflicts=True,
)
def create(call: Call) -> WriteKey:
    return keep_sources.add_write_key(call.ports.ledger, call.caller, call.ids["source_id"])


@resource.operation(
    "PATCH",
    ONE,
    name="changeWriteKey",
    summary="Enable or disable a write key",
    scope="sources:write",
    body=WriteKeyChange,
    answer=WriteKey,
    conflicts=True,
)
def change(call: Call) -> WriteKey:
    source_id, key = call.ids["source_id"], call.ids["key"]
    return keep_sources.change_write_key(call.ports.ledger, call.caller, source_id, key, call.body)


@resource.operation(
    "DELETE",
    ONE,
    name="deleteWriteKey",
    summary="Delete a write key",
    scope="sources:write",
    status=204,
    conflicts=True,
)
def delete(call: Call) -> None:
    keep_sources.delete_write_key(call.ports.ledger, call.caller, call.ids["source_id"], call.ids["key"])


@resource.operation(
    "POST",
    ONE + "/rotate",
    name="rotateWriteKey",
    summary="Add a write key that is to replace this one, which works on until it is disabled or deleted",
    scope="sources:write",
    answer=WriteKey,
    status=201,
    conflicts=True,
)
def rotate(call: Call) -> WriteKey:
    return keep_sources.rotate_write_key(call.ports.ledger, call.caller, call.ids["source_id"], call.ids["key"])
