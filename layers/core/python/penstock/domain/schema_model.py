"""The schema of one event as it is read: every path with its kinds, its columns and what guards it."""

from __future__ import annotations

from msgspec import Struct


class Place(Struct, frozen=True, omit_defaults=True):
    """One path of an event.

    `kinds` are sorted; `first` is the kind of the value with the least (receivedAt, messageId), the one that the policy
    `strict` keeps; `columns` gives each family that has a column its name, which never changes once given.
    """

    path: str
    kinds: tuple[str, ...]
    first: str
    first_seen: str
    columns: dict[str, str] = {}
    guards: tuple[str, ...] = ()
