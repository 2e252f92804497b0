"""What each instance of a function works with: the real steps' ports, on fakes, each call an effect of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from penstock.domain.dedup import KeyState, Known, Owner, Wanted
from penstock.domain.delivery import Patience
from penstock.domain.event import iso
from penstock.domain.known_key import KnownKey
from penstock.domain.progress import Progress
from penstock.domain.turns import Announced
from penstock.errors import BusUnavailable, QueueUnavailable, StoreUnavailable, Unavailable
from penstock.steps import (
    bury,
    collect,
    deliver,
    fan_out,
    keep_burials,
    keep_gates,
    keep_order,
    replay_letters,
)
from penstock.steps.fan_out import Message
from penstock.steps.keep_burials import KeepBurials
from penstock.steps.keep_letters import KeepLetters
from penstock.steps.keep_overflow import KeepOverflow
from penstock.steps.keep_rate import KeepRate
from penstock.steps.record import Ledger
from penstock.steps.spill import Spill
from penstock.steps.watch_gate import WatchGate
from tests.fakes_dedup import MemoryDedup
from tests.fakes_gate import MemoryDeliveries
from tests.fakes_overflow import MemoryOverflow
from tests.fakes_pipeline import MemoryImports, MemoryPlans
from tests.simulation.clock import Threads
from tests.simulation.fifo import Queues
from tests.simulation.gatekeeping import Bus, Probe, ProbeQueue, Store
from tests.simulation.lambdas import Instance, Memory
from tests.simulation.replaying import ReplayQueues, Retention, Targets
from tests.simulation.stores import Config, Inflow, Parked
from tests.simulation.weather import Effects, Weather

if TYPE_CHECKING:
    from tests.simulation.world import World

FRESH_S, GATE_FRESH_S = 10.0, 5.0
OUTAGE_S = 60.0  # for which what is known serves on
SETTLES_S = 30.0
PATIENCE = Patience(4.0, 10.0)
SOURCES = ("src_" + "a" * 12, "src_" + "b" * 12)
WORKSPACE = "ws_" + "a" * 12


def collect_ports(world: World, instance: Instance) -> Any:
    return collect.Ports(
        write_keys=Memory(_Keys(world.announced).get, FRESH_S, 0.0, world.clock),
        stream=Inflow(world.live, world.weather),
        bulk=Inflow(world.bulk, world.weather),
        now=lambda: moment(world, 0.0),
        new_id=lambda: f"made-{world.chance.random()}",
        settles_s=SETTLES_S,
    )


def fan_out_ports(world: World, instance: Instance) -> Any:
    order = keep_order.Ports(
        homes=_store(world, world.homes),
        live=Inflow(world.live, world.weather),
        bulk=Inflow(world.bulk, world.weather),
        threads=_threads(world),
        clock=lambda: epoch_s(world, instance),
        sleep=world.clock.sleep,
        settles_s=SETTLES_S,
    )
    given = {
        "dedup": _store(world, _Claims(world.dedup, world.overflow)),
        "routes": Memory(_store(world, _Routes(world.config)).read, FRESH_S, OUTAGE_S, world.clock),
        "queues": _Refusing(world.queues, world.weather),
        "imports": MemoryImports(None),
        "spill": Spill(
            _store(world, world.overflow), _depths(world), lambda: epoch_s(world, instance), world.overflows_at
        ),
        "receipts": _store(world, world.receipts),
        "parked": _store(world, Parked()),
        "plans": MemoryPlans(),
        "order": order,
        "measure": lambda _: None,
        "note_lag": lambda *_: None,
        "stream": Inflow(world.live, world.weather),
        "threads": _threads(world),
        "now": lambda: iso(moment(world, instance.skew_s)),
        "sleep": world.clock.sleep,
    }
    return fan_out.Ports(**{each.name: given[each.name] for each in fields(fan_out.Ports)})


def deliver_ports(world: World, instance: Instance) -> Any:
    def now_s() -> float:
        return epoch_s(world, instance)

    gates = Memory(_store(world, world.gates).find, GATE_FRESH_S, OUTAGE_S, world.clock)
    receipts = _store(world, world.receipts)
    return deliver.Ports(
        destinations=Memory(_store(world, _Webhooks(world.config)).read, FRESH_S, OUTAGE_S, world.clock),
        gates=gates,
        watch=WatchGate(
            gates,
            _store(world, world.gates),
            _store(world, MemoryDeliveries(world.receipts.read)),
            Effects(world.chores, world.weather, QueueUnavailable),
            now_s,
        ),
        rate=KeepRate(_store(world, world.rates), now_s, world.chance.random, lambda: f"{world.chance.random()}"),
        tool=world.sites,
        progress=_Notes(_store(world, world.progress)),
        queue=Effects(world.queues, world.weather, QueueUnavailable),
        letters=KeepLetters(
            _store(world, world.letters.bodies),
            _store(world, world.letters.index),
            Retention(),
            now_s,
            lambda: f"{world.chance.random()}",
        ),
        receipts=receipts,
        threads=_threads(world),
        now=lambda: moment(world, instance.skew_s),
        seconds=world.clock,
        chance=world.chance.random,
        patience=PATIENCE,
    )


def gatekeeper_ports(world: World, instance: Instance) -> Any:
    probing = deliver_ports(world, instance)

    def effect(act: Callable[[], Any]) -> Any:
        return world.weather.effect(act, QueueUnavailable)

    return keep_gates.Ports(
        book=_store(world, world.gates),
        store=_store(world, _settings(world)),
        switch=Effects(world.switch, world.weather, QueueUnavailable),
        queue=ProbeQueue(world.queues, effect),
        deliver=Probe(world.clock, _with(probing, watch=_NoWatch())),
        overflow=KeepOverflow(
            _store(world, world.overflow),
            ProbeQueue(world.queues, effect),
            _depths(world),
            probing.progress,
            lambda: epoch_s(world, instance),
            world.overflows_at,
        ),
        burials=_burials(world, instance, probing, ProbeQueue(world.queues, effect)),
        chores=Effects(world.chores, world.weather, QueueUnavailable),
        bus=Effects(Bus(), world.weather, BusUnavailable),
        threads=_threads(world),
        clock=lambda: epoch_s(world, instance),
    )


def _burials(world: World, instance: Instance, probing: Any, queue: ProbeQueue) -> KeepBurials:
    def now_s() -> float:
        return epoch_s(world, instance)

    overflow = _store(world, world.overflow)
    graves = bury.Ports(
        queue=queue,
        overflow=overflow,
        progress=probing.progress,
        letters=probing.letters,
        receipts=probing.receipts,
        now=lambda: moment(world, instance.skew_s),
    )
    ports = keep_burials.Ports(
        ledger=Ledger(_store(world, _settings(world)), lambda length: "x" * length, now_s),
        notes=_store(world, world.burials),
        queues=Effects(_Named(world), world.weather, QueueUnavailable),
        mappings=Effects(world.switch, world.weather, QueueUnavailable),
        gates=_store(world, world.gates),
        queue=queue,
        overflow=overflow,
        graves=graves,
        chores=Effects(world.chores, world.weather, QueueUnavailable),
        outlives_s=world.outlives_s,
    )
    return KeepBurials(ports)


def _settings(world: World) -> Store:
    return Store(world.config, world.unfinished)


def replay_ports(world: World, instance: Instance) -> Any:
    return replay_letters.Ports(
        index=_store(world, world.letters.index),
        bodies=_store(world, world.letters.bodies),
        replays=_store(world, world.replays),
        targets=_store(world, Targets(world.config)),
        queues=_depths(world),
        receipts=_store(world, world.receipts),
        tickets=Effects(world.tickets, world.weather, QueueUnavailable),
        now=lambda: iso(moment(world, instance.skew_s)),
        new_id=lambda: f"{world.chance.random()}",
        sleep=world.clock.sleep,
    )


def moment(world: World, skew_s: float) -> datetime:
    return datetime.fromtimestamp(world.began + world.clock.now + skew_s, UTC)


def epoch_s(world: World, instance: Instance) -> float:
    return moment(world, instance.skew_s).timestamp()


def _depths(world: World) -> ReplayQueues:
    return ReplayQueues(_Refusing(world.queues, world.weather).send, world.queues)


def _store(world: World, port: Any) -> Any:
    return Effects(port, world.weather, StoreUnavailable)


def _threads(world: World) -> Executor:
    return Threads(world.clock)


def _with(ports: Any, **changes: Any) -> Any:
    return type(ports)(**({each.name: getattr(ports, each.name) for each in fields(ports)} | changes))


class _Named:
    """The queues by the names of their destinations; there are none for imports."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.delete = world.take_down

    def find(self, destination_id: str) -> str | None:
        mapping = self._world.mappings.get(destination_id)
        return None if mapping is None else f"https://sqs/{destination_id}.fifo"


