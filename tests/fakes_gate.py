"""Stand-ins for what watching and keeping gates ask for; each runs the contract tests of what it stands for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from penstock.adapters.burial_notes import EARLY_S, OVERDUE_S
from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, DeliverReceipt
from penstock.domain.burial import Burial
from penstock.domain.evidence import MOST_STRIKES
from penstock.domain.gate import Gate, GateState, Key, Mapped, attend_at
from penstock.errors import QueueGone, QueueUnavailable, StoreChanged
from penstock.steps.lane import Message
from penstock.steps.watch_gate import Chore
from tests.fakes_pipeline import Fifo


class MemoryGates:
    """Gates in a dictionary, each with the moment at which somebody is to look after it.

    `turns` are the destinations whose overflow somebody is to look after: the same index has them. `burials` are the
    notes that lie beside the gates.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.gates: dict[Key, Gate] = {}
        self.attend_at: dict[Key, float] = {}
        self.burials: dict[Key, tuple[Burial, float, float]] = {}
        self.turns: Callable[[float], list[Key]] = lambda _: []

    def get(self, key: Key) -> Gate:
        return self.find(key)

    def find(self, key: Key) -> Gate:
        return self.gates.get(key, Gate())

    def read(self, workspace: str, destination: str) -> Gate:
        return self.find((workspace, destination))

    def save(self, workspace: str, destination: str, before: Gate, after: Gate) -> Gate:
        key = (workspace, destination)
        known = self.find(key)
        if known.version != before.version:
            raise StoreChanged("somebody was faster")
        strikes, struck_at = known.strikes, known.struck_at
        if before.state is not after.state:
            strikes, struck_at = frozenset(), None
        saved = replace(after, version=before.version + 1, strikes=strikes, struck_at=struck_at)
        self.gates[key] = saved
        self.attend_at.pop(key, None)
        if (due_at := attend_at(saved, self._clock())) is not None:
            self.attend_at[key] = due_at
        return saved

    def strike(self, workspace: str, destination: str, groups: Collection[str], now: float) -> Gate:
        known = self.find((workspace, destination))
        if known.state is not GateState.OPEN or len(known.strikes) >= MOST_STRIKES:
            return known
        first = now if known.struck_at is None else known.struck_at
        struck = replace(known, strikes=known.strikes | set(groups), struck_at=first)
        self.gates[workspace, destination] = struck
        return struck

    def absolve(self, workspace: str, destination: str) -> None:
        known = self.find((workspace, destination))
        self.gates[workspace, destination] = replace(known, strikes=frozenset(), struck_at=None)

    def due(self, now: float, most: int) -> list[Key]:
        overdue = [key for key, at in self.attend_at.items() if at <= now]
        return [*sorted(overdue, key=lambda key: self.attend_at[key]), *self.turns(now)][:most]

    def forget(self, workspace: str, destination: str) -> None:
        self.gates.pop((workspace, destination), None)
        self.attend_at.pop((workspace, destination), None)
        self.burials.pop((workspace, destination), None)


class MemoryBurials:
    """Notes of burials, each with when its next turn is and when the tick is to see to that."""

    def __init__(self, gates: MemoryGates, clock: Callable[[], float]) -> None:
        self._notes = gates.burials
        self._clock = clock

    def begin(self, workspace: str, destination: str) -> None:
        now, key = self._clock(), (workspace, destination)
        known, turn_at, attend_at = self._notes.get(key, (Burial(now), now, now + OVERDUE_S))
        self._notes[key] = (known._replace(begun_at=now), turn_at, attend_at)

    def due(self, now: float, most: int) -> list[Key]:
        overdue = [key for key, (_, _, attend_at) in self._notes.items() if attend_at <= now]
        return sorted(overdue, key=lambda key: self._notes[key][2])[:most]

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Burial | None:
        found = self._notes.get((workspace, destination))
        if found is None or found[1] > self._clock() + EARLY_S:
            return None
        self._put_off((workspace, destination), found[0], again_s)
        return found[0]

    def put_off(self, workspace: str, destination: str, after: Burial, again_s: float) -> None:
        known = self._notes.get((workspace, destination))
        if known is not None:
            self._put_off((workspace, destination), after._replace(begun_at=known[0].begun_at), again_s)

    def call_off(self, workspace: str, destination: str, before: float) -> None:
        known = self._notes.get((workspace, destination))
        if known is not None and known[0].begun_at < before:
            del self._notes[workspace, destination]

    def _put_off(self, key: Key, burial: Burial, again_s: float) -> None:
        at = self._clock() + again_s
        self._notes[key] = (burial, at, at + OVERDUE_S)


