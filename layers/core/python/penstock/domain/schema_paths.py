r"""How a place in an event is written: `properties.products[].price`, `properties.scores.*`, `traits.a\.b`.

The elements of an array are its place followed by `[]`; the values of a map are `*`. In a property's own name `\`, `.`
and `[` are written with a `\` before them, and so is a name that is just `*`: every place has one spelling, and every
spelling one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

ELEMENTS: Final = "[]"
VALUES: Final = "*"

_SPECIAL = re.compile(r"([\\.\[])")
_PARTS = re.compile(r"(\[\])|\.?((?:[^\\.\[]|\\.)*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def named(name: str) -> str:
    """A property's own name as one step of a path."""
    return "\\*" if name == VALUES else _SPECIAL.sub(r"\\\1", name)


def below(path: str, step: str) -> str:
    """The path one step further; `step` is `[]`, `*` or what `named` gives."""
    return path + step if step == ELEMENTS else f"{path}.{step}"


def steps(path: str) -> list[str]:
    """The steps of a path as `below` takes them. ValueError for a text that is no path."""
    found = []
    place = 0
    while True:
        match = _PARTS.match(path, place)
        if match is None or (match.end() == place and path):
            raise ValueError(f"no path: {path!r}")
        found.append(match[1] or match[2])
        place = match.end()
        if place == len(path):
            return found


def name_of(step: str) -> str:
    """The property's own name of a step that is neither `[]` nor `*`."""
    return _ESCAPED.sub(r"\1", step) if "\\" in step else step


def joined(steps_: Iterable[str]) -> str:
    """The path of these steps, the first of which is a section of the event: properties, traits, context."""
    first, *rest = steps_
    for step in rest:
        first = below(first, step)
    return first
