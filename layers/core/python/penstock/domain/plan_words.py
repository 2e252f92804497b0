"""What is told of an error of a validator, in words that hold no value, neither of the event nor of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

_SAID: Final[Mapping[str, str]] = {
    "anyOf": "the value is none of what the plan allows here",
    "const": "the value is not the one that the plan allows here",
    "contains": "no element is what the plan asks for",
    "dependentRequired": "what goes with another property is missing",
    "enum": "the value is none of those that the plan lists",
    "exclusiveMaximum": "the number is too large",
    "exclusiveMinimum": "the number is too small",
    "falseSchema": "the plan allows no value here",
    "format": "the text is not in the format that the plan says",
    "maxItems": "there are too many elements",
    "maxLength": "the text is too long",
    "maxProperties": "there are too many properties",
    "maximum": "the number is too large",
    "minItems": "there are too few elements",
    "minLength": "the text is too short",
    "minProperties": "there are too few properties",
    "minimum": "the number is too small",
    "multipleOf": "the number is no multiple of the plan's",
    "not": "the value is what the plan excludes",
    "oneOf": "the value is not exactly one of what the plan allows here",
    "pattern": "the text does not match the plan's pattern",
    "propertyNames": "a property's name is not as the plan says",
    "required": "the property is missing",
    "uniqueItems": "an element is there twice",
}


def said(keyword: str, types: Sequence[str] = ()) -> str:
    """`types` are those of the keyword `type`."""
    if keyword == "type" and types:
        return f"the value is not of type {' or '.join(types)}"
    return _SAID.get(keyword, "the value is not as the plan says")
