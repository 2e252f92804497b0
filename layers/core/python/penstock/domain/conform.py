"""An event as a row of typed columns, and back: nothing is cast with loss, and nothing is dropped.

A column holds a value only where its type says the same as the value did. What the column alone would not give back
(an explicit null, `5` in a column of doubles or of text, a time that was written another way) is kept beside it as it
was, and what no column takes is kept whole. So a row gives back its event, whatever the schema it was made with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec import Struct, field

from penstock.domain.schema_lattice import STRICT, WIDEN, Policy, family_of, kind_of, resolved
from penstock.domain.schema_model import Place
from penstock.domain.schema_paths import VALUES, below, name_of, named, steps
from penstock.domain.schema_tree import ARRAY, BOOLEAN, INTEGER, NULL, NUMBER, OBJECT, STRING, TIMESTAMP
from penstock.domain.timestamps import instant

SECTIONS: Final = ("properties", "traits", "context")
LEAST_INTEGER: Final = -(2**63)
GREATEST_INTEGER: Final = 2**63 - 1


class Row(Struct):
    """One event.

    - `columns`: by column name; bool, int of 64 bits, float, text of a UTC time (`2024-01-01T00:00:00.000000Z`), str,
      a list as it came, or for a map a dict of its names to their values as they came. A missing column is NULL.
    - `message`: the event's fields outside of its sections, as they came.
    - `was`: by path, the value as it came where it is not what its column holds, a null and an empty object included.
    - `unfit`: by path, the value as it came where no column takes it.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict)
    was: dict[str, Any] = field(default_factory=dict)
    unfit: dict[str, Any] = field(default_factory=dict)


def decode(text: bytes) -> Any:
    """JSON without loss: ints of any size, and as Decimal the numbers that a double does not hold as they are written.

    `-0` comes as `-0.0`, since no int holds it. ValueError for what is no JSON, NaN and Infinity included, and for a
    number with an exponent past 10^18.
    """
    return json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_refused)


def conform(event: Mapping[str, Any], schema: Mapping[str, Place], policy: Policy) -> Row:
    """The row of one event as `decode` gave it; shares its values with the event. Never fails.

    `schema` is by path, and no two of its columns may have one name. Columns are `Place.columns` by the family of the
    value's kind. Under the policy "widen" a place has one column for all kinds: the first that `Place.columns` lists.
    """
    row = Row(message={name: value for name, value in event.items() if name not in SECTIONS})
    todo = [(section, event[section]) for section in SECTIONS if section in event]
    while todo:  # no recursion: a client decides how deep this goes
        path, value = todo.pop()
        place = schema.get(path)
        if place is None:
            row.unfit[path] = value
        elif value is None:
            row.was[path] = None
        elif (type_ := _type(place, kind_of(value), policy)) == OBJECT:
            todo += _opened(row, path, value, schema)
        elif type_ is None or not _fits(row, place, value, type_, policy):
            row.unfit[path] = value
    return row


def restored(row: Row, schema: Mapping[str, Place]) -> dict[str, Any]:
    """The event that a row was made from, but for the order of names; shares its values with the row.

    The schema may have grown since and the policy may have changed: columns keep their names, which is all that counts.
    """
    event = dict(row.message)
    for path, value in _held(row, schema):
        _put(event, path, value)
    for path, value in (row.was | row.unfit).items():
        _put(event, path, value)
    return event


def _type(place: Place, kind: str, policy: Policy) -> str | None:
    """The type of the column that a value of this kind belongs in; None where it belongs in none."""
    if kind not in place.kinds or (policy == STRICT and kind != place.first):
        return None
    return resolved(place.kinds, policy, place.first, family_of(kind))


def _opened(row: Row, path: str, value: Mapping[str, Any], schema: Mapping[str, Place]) -> Iterator[tuple[str, Any]]:
    """The members that have a path of their own. Those that are values of a map enter the map's column here."""
    if not value:
        row.was[path] = value
    values = schema.get(below(path, VALUES))
    column = None if values is None else values.columns.get(OBJECT)
    for name, member in value.items():
        own = below(path, named(name))
        if column is None or _is_known(schema.get(own), member):
            yield own, member
        else:
            row.columns.setdefault(column, {})[name] = member


