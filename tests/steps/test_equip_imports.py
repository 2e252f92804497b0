"""A destination's queue for imports is made once, noted with the destination, and never left behind it."""

from __future__ import annotations

import pytest

from penstock.errors import QueueGone
from penstock.steps.equip_imports import ImportQueues
from tests.builders_pipeline import DESTINATION, WORKSPACE, route
from tests.fakes_control import MemoryMappings, MemoryQueues

IMPORT = f"{DESTINATION}-import"


class Notes:
    def __init__(self, is_there: bool = True) -> None:
        self.is_there = is_there
        self.noted: list[tuple[str, ...]] = []

    def note(self, *given: str) -> bool:
        self.noted.append(given)
        return self.is_there


def test_the_first_import_makes_queue_and_mapping_and_the_next_finds_them() -> None:
    queues, mappings, notes = MemoryQueues(), MemoryMappings(), Notes()
    imports = ImportQueues(queues, mappings, notes)
    urls = {imports.get(WORKSPACE, route()) for _ in range(3)}
    assert urls == {f"https://queues.example.com/{IMPORT}.fifo"}
    assert (queues.made, mappings.made) == ({IMPORT}, {IMPORT})
    assert notes.noted == [(WORKSPACE, DESTINATION, *urls, f"mapping-of-{IMPORT}")]


def test_what_others_have_made_stands_in_the_route() -> None:
    queues = MemoryQueues()
    assert ImportQueues(queues, MemoryMappings(), Notes()).get(WORKSPACE, route(import_queue_url="there")) == "there"
    assert queues.made == set()


def test_nothing_is_left_of_a_destination_that_was_deleted_meanwhile() -> None:
    queues, mappings = MemoryQueues(), MemoryMappings()
    with pytest.raises(QueueGone):
        ImportQueues(queues, mappings, Notes(is_there=False)).get(WORKSPACE, route())
    assert (queues.made, mappings.made) == (set(), set())
