"""Keep gates: the gatekeeper does what a gate says is due, however it came to hear of it.

A chore names a destination and nothing else. What is to be done is read from its gate: switch its mapping, tell its
workspace, probe it. So a chore may come twice, late or never; the tick sends one for every gate that is overdue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import msgspec

from penstock.domain import audit, destinations
from penstock.domain import gate_moves as moves
from penstock.domain.config import Steps
from penstock.domain.destinations import Destination
from penstock.domain.evidence import rested
from penstock.domain.gate import GATEKEEPER, Gate, GateChange, GateState, Key, Mapped, Pool
from penstock.domain.overflow import REFILLED_EVERY_S, QueueKey
from penstock.errors import StoreChanged, Unavailable
from penstock.steps.probe_queue import Deliver, Queue, Tried, hide, probe_queue
from penstock.steps.watch_gate import Chore, Chores, GateBook

TRIES = 3
SETTLING_S = 5.0  # until a mapping that is being changed is looked at again
SURE_AFTER_S = 125.0  # a gatekeeper lives for 120: one that read the gate before may still change its mapping
MOST_AT_ONCE = 500  # gates of one tick; the rest is still overdue at the next


class AllGates(GateBook, Protocol):
    def due(self, now: float, most: int) -> Sequence[Key]:
        """Those that should have been looked after by now, the longest overdue first."""


class Burials(Protocol):
    """What becomes of destinations that are no more. Raises `Unavailable`."""

    def overdue(self, now: float, most: int) -> Sequence[Key]: ...

    def look(self, workspace: str, destination: str) -> str:
        """Go on with it; how far it is."""


class Store(Protocol):
    """Configuration and audit log. Raises `StoreUnavailable`."""

    def find(self, kind: type[Destination], workspace_id: str, item_id: str) -> Destination | None: ...

    def commit(self, steps: Steps, entry: audit.Entry | None) -> object: ...


class Switch(Protocol):
    def put(self, mapping_id: str, wanted: Mapped) -> bool:
        """Have a mapping do what is wanted; whether it does already. Raises `QueueUnavailable`."""


class Overflow(Protocol):
    """What waits outside a destination's queues. Raises `Unavailable`."""

    def park(self, queues: Sequence[QueueKey], parking: int) -> bool:
        """Move the queues' jobs there; whether all of them are."""

    def has_lanes(self, queue: QueueKey) -> bool:
        """Whether there are jobs outside a queue that are to come back to it."""

    def refill(self, queue: QueueKey) -> bool: ...

    def refill_in_turn(self, workspace: str, destination: str, queues: Sequence[QueueKey]) -> bool:
        """Put jobs back, if it is time; whether to come again after `REFILLED_EVERY_S`."""

    def put_off(self, workspace: str, destination: str) -> None: ...


class Bus(Protocol):
    def tell_gate(self, event_id: str, detail: bytes) -> None:
        """Raises `BusUnavailable`."""


@dataclass(frozen=True)
class Ports:
    book: AllGates
    store: Store
    switch: Switch
    queue: Queue
    deliver: Deliver
    overflow: Overflow
    burials: Burials
    chores: Chores
    bus: Bus
    threads: Executor
    clock: Callable[[], float]


def tick(ports: Ports) -> int:
    """A chore for each gate that is overdue; how many. Raises `Unavailable`."""
    now = ports.clock()
    due = dict.fromkeys([*ports.book.due(now, MOST_AT_ONCE), *ports.burials.overdue(now, MOST_AT_ONCE)])
    if due:
        ports.chores.send([Chore(*key) for key in due])
    return len(due)


def tend_all(keys: Iterable[Key], ports: Ports) -> dict[Key, str | Unavailable]:
    """Look after several gates at once: the state of each then, or what kept it from being looked after."""

    def tended(key: Key) -> str | Unavailable:
        try:
            return tend(*key, ports)
        except Unavailable as error:
            return error

    each = list(dict.fromkeys(keys))
    return dict(zip(each, ports.threads.map(tended, each), strict=True))


