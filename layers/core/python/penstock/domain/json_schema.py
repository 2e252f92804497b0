"""An event's observed schema as JSON Schema 2020-12. Every event that was observed validates against it."""

from __future__ import annotations

from typing import Any, Final

from penstock.domain.schema_facts import First, Sighting, tree_of
from penstock.domain.schema_model import EventSchema
from penstock.domain.schema_tree import ARRAY, INTEGER, NUMBER, OBJECT, STRING, TIMESTAMP, Node

Json = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final = {TIMESTAMP: STRING}


def json_schema(schema: EventSchema) -> Json:
    """The whole event's schema. A text that is sometimes a date-time is a string: formats are told, not asserted.

    What a guard left out is allowed, and so is every name that was not seen yet.
    """
    root = tree_of((place.path, _sighting(place.kinds)) for place in schema.places)
    identity: Json = {"type": {"const": schema.call}}
    if schema.event is not None:
        identity["event"] = {"const": schema.event}
    sections = {name: _described(section) for name, section in sorted(root.names.items())}
    return {
        "$schema": DIALECT,
        "title": schema.event or schema.call,
        "type": "object",
        "properties": {**identity, **sections},
    }


def _sighting(kinds: tuple[str, ...]) -> Sighting:
    return Sighting({kind: First("", "") for kind in kinds})


def _described(node: Node, others: Node | None = None) -> Json:
    """A place's schema; `others` is the map whose values may stand there as well."""
    if others is not None:
        return {"anyOf": [_described(node), _described(others)]}
    types = sorted({_TYPES.get(kind, kind) for kind in node.kinds} - ({INTEGER} if NUMBER in node.kinds else set()))
    described: Json = {"type": types[0] if len(types) == 1 else types} if types else {}
    if TIMESTAMP in node.kinds and STRING not in node.kinds:
        described["description"] = "an ISO 8601 date-time"
    if OBJECT in node.kinds and node.names:
        described["properties"] = {name: _described(node.names[name], node.values) for name in sorted(node.names)}
    if OBJECT in node.kinds and node.values is not None:
        described["additionalProperties"] = _described(node.values)
    if ARRAY in node.kinds and node.elements is not None:
        described["items"] = _described(node.elements)
    return described
