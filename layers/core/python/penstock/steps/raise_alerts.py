"""Raise alerts: look at the rules whose turn it is, and tell of those that have become wrong, or right again.

The tick sends chores for the destinations whose rules are due, at most a few lanes for each workspace: one whose
webhooks hang keeps up its own. A rule's turn is taken by a conditional write before it is looked at, so of two who look
at once one goes on, and what no lane came to is due at the next tick. Its change is written before it is told and
marked told after: a crash between repeats the notice, under the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from penstock.domain import alerts, health
from penstock.domain.alerts import Alert, AlertState, Key, Measured, Notice, Turn
from penstock.domain.config import Item
from penstock.domain.delivery import Answer
from penstock.domain.destinations import Destination
from penstock.domain.gate import GateState
from penstock.domain.minutes import SETTLED_AFTER_S
from penstock.errors import StoreChanged, Unavailable
from penstock.steps import read_health
from penstock.steps.read_health import Reading
from penstock.steps.watch_gate import Chore, Chores

I = TypeVar("I", bound=Item)  # noqa: E741

EVERY_S = 60.0
MOST_DUE = 50_000  # rules of one tick; the rest is still due at the next
LANES = 3  # of a workspace
MOST_IN_LANE = 500  # destinations
LANE_S = 20.0  # from then on a lane begins nothing: it is over when the next tick sends others
STALE_S = 300.0  # what is counted no further says nothing of now
ALERTS = "alerts#"  # what a chore's destination begins with, where it names a lane of them
HEADERS = {"Content-Type": "application/json", "User-Agent": "Penstock/1.0"}


class Watched(Protocol):
    """The rules that are watched. Raises `StoreUnavailable`."""

    def due(self, now: float, most: int) -> Sequence[Turn]:
        """The longest waiting first."""

    def due_of(self, workspace: str, destination: str, now: float) -> Sequence[Turn]:
        """Those of one destination, the longest waiting first."""

    def take(self, turn: Turn, next_at: float) -> Turn:
        """The turn is the caller's. Raises `StoreChanged` where another was faster."""

    def save(self, turn: Turn, state: AlertState) -> None:
        """Raises `StoreChanged` where it is somebody else's turn by now."""

    def forget(self, key: Key) -> None: ...


class Store(Protocol):
    """Configuration. Raises `StoreUnavailable`."""

    def find(self, kind: type[I], workspace_id: str, item_id: str) -> I | None: ...


class Tool(Protocol):
    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Never raises for what the other side does."""


class Topics(Protocol):
    def publish(self, topic: str, subject: str, message: str) -> bool:
        """Whether SNS took it."""


@dataclass(frozen=True)
class Ports:
    """`clock` gives epoch seconds; `room` is entered to measure, and lets in as many at once as there is memory for."""

    watched: Watched
    store: Store
    health: read_health.Ports
    tool: Tool
    topics: Topics
    chores: Chores
    clock: Callable[[], float]
    room: AbstractContextManager[object]


class Told(NamedTuple):
    """A notice, and whether it was taken: for the log."""

    notice: Notice
    is_taken: bool


def tick(ports: Ports) -> int:
    """Chores for the destinations that have rules whose turn it is; how many there are. Raises `Unavailable`."""
    waiting: dict[str, dict[str, None]] = {}
    for turn in ports.watched.due(ports.clock(), MOST_DUE):
        waiting.setdefault(turn.key.workspace, {})[turn.key.destination] = None
    chores = [Chore(workspace, what) for workspace, theirs in waiting.items() for what in _lanes(list(theirs))]
    if chores:
        ports.chores.send(chores)
    return sum(map(len, waiting.values()))


def _lanes(destinations: Sequence[str]) -> Iterator[str]:
    for lane in range(min(LANES, len(destinations))):
        yield ALERTS + ",".join(destinations[lane::LANES][:MOST_IN_LANE])


def raise_alerts(workspace: str, lane: str, ports: Ports) -> list[Told]:
    """Look at the rules of a lane's destinations whose turn it is, as many as there is time for."""
    until = ports.clock() + LANE_S
    told: list[Told] = []
    for destination in lane.removeprefix(ALERTS).split(","):
        with suppress(Unavailable):  # its turns come again
            told += _raised(workspace, destination, until, ports)
    return told


def _raised(workspace: str, destination: str, until: float, ports: Ports) -> list[Told]:
    told: list[Told] = []
    read: dict[int, Reading] = {}
    for turn in ports.watched.due_of(workspace, destination, ports.clock()) if ports.clock() <= until else ():
        if ports.clock() > until:
            break
        try:
            found = _looked_at(ports.watched.take(turn, ports.clock() + EVERY_S), read, until, ports)
        except (StoreChanged, Unavailable):
            continue  # somebody else looks at it, or its turn comes again in a minute
        told += [found] if found else []
    return told


def _looked_at(turn: Turn, read: dict[int, Reading], until: float, ports: Ports) -> Told | None:
    workspace, destination_id, alert_id = turn.key
    item = ports.store.find(Destination, workspace, destination_id)
    alert = ports.store.find(Alert, workspace, alerts.item_id(destination_id, alert_id))
    if item is None or alert is None:
        ports.watched.forget(turn.key)  # it was deleted, or its destination was
        return None
    if not alert.enabled:
        return None
    reading = read.get(alert.window_minutes) or _reading(item, alert.window_minutes, until, ports)
    read[alert.window_minutes] = reading
    if alert.metric != "gate" and _is_stale(reading):
        return None
    after = alerts.judged(alert, turn.state, _measured(reading), ports.clock())
    if after != turn.state:
        ports.watched.save(turn, after)
    return _told(turn, alert, item, after, ports) if after.is_to_be_told else None


def _reading(item: Destination, minutes: int, until: float, ports: Ports) -> Reading:
    """As of the last minutes that are counted; those of a destination that brings more at once than is counted in one
    call are some minutes old. What nobody has asked for of late is caught up with, as far as there is time.
    """
    found = _read(item, minutes, ports)
    while found.counted_to < found.now - SETTLED_AFTER_S and ports.clock() <= until:
        reached = found.counted_to
        found = _read(item, minutes, ports)
        if found.counted_to == reached:  # somebody else counts
            break
    return found


def _read(item: Destination, minutes: int, ports: Ports) -> Reading:
    """Others get in between: one who has long to catch up with keeps nobody out for as long."""
    with ports.room:
        return read_health.read(item, minutes, ports.health, as_counted=True)


def _is_stale(reading: Reading) -> bool:
    return reading.counted_to < reading.now - STALE_S


def _measured(reading: Reading) -> Measured:
    is_shut = reading.gate.state is not GateState.OPEN
    return Measured(health.delivered_share(reading.window), reading.oldest_age_s, is_shut)


def _told(turn: Turn, alert: Alert, item: Destination, state: AlertState, ports: Ports) -> Told:
    notice = alerts.notice(alert, item.name, state)
    body = msgspec.json.encode(notice)
    if alert.sns_topic is not None:
        is_taken = ports.topics.publish(alert.sns_topic, f"{alert.name}: {notice.type}", body.decode())
    else:
        answer = ports.tool.post(alert.webhook or "", {**HEADERS, "Idempotency-Key": notice.id}, body)
        is_taken = answer.status is not None and 200 <= answer.status < 300
    if is_taken:
        ports.watched.save(turn, msgspec.structs.replace(state, is_told=True))
    return Told(notice, is_taken)
