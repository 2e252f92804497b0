"""What the kinds seen at a place amount to: its type, and what one more kind changes.

A place's state is the set of kinds seen there, and merging is the union, so no order of events matters. Kinds that one
column can hold without loss are a family; `null` belongs to every family. All else is a function of the set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final, Literal

from penstock.domain.schema_tree import ARRAY, BOOLEAN, INTEGER, NULL, NUMBER, OBJECT, STRING, TIMESTAMP
from penstock.domain.timestamps import is_timestamp

Policy = Literal["variant", "widen", "strict"]
VARIANT: Final = "variant"
WIDEN: Final = "widen"
STRICT: Final = "strict"
POLICIES: Final[tuple[Policy, ...]] = (VARIANT, WIDEN, STRICT)

Change = Literal["added", "widened", "conflict"]

# Each family is named for its widest kind; its kinds stand from narrow to wide.
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    BOOLEAN: (BOOLEAN,),
    NUMBER: (INTEGER, NUMBER),
    STRING: (TIMESTAMP, STRING),
    OBJECT: (OBJECT,),
    ARRAY: (ARRAY,),
}

_FAMILY_OF: Final = {kind: family for family, kinds in FAMILIES.items() for kind in kinds} | {NULL: NULL}
_KIND_OF: Final[Mapping[type, str]] = {
    type(None): NULL,
    bool: BOOLEAN,
    int: INTEGER,
    float: NUMBER,
    Decimal: NUMBER,
    dict: OBJECT,
    list: ARRAY,
}


def kind_of(value: object) -> str:
    """The kind of a decoded JSON value: None, bool, int, float, Decimal, str, list or a mapping.

    `1.0` is a number and no integer: that is how it was written. TypeError for what JSON cannot say.
    """
    if isinstance(value, str):
        return TIMESTAMP if is_timestamp(value) else STRING
    kind = _KIND_OF.get(type(value))
    if kind is not None:
        return kind
    if isinstance(value, Mapping):
        return OBJECT
    raise TypeError(f"no JSON value: {type(value).__name__}")


def family_of(kind: str) -> str:
    """The family of a kind; "null", which belongs to all of them, for null."""
    return _FAMILY_OF[kind]


def families(kinds: Collection[str]) -> frozenset[str]:
    """The families of these kinds; null adds none."""
    return frozenset(_FAMILY_OF[kind] for kind in kinds if kind != NULL)


def is_conflict(kinds: Collection[str]) -> bool:
    """Whether no single column holds all these kinds as what they are."""
    return len(families(kinds)) > 1


def resolved(kinds: Collection[str], policy: Policy, first: str, family: str | None = None) -> str:
    """The type of the place's column; "null" where none but nulls were seen.

    - "variant": each family has a column; the type of that of `family` (the family of `first` where it is not given).
    - "widen": one column of the least type that holds all kinds without loss, a string at last.
    - "strict": `first`, the kind of the value with the least (receivedAt, messageId) that is not null. Null decides
      nothing, so `first` is "null" only where there is no other kind.
    """
    if policy == STRICT:
        return first
    if policy == WIDEN:
        return _widest(kinds)
    return _widest_of(family or family_of(first), kinds)


def change(before: Collection[str], kind: str) -> Change:
    """What `kind`, which is not in `before`, means to a place where `before` was seen.

    "added": the place is new. "conflict": no column so far holds the new kind. "widened": one does, if need be by a
    wider type; a first null, and a first value after nulls alone, count as this.
    """
    if not before:
        return "added"
    known = families(before)
    return "conflict" if known and kind != NULL and family_of(kind) not in known else "widened"


def _widest(kinds: Collection[str]) -> str:
    found = families(kinds)
    if len(found) > 1:
        return STRING
    return _widest_of(next(iter(found), NULL), kinds)


def _widest_of(family: str, kinds: Collection[str]) -> str:
    return next((kind for kind in reversed(FAMILIES.get(family, ())) if kind in kinds), NULL)