def tend(workspace: str, destination: str, ports: Ports) -> str:
    """Do all that a gate says is due; its state then. Raises `Unavailable`: whatever is left is overdue soon."""
    for _ in range(TRIES - 1):
        try:
            return _tended(workspace, destination, ports)
        except StoreChanged:
            continue  # somebody else has changed it meanwhile: what is due now is another thing
    return _tended(workspace, destination, ports)


def _tended(workspace: str, destination: str, ports: Ports) -> str:
    """The gate is read first: of a mapping that was made before its note in the gate, the destination tells then."""
    gate = ports.book.read(workspace, destination)
    item = ports.store.find(Destination, workspace, destination)
    if item is None:
        return ports.burials.look(workspace, destination)
    after = _Keeper(item, ports).tended(gate)
    return f"{after.state.value}, untold" if after.untold else after.state.value


@dataclass(frozen=True)
class _Keeper:
    """One look at one gate."""

    item: Destination
    ports: Ports

    def tended(self, gate: Gate) -> Gate:
        now = self.ports.clock()
        gate = self._told(self._switched(self._saved(gate, rested(gate, now))))
        if gate.is_parking_due(now):
            return self._parked(gate)
        if gate.is_probe_due(now):
            gate = self._told(self._switched(self._probed(gate)))
        gate = self._drained(gate)
        self._refilled(gate)
        return gate

    def _saved(self, before: Gate, after: Gate) -> Gate:
        if after == before:
            return before
        return self.ports.book.save(self.item.workspace_id, self.item.id, before, after)

    def _switched(self, gate: Gate) -> Gate:
        """What stays another way than it was made is looked at every time: nobody else would see that it is not so.

        That a change has begun is noted first: if it is to be undone before it is done, somebody still looks.
        """
        if gate.has_parked and gate.wanted.on and not gate.mapped.on:
            gate = self._parked(gate, is_to_flow=True) if gate.may_park(self.ports.clock()) else gate
            if gate.has_parked:
                return gate
        stays = gate.state is GateState.PAUSED or gate.wanted == Mapped(True, Pool.SLOW)
        if gate.mapped == gate.wanted and not stays:
            return gate
        if gate.mapped != gate.wanted:
            gate = self._saved(gate, msgspec.structs.replace(gate, mapped=gate.mapped._replace(settled=False)))
        mappings = [each for each in (self.item.mapping_id, self.item.import_mapping_id) if each]
        are_done = [self.ports.switch.put(each, gate.wanted) for each in mappings]
        if not all(are_done):
            self._later(SETTLING_S)
            return gate
        is_sure = self.ports.clock() - gate.since >= SURE_AFTER_S
        return self._saved(gate, msgspec.structs.replace(gate, mapped=gate.wanted._replace(settled=is_sure)))

    def _drained(self, gate: Gate) -> Gate:
        """Once its queues are seen empty nothing is left in them of the time when it was shut."""
        if not gate.may_be_drained or any(self.ports.queue.waiting(queue.url) for queue in self._queues):
            return gate
        return self._saved(gate, moves.drained(gate))

    def _told(self, gate: Gate) -> Gate:
        """What a person did is in the audit log already, under their name; the rest is entered before any is told.

        What could not be told stays noted, and its gate is overdue: nothing else has to wait for the bus.
        """
        left = list(gate.untold)
        with suppress(Unavailable):
            for change in gate.untold:
                if change.actor == GATEKEEPER:
                    self.ports.store.commit([], self._entry(change))
            while left:
                self.ports.bus.tell_gate(f"{self.item.id}#{audit.iso(left[0].at)}", self._detail(left[0]))
                del left[0]
        return self._saved(gate, msgspec.structs.replace(gate, untold=tuple(left)))

    def _entry(self, change: GateChange) -> audit.Entry:
        """Told twice, it is the same entry."""
        action = "gate.opened" if change.after == GateState.OPEN.value else "gate.closed"
        suffix = self.item.id.removeprefix("dst_")
        return audit.entry(self.item.workspace_id, suffix, change.at, GATEKEEPER, action, self.item.id)

    def _detail(self, change: GateChange) -> bytes:
        told = {
            "workspace": self.item.workspace_id,
            "destination": self.item.id,
            "from": change.before,
            "to": change.after,
            "reason": change.reason,
            "at": audit.iso(change.at),
        }
        return msgspec.json.encode(told)

    def _probed(self, gate: Gate) -> Gate:
        if gate.has_parked:
            gate = self._parked(gate, is_to_flow=True)
            if gate.has_parked:
                return gate
        claimed, tried = self._tried(self._saved(gate, moves.probing(gate, self.ports.clock())))
        now = self.ports.clock()
        after = moves.after_probe(claimed, tried.probed, now)
        if after.next_probe_at is None:
            return self._saved(claimed, after)
        hide(tried, after.next_probe_at - now, self.ports.queue)
        saved = self._saved(claimed, after)
        self._later(after.next_probe_at - now)
        return saved

    def _tried(self, gate: Gate) -> tuple[Gate, Tried]:
        """What the first of its queues showed that has a job to try.

        Of a queue that is empty because all of it is elsewhere some is put back first.
        """
        waiting = 0
        for queue in self._queues:
            tried = self._tried_of(queue, gate)
            if not tried.received:
                inside, is_outside = self.ports.queue.waiting(queue.url), self.ports.overflow.has_lanes(queue)
                waiting += inside + is_outside
                if is_outside and not inside:
                    gate = self._saved(gate, moves.put_back(gate, self.ports.clock()))
                    self.ports.overflow.refill(queue)
                    tried = self._tried_of(queue, gate)
            if tried.received:
                return gate, tried
        return gate, Tried(waiting=waiting)

    def _tried_of(self, queue: QueueKey, gate: Gate) -> Tried:
        users = moves.users_to_probe(gate.probes)
        return probe_queue(self.item.id, queue.url, users, self.ports.queue, self.ports.deliver)

    def _parked(self, gate: Gate, is_to_flow: bool = False) -> Gate:
        """Its queues' jobs, as far as time goes; `is_to_flow` where it is done for that, so that nothing stays behind.

        That it has begun is noted first: nothing flows from then on before all of it is done.
        """
        begun = self._saved(gate, moves.parking(gate, self.ports.clock()))
        try:
            is_whole = self.ports.overflow.park(self._queues, round(begun.parking * 1000))
            parked = self._saved(begun, moves.after_parking(begun, is_whole, is_to_flow, self.ports.clock()))
        except Unavailable:
            with suppress(Unavailable):
                self._left_off(begun)
            raise
        if not is_whole or (parked.state is GateState.CLOSED and not is_to_flow):
            self._later(moves.PARKED_ON_AFTER_S)
        return parked

    def _left_off(self, begun: Gate) -> None:
        """Whoever has changed the gate meanwhile, so that it flows, has not to wait until this one must be dead."""
        found = self.ports.book.read(self.item.workspace_id, self.item.id)
        self._saved(found, moves.left_off(begun, found, self.ports.clock()))

    @property
    def _queues(self) -> list[QueueKey]:
        """The one for what comes as it happens, and, once it had an import, the other."""
        item = self.item
        urls = {item.id: item.queue_url, destinations.import_name(item.id): item.import_queue_url}
        return [QueueKey(item.workspace_id, name, url) for name, url in urls.items() if url]

    def _refilled(self, gate: Gate) -> None:
        of = (self.item.workspace_id, self.item.id)
        if not gate.is_flowing:
            self.ports.overflow.put_off(*of)
        elif self.ports.overflow.refill_in_turn(*of, self._queues):
            self._later(REFILLED_EVERY_S)

    def _later(self, delay_s: float) -> None:
        self.ports.chores.send([Chore(self.item.workspace_id, self.item.id, delay_s)])
