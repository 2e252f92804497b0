"""The homes of ordering keys in memory; it runs the contract tests of the table that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.domain.home import Home, HomeKey, Name
from penstock.errors import StoreChanged
from penstock.steps import keep_order
from tests.fakes_pipeline import Inline, MemoryStream


class MemoryHomes:
    def __init__(self) -> None:
        self.items: dict[HomeKey, Home] = {}

    def read(self, keys: Sequence[HomeKey]) -> Mapping[HomeKey, Home]:
        return {key: self.items.get(key, Home()) for key in keys}

    def carry(self, key: HomeKey, names: Sequence[Name], turn: int | None) -> None:
        assert len(set(names)) == len(names), "DynamoDB takes no set in which anything is twice"
        found = self.items.get(key, Home())
        if turn is not None and found.turn != turn:
            raise StoreChanged("moved")
        self.items[key] = Home(found.turn, found.behind | set(names))

    def sent(self, key: HomeKey, names: Sequence[Name], homecoming: int | None) -> None:
        found = self.items.get(key, Home())
        comes_home = homecoming is not None and found.behind == set(names) and found.turn < homecoming
        self.items[key] = Home(homecoming if comes_home else found.turn, found.behind - set(names))

    def move(self, key: HomeKey, turn: int) -> None:
        found = self.items.get(key, Home())
        self.items[key] = Home(max(found.turn, turn), found.behind)


def order(**given: Any) -> keep_order.Ports:
    """What keeping order works with, in memory; each port can be given."""
    made = {
        "homes": MemoryHomes(),
        "live": MemoryStream(),
        "bulk": MemoryStream(),
        "threads": Inline(),
        "clock": lambda: 1_800_000_000.0,
        "sleep": lambda _: None,
        "settles_s": 30.0,
    }
    return keep_order.Ports(**made | given)
