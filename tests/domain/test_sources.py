"""A source and the items of its write keys always say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain import sources
from penstock.domain.config import Change, Create, Remove, Steps
from penstock.domain.sources import MOST_WRITE_KEYS, Source, SourceChange, WriteKeyItem
from penstock.errors import Conflict, NotFound

AT = "2026-11-23T16:00:00.000Z"
LETTERS = "abcd"


def source() -> Source:
    return Source(
        workspace_id="ws_a", id="src_a", name="Web", enabled=True, write_keys=(), created_at=AT, updated_at=AT
    )


def applied(items: dict[str, WriteKeyItem], steps: Steps) -> None:
    """What the store would make of the steps, write keys alone; each step must fit what is there."""
    for step in steps:
        match step:
            case Create(WriteKeyItem() as item):
                assert item.id not in items
                items[item.id] = item
            case Remove(WriteKeyItem() as item):
                assert items.pop(item.id) == item
            case Change(WriteKeyItem() as before, WriteKeyItem() as after):
                assert items[before.id] == before
                items[before.id] = after


def moved(known: Source, verb: str, letter: str) -> Source:
    match verb:
        case "add" if letter not in [key.key for key in known.write_keys]:
            return sources.with_key(known, letter, AT)
        case "drop" if letter in [key.key for key in known.write_keys]:
            return sources.without_key(known, letter, AT)
        case "on" | "off" if letter in [key.key for key in known.write_keys]:
            return sources.with_key_enabled(known, letter, verb == "on", AT)
        case "enable" | "disable":
            return sources.changed(known, SourceChange(enabled=verb == "enable"), AT)
    return known


@given(
    st.lists(st.tuples(st.sampled_from(["add", "drop", "on", "off", "enable", "disable"]), st.sampled_from(LETTERS)))
)
def test_after_any_changes_collect_finds_what_the_source_says(moves: list[tuple[str, str]]) -> None:
    known, items = source(), {}
    applied(items, sources.created(known))
    for verb, letter in moves:
        after = moved(known, verb, letter)
        applied(items, sources.replaced(known, after))
        known = after
    assert {key: (item.enabled, item.source_enabled) for key, item in items.items()} == {
        key.key: (key.enabled, known.enabled) for key in known.write_keys
    }
    applied(items, sources.removed(known))
    assert items == {}


def test_a_source_has_a_bounded_number_of_write_keys() -> None:
    known = source()
    for number in range(MOST_WRITE_KEYS):
        known = sources.with_key(known, str(number), AT)
    with pytest.raises(Conflict):
        sources.with_key(known, "one more", AT)


def test_a_write_key_that_the_source_does_not_have_is_not_found() -> None:
    for change in (sources.without_key, lambda known, key, at: sources.with_key_enabled(known, key, True, at)):
        with pytest.raises(NotFound):
            change(source(), "other", AT)
