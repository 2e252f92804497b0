"""A hub in which people change their minds all the time, and of what was sent much is not noted at the first try."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.errors import StoreUnavailable
from tests.simulation.lambdas import Instance
from tests.simulation.world import World

CHANGED_EVERY_S = 15.0
MOST_CHANGES = 60
UNNOTED = 0.3


class Restless(World):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.changes.plan_many(min(int(self.until / CHANGED_EVERY_S), MOST_CHANGES))

    def fan_out_ports(self, instance: Instance) -> Any:
        ports = super().fan_out_ports(instance)
        return replace(ports, receipts=_Refusing(ports.receipts, self))

    def replay_ports(self, instance: Instance) -> Any:
        ports = super().replay_ports(instance)
        return replace(ports, receipts=_Refusing(ports.receipts, self))


class _Refusing:
    """Refuses much of what is to be kept for as long as the storm lasts."""

    def __init__(self, receipts: Any, world: World) -> None:
        self._receipts = receipts
        self._world = world

    def keep_fanout(self, *given: Any) -> None:
        self._refuse()
        self._receipts.keep_fanout(*given)

    def keep_created(self, *given: Any) -> None:
        self._refuse()
        self._receipts.keep_created(*given)

    def _refuse(self) -> None:
        if self._world.clock.now < self._world.until and self._world.chance.random() < UNNOTED:
            raise StoreUnavailable("injected")