class NamedQueues:
    """Queues that are emptied by hand, found by their names."""

    def __init__(self, queues: MemoryProbeQueues, url_of: Callable[[str], str]) -> None:
        self._queues = queues.queues
        self._url_of = url_of

    def find(self, destination_id: str) -> str | None:
        url = self._url_of(destination_id)
        return url if url in self._queues else None

    def delete(self, destination_id: str) -> None:
        self._queues.pop(self._url_of(destination_id), None)


class MemoryDeliveries:
    """Whether the receipts that were kept tell of a delivery."""

    def __init__(self, read: Callable[[str, str], Sequence[object]]) -> None:
        self._read = read

    def since(self, workspace: str, destination: str, at: float) -> bool:
        rows = [row for row in self._read(workspace, destination) if isinstance(row, DeliverReceipt)]
        return any(row.at > iso(at) and DELIVERED in job.codes for row in rows for job in row.jobs.values())


class MemoryChores:
    """Chores that wait until their time has come."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.waiting: list[tuple[float, Chore]] = []
        self.down = False

    def send(self, chores: Sequence[Chore]) -> None:
        if self.down:
            raise QueueUnavailable("down")
        self.waiting += [(self._clock() + chore.delay_s, Chore(*chore)) for chore in chores]

    def take(self) -> list[Key]:
        """Those whose time has come, each once."""
        now = self._clock()
        due = [chore for at, chore in self.waiting if at <= now]
        self.waiting = [(at, chore) for at, chore in self.waiting if at > now]
        return [(chore.workspace, chore.destination) for chore in due]

    def wakes_at(self) -> float | None:
        return min((at for at, _ in self.waiting), default=None)


class MemorySwitch:
    """Mappings by their ids. `busy` refuses a change so many times, as AWS does while it makes another."""

    def __init__(self) -> None:
        self.mappings: dict[str, Mapped] = {}
        self.busy = 0
        self.changes = 0

    def put(self, mapping_id: str, wanted: Mapped) -> bool:
        if self.mappings.get(mapping_id, wanted) == wanted:
            return True
        if self.busy:
            self.busy -= 1
            return False
        self.mappings[mapping_id] = wanted
        self.changes += 1
        return True


class MemoryBus:
    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []

    def tell_gate(self, event_id: str, detail: bytes) -> None:
        self.told.append((event_id, detail))


class MemoryProbeQueues:
    """Destinations' queues, emptied by hand; SQS may well hand out fewer than ten jobs at once."""

    at_once = 10

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.queues: dict[str, Fifo] = {}

    def make(self, queue_url: str) -> Fifo:
        return self.queues.setdefault(queue_url, Fifo(self._clock))

    def receive(self, queue_url: str, hidden_s: int) -> list[Message]:
        taken = self._queue(queue_url).receive(self.at_once)
        for message in taken:
            self._queue(queue_url).hide(message.receipt, hidden_s)
        return taken

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None:
        for receipt in receipts:
            self._queue(queue_url).delete(receipt)

    def hide(self, queue_url: str, waits: Sequence[tuple[str, int]]) -> None:
        for receipt, seconds in waits:
            self._queue(queue_url).hide(receipt, seconds)

    def waiting(self, queue_url: str) -> int:
        return len(self._queue(queue_url).held)

    def _queue(self, queue_url: str) -> Fifo:
        if queue_url not in self.queues:
            raise QueueGone("SQS: no such queue")
        return self.queues[queue_url]