def _is_known(place: Place | None, value: object) -> bool:
    kind = kind_of(value)
    return place is not None and (kind == NULL or kind in place.kinds)


def _fits(row: Row, place: Place, value: Any, type_: str, policy: Policy) -> bool:
    """Whether the value has a column that takes it; enters it there."""
    column = _column(place, kind_of(value), policy)
    held = _CASTS[type_](value)
    if column is None or held is None:
        return False
    row.columns[column] = held
    if held is not value and not (type(held) is type(value) and held == value):
        row.was[place.path] = value
    return True


def _column(place: Place, kind: str, policy: Policy) -> str | None:
    if policy == WIDEN:
        return next(iter(place.columns.values()), None)
    return place.columns.get(family_of(kind))


def _held(row: Row, schema: Mapping[str, Place]) -> Iterator[tuple[str, Any]]:
    """What the columns hold, by the path that it came from. No type has to be cast back: each is JSON already."""
    for path, place in schema.items():
        for column in place.columns.values():
            if column not in row.columns:
                continue
            if path.endswith(VALUES) and steps(path)[-1] == VALUES:
                map_ = path[: -len(below("", VALUES))]
                yield from ((below(map_, named(name)), value) for name, value in row.columns[column].items())
            else:
                yield path, row.columns[column]


def _put(event: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = map(name_of, steps(path))
    for name in parents:
        event = event.setdefault(name, {})
    event[last] = value


def _as_it_is(value: Any) -> Any:
    return value


def _as_integer(value: int) -> int | None:
    return value if LEAST_INTEGER <= value <= GREATEST_INTEGER else None


def _as_number(value: float | Decimal) -> float | None:
    """The double whose shortest text says the same number; None for an int or a Decimal that has none."""
    if isinstance(value, float):
        return value
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if Decimal(repr(found)) == Decimal(value) else None


def _as_timestamp(value: str) -> str | None:
    at = instant(value)
    return None if at is None else f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _as_string(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


_CASTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    BOOLEAN: _as_it_is,
    INTEGER: _as_integer,
    NUMBER: _as_number,
    TIMESTAMP: _as_timestamp,
    STRING: _as_string,
    ARRAY: _as_it_is,
}


class _Written(str):
    """Text that is JSON already."""


def _json(value: Any) -> str:
    """A value as JSON text, every digit of its numbers kept. No recursion here either."""
    written: list[str] = []
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, Mapping):
            todo += reversed(_pieces("{", ((f"{_scalar(name)}:", member) for name, member in each.items()), "}"))
        elif isinstance(each, list):
            todo += reversed(_pieces("[", (("", element) for element in each), "]"))
        else:
            written.append(_scalar(each))
    return "".join(written)


def _pieces(opening: str, members: Iterable[tuple[str, Any]], closing: str) -> list[Any]:
    """A container as the texts around its members, and the members themselves."""
    pieces: list[Any] = []
    for key, member in members:
        pieces += (_Written(("," if pieces else opening) + key), member)
    return [*(pieces or [_Written(opening)]), _Written(closing)]


def _scalar(value: Any) -> str:
    if isinstance(value, _Written | Decimal):
        return str(value)
    if type(value) is int:
        return str(Decimal(value))  # an int's own `str` refuses more than 4,300 digits
    return json.dumps(value, ensure_ascii=False)


def _integer(text: str) -> int | float | Decimal:
    if text == "-0":
        return -0.0
    try:
        return int(text)
    except ValueError:  # more than 4,300 digits
        return Decimal(text)


def _number(text: str) -> float | Decimal:
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise ValueError("a number with an exponent past 10^18") from None
    found = _as_number(exact)
    return exact if found is None else found


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
