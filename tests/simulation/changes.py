"""What people do while events flow: settings, pauses, replays, sources that are moved to the bulk stream and back."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.routing import Route
from penstock.domain.subscription import parse
from penstock.domain.turns import Announced, may_announce, next_turn
from penstock.domain.webhook import Webhook
from tests.simulation import gatekeeping, replaying, tool
from tests.simulation.tool import Site
from tests.simulation.wiring import FRESH_S, SETTLES_S, SOURCES, WORKSPACE, moment

if TYPE_CHECKING:
    from tests.simulation.world import World

SUBSCRIPTIONS = (None, None, "properties.n > 3", 'userId = "u1"', 'type = "track" and properties.n != 5')
MAX_AGES_S = (14_400, 14_400, 60, 300)
RATES = (None, None, None, 2.0)
AT_ONCE = (None, None, None, 1)


class Changes:
    """Drawn from the world's seed, and done when their time has come."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self.left_paused: set[str] = set()

    def plan(self) -> None:
        acts = (self._resubscribe, self._disable, self.add_destination, self._delete)
        self._at_times(self._chance.choice((0, 0, 1, 3)), *acts)
        self._at_times(self._chance.choice((0, 1, 2)), self._pause)
        self._at_times(self._chance.choice((0, 1, 2, 4)), self._replay)
        self._at_times(self._chance.choice((0, 0, 2, 4)), self._move_source)

    def plan_many(self, count: int) -> None:
        """Of those that decide what goes where, on top of the others."""
        acts = (self._resubscribe, self._resubscribe, self._disable, self._replay)
        for _ in range(count):
            self._at_times(1, *acts)

    def end(self) -> None:
        """When the storm is over: what people do then."""
        for name in self._world.config.versions:
            if name not in self.left_paused:
                self._resume(name)
            if self._chance.random() < 0.5:
                self._replay_of(name)

    def _at_times(self, count: int, *acts: Any) -> None:
        for _ in range(count):
            self._world.clock.at(self._chance.uniform(0.1, 0.9) * self._world.until, self._chance.choice(acts))

    # destinations

    def add_destination(self) -> None:
        world, chance = self._world, self._chance
        number = len(world.config.versions)
        name = f"dst_{number:012d}"
        route = Route(
            id=name,
            name=f"Webhook {number}",
            enabled=True,
            source_ids=frozenset(SOURCES if chance.random() < 0.7 else SOURCES[:1]),
            subscription=self._subscription(),
            queue_url=f"https://sqs/{name}.fifo",
        )
        policy = DeliveryPolicy(
            max_age_s=chance.choice(MAX_AGES_S),
            throttled_max_age_s=chance.choice((None, *MAX_AGES_S)),
            requests_per_s=chance.choice(RATES),
            concurrency=chance.choice(AT_ONCE),
        )
        webhook = Webhook(enabled=True, url=f"https://{name}.example", headers={}, secret=None, policy=policy)
        own = random.Random(f"site {world.seed} {number}")
        moods = tool.moods(own, world.until)
        world.sites.by_url[webhook.url] = Site(name, world.weather, own, moods, own.random() < 0.3)
        world.config.put(name, route, webhook)
        world.map_queue(name, world.queues.make(route.queue_url, visibility_s=chance.choice((360.0, 360.0, 90.0))))

    def _subscription(self) -> Any:
        text = self._chance.choice(SUBSCRIPTIONS)
        return None if text is None else parse(text)

    def _resubscribe(self) -> None:
        name, route, webhook = self._any()
        if route is not None:
            self._world.config.put(name, replace(route, subscription=self._subscription()), webhook)

    def _disable(self) -> None:
        name, *_ = self._any()
        self._enable(name, False)
        self._later(self._enable, name, True)

    def _enable(self, name: str, enabled: bool) -> None:
        now = self._world.config.now(name)
        if now.route is not None and now.webhook is not None:
            self._world.config.put(name, replace(now.route, enabled=enabled), replace(now.webhook, enabled=enabled))

    def _delete(self) -> None:
        name, route, _ = self._any()
        if route is not None:
            self._world.delete(name)

    def _pause(self) -> None:
        name, *_ = self._any()
        gatekeeping.moved_by_hand(self._world.gates, (WORKSPACE, name), True, self._epoch_s)
        self._world.wake(name)
        if self._chance.random() < 0.2:
            self.left_paused.add(name)
        else:
            self._later(self._resume, name)

    def _resume(self, name: str) -> None:
        gatekeeping.moved_by_hand(self._world.gates, (WORKSPACE, name), False, self._epoch_s)
        self.left_paused.discard(name)
        self._world.wake(name)

    def _replay(self) -> None:
        name, *_ = self._any()
        self._replay_of(name)

    def _replay_of(self, name: str) -> None:
        """Beside another one, too. The control API refuses where the destination is gone or takes nothing."""
        route = self._world.config.now(name).route
        if route is None or not route.enabled:
            return
        at = moment(self._world, 0.0)
        ticket = replaying.begin(self._world.replays, WORKSPACE, name, at)
        self._world.tickets.put(ticket, 1)

    # sources

    def _move_source(self) -> None:
        source = self._chance.choice(SOURCES)
        known = self._world.announced.get(source, Announced())
        if may_announce(known, self._epoch_s, SETTLES_S):
            self._world.announced[source] = next_turn(known, self._epoch_s, FRESH_S)

    @property
    def _epoch_s(self) -> float:
        return self._world.began + self._world.clock.now

    def _later(self, act: Any, *given: Any) -> None:
        at = self._world.clock.now + self._world.until * self._chance.uniform(0.05, 0.4)
        self._world.clock.at(at, act, *given)

    def _any(self) -> tuple[str, Route | None, Webhook | None]:
        name = self._chance.choice(list(self._world.config.versions))
        now = self._world.config.now(name)
        return name, now.route, now.webhook
