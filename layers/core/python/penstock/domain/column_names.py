"""How columns and tables are named: in snake case, as Segment's warehouses name them, and short enough for Postgres.

A name is ASCII: lower-case letters, digits and single underscores, beginning with a letter. Two underscores stand
only before the family in the name of a variant, so no variant is ever taken for a property. A name may be a reserved
word of SQL: whoever writes SQL quotes names.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from penstock.domain.schema_paths import ELEMENTS, VALUES, name_of, steps

LONGEST_NAME: Final = 63  # bytes, Postgres's limit, the least of all warehouses'
LONGEST_BASE: Final = LONGEST_NAME - len("__boolean") - len("_99999")

DROPPED_SECTIONS: Final = frozenset({"properties", "traits"})
TABLES: Final[Mapping[str, str]] = {
    "identify": "identifies",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}

_HASH_LENGTH = 8
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def base_name(path: str) -> str:
    """The name that a path's column wants: `properties.fooBar` gives `foo_bar`, `context.page.url` `context_page_url`.

    At most `LONGEST_BASE` bytes. A map's column is named for the map: `properties.scores.*` gives `scores`.
    """
    section, *rest = (name_of(step) for step in steps(path) if step not in (ELEMENTS, VALUES))
    return _name(rest if rest and section in DROPPED_SECTIONS else [section, *rest], path)


def variant_name(base: str, family: str) -> str:
    """The name that the column of a path's further family wants: `total__string`."""
    return f"{base}__{family}"


def table_name(call: str, event: str | None = None) -> str:
    """The name that a table wants: a track call's comes from its event, any other's from the call.

    An event "Pages" wants the table of the page calls, too: `allocated` keeps them apart.
    """
    return TABLES[call] if call in TABLES else _name([event or ""], event or "")


def allocated(wanted: str, owner: str, taken: Mapping[str, str]) -> str:
    """The name of `owner`: the one that it has, else the first free one of wanted, wanted_2, wanted_3 and so on.

    `taken` gives each name its owner. The caller keeps what was given, for good: no owner's name ever changes.
    """
    known = next((name for name, holder in taken.items() if holder == owner), None)
    if known is not None:
        return known
    numbered = (f"{wanted}_{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([wanted], numbered) if name not in taken)


def has_columns(path: str) -> bool:
    """Whether values of this path have a column: not within arrays, which are one column, nor within a map's values.

    `x.*` has the map's column, of the family "object". A plain object has none but under the policy `widen`, where one
    that met another family is kept as text; elsewhere its members have theirs.
    """
    found = steps(path)
    return ELEMENTS not in found and VALUES not in found[:-1]


def _name(names: Iterable[str], source: str) -> str:
    plain = _without_accents("_".join(names))
    readable = _SEPARATORS.sub("_", _HUMP.sub("_", plain).lower()).strip("_")
    is_telling = bool(readable) and not _loses_letters(plain)
    if not readable[:1].isalpha():
        readable = f"column_{readable}".rstrip("_")
    if is_telling and len(readable) <= LONGEST_BASE:
        return readable
    return f"{readable[: LONGEST_BASE - _HASH_LENGTH - 1].rstrip('_')}_{_hash(source)}"


def _without_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


def _loses_letters(text: str) -> bool:
    """Whether letters or digits of another script will be missing from the name."""
    return not text.isascii() and any(char.isalnum() and not char.isascii() for char in text)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_LENGTH // 2).hexdigest()
