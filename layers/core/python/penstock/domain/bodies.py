"""Request bodies: JSON into the Struct that an operation asks for, errors naming the field in dotted form."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct

from penstock.errors import Invalid, TooLarge

LONGEST = 256 * 1024
GOT_FLOAT = ", got `float`"

B = TypeVar("B", bound=Struct)

_PLACE = re.compile(r" - at (`key` in )?`\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|missing required) field `(?P<name>[^`]*)`")


def decode(body: bytes, wanted: type[B], longest: int = LONGEST) -> B:
    """The body, of at most `longest` bytes, as `wanted`. Raises `Invalid` or `TooLarge`."""
    if len(body) > longest:
        raise TooLarge("body_too_large", f"a body has at most {longest} bytes")
    try:
        found = _decoded(body, wanted)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("invalid_json", "the body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise Invalid("invalid_json", "the body is nested too deeply") from None
    if wanted.__struct_fields__ and all(getattr(found, name) is UNSET for name in wanted.__struct_fields__):
        raise Invalid("nothing_to_change", f"give at least one of: {', '.join(wanted.__struct_fields__)}")
    return found


def _decoded(body: bytes, wanted: type[B]) -> B:
    """To JSON `60.0` is a whole number, too."""
    try:
        return msgspec.json.decode(body, type=wanted)
    except msgspec.ValidationError as error:
        if GOT_FLOAT not in str(error):
            raise
        return msgspec.convert(_with_whole_numbers(msgspec.json.decode(body)), wanted)


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_with_whole_numbers(each) for each in value]
    return {name: _with_whole_numbers(each) for name, each in value.items()} if isinstance(value, dict) else value


def _refusal(text: str) -> Invalid:
    place = _PLACE.search(text)
    reason = text[: place.start()] if place else text
    named = _NAMED.search(reason)
    parts = [_dotted(place["path"]) if place else "", named["name"] if named else ""]
    code = "unknown_field" if "unknown field" in reason else "missing_field" if named else "invalid_field"
    return Invalid(code, reason[0].lower() + reason[1:], ".".join(part for part in parts if part) or None)


def _dotted(path: str) -> str:
    """`settings.headers[...]` and `source_ids[0]` as `settings.headers` and `source_ids.0`."""
    return path.replace("[...]", "").replace("[", ".").replace("]", "")