class _Keys:
    """Write keys end with their source's number."""

    def __init__(self, announced: dict[str, Announced]) -> None:
        self._announced = announced

    def get(self, key: str) -> KnownKey:
        source = SOURCES[int(key[-1])]
        return KnownKey(WORKSPACE, source, True, self._announced.get(source, Announced()))


class _Routes:
    def __init__(self, config: Config) -> None:
        self.read = config.routes


class _Webhooks:
    def __init__(self, config: Config) -> None:
        self.read = config.webhook


class _Notes:
    """Where a note is refused, what it would have told may be done again."""

    def __init__(self, notes: Any) -> None:
        self.read, self.give_back, self._write = notes.read, notes.give_back, notes.write

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None:
        try:
            self._write(workspace, destination, job_id, progress)
        except Unavailable:
            getcurrent().of.excuse("a note was refused", job_id)
            raise


class _Refusing:
    """Queues that take some entries of a call and refuse others."""

    def __init__(self, queues: Queues, weather: Weather) -> None:
        self._queues = queues
        self._weather = weather

    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        throttle = self._weather.odds.throttle
        taken = [each for each in messages if not self._weather.strikes(throttle)]
        self._weather.effect(lambda: self._queues.send(queue_url, taken), QueueUnavailable)
        return {each.id for each in messages} - {each.id for each in taken}


class _NoWatch:
    def report(self, *given: Any) -> None:
        pass


class _Claims:
    """The table of claims, whose items of keys also say which lanes of them overflow."""

    def __init__(self, dedup: MemoryDedup, overflow: MemoryOverflow) -> None:
        self.claim = dedup.claim
        self._dedup = dedup
        self._overflow = overflow

    def read(self, wanted: Sequence[Wanted]) -> dict[Owner, Known]:
        found = self._dedup.read(wanted)
        marks = self._overflow.marks
        return {
            owner: known._replace(key=KeyState(over=frozenset(marks.get(owner, ())))) for owner, known in found.items()
        }
