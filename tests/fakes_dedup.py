"""A stand-in for the table of claims; it runs the contract tests of what it stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.domain.dedup import Claims, KeyState, Known, Owner, Wanted
from penstock.errors import StoreUnavailable


@dataclass
class MemoryDedup:
    """Claims by ordering key and day; counts the calls."""

    claims: dict[tuple[Owner, str], Claims] = field(default_factory=lambda: defaultdict(dict))
    states: dict[Owner, KeyState] = field(default_factory=dict)
    reads: int = 0
    writes: int = 0
    down: bool = False

    def read(self, wanted: Sequence[Wanted]) -> dict[Owner, Known]:
        self._up()
        self.reads += 1
        return {
            each.owner: Known(
                self.states.get(each.owner, KeyState()),
                {day: dict(self.claims.get((each.owner, day), {})) for day in each.days},
            )
            for each in wanted
        }

    def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
        self._up()
        self.writes += 1
        held = self.claims[owner, day]
        return {id_: held.setdefault(id_, claim) for id_, claim in claims.items()}

    def _up(self) -> None:
        if self.down:
            raise StoreUnavailable("down")
