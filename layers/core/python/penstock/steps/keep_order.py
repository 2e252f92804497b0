"""Keep order: while a source is moved between the live and the bulk stream, send each key's runs from one of them only.

`arrange` says what of a batch may be sent; `finish` comes after the sending, for what was sent, and hands keys over.
All that is done twice does no harm, and what is done but for its last part is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from penstock.domain import home
from penstock.domain.home import Act, Home, HomeKey, Line, Name
from penstock.domain.run import Run
from penstock.domain.stream_record import BULK, StreamRecord, record_of
from penstock.domain.timestamps import instant
from penstock.errors import StoreChanged

LOOKS_S = (0.2, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)  # for the answer to a fence; then the batch comes again


class Entry(NamedTuple):
    """A record of a batch that holds a run, by its own id."""

    id: str
    run: Run


class Homes(Protocol):
    """The items of ordering keys. Raises `StoreUnavailable`."""

    def read(self, keys: Sequence[HomeKey]) -> Mapping[HomeKey, Home]:
        """As they are now; one that is not there is at home in the live stream's turn 0."""

    def carry(self, key: HomeKey, names: Sequence[Name], turn: int | None) -> None:
        """Note that runs are carried. Raises `StoreChanged` unless the key is in that turn; None is any turn."""

    def sent(self, key: HomeKey, names: Sequence[Name], homecoming: int | None) -> None:
        """Note that carried runs are sent. If there are no others, the key comes home into the turn that is given."""

    def move(self, key: HomeKey, turn: int) -> None:
        """Into a later turn; from that or one after it nothing happens."""


class Stream(Protocol):
    """Raises `StreamUnavailable`."""

    def put(self, records: Sequence[StreamRecord]) -> None: ...


@dataclass(frozen=True)
class Ports:
    """`clock` is epoch seconds; `settles_s` is for how long at most a request can take."""

    homes: Homes
    live: Stream
    bulk: Stream
    threads: Executor
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    settles_s: float


@dataclass
class Arranged:
    """What becomes of each entry up to `end`, from which on the batch has to come again."""

    entries: Sequence[Entry]
    is_bulk: bool
    acts: list[Act]
    lines: dict[HomeKey, Line] = field(default_factory=dict)

    @property
    def end(self) -> int:
        held = (place for place, act in enumerate(self.acts) if act is Act.HOLD)
        return next(held, len(self.entries))

    @property
    def to_send(self) -> list[int]:
        """The places of what may be sent."""
        return [place for place in range(self.end) if self.acts[place] is Act.SEND]


def arrange(entries: Sequence[Entry], ports: Ports) -> Arranged:
    """Ask the live stream where it has to be asked first, and wait a little for its answer.

    Raises `Unavailable`.
    """
    is_bulk = any(entry.id.startswith(BULK) for entry in entries)
    found = _arranged(entries, is_bulk, ports.homes)
    asked: set[HomeKey] = set()
    for pause_s in LOOKS_S:
        if not is_bulk or found.end == len(entries):
            break
        _ask(found, asked, ports)
        ports.sleep(pause_s)
        found = _arranged(entries, is_bulk, ports.homes)
    return found


def _arranged(entries: Sequence[Entry], is_bulk: bool, homes: Homes) -> Arranged:
    keys = {home.key_of(entry.run) for entry in entries if _has_home(entry.run, is_bulk)}
    known = homes.read(sorted(keys)) if keys else {}
    found = Arranged(entries, is_bulk, [], {key: Line(known.get(key, Home())) for key in keys})
    for entry in entries:
        line = found.lines.get(home.key_of(entry.run)) if keys and not home.ignores_homes(entry.run) else None
        if line is None:
            found.acts.append(Act.SEND)
        else:
            decide = line.bulk if is_bulk else line.live
            found.acts.append(decide(entry.run, home.name_of(entry.run, entry.id)))
    return found


def _has_home(run: Run, is_bulk: bool) -> bool:
    """Whether it has to be looked up: a live run in turn 0 has nothing before it anywhere else."""
    return not home.ignores_homes(run) and (is_bulk or run.turn > 0)


def _ask(found: Arranged, asked: set[HomeKey], ports: Ports) -> None:
    """One fence for each key that is held. An early run waits for what was received before it to be in the stream."""
    fences = []
    for entry, act in zip(found.entries, found.acts, strict=True):
        key = home.key_of(entry.run)
        if act is not Act.HOLD or key in asked or found.lines[key].home.turn >= entry.run.turn:
            continue
        if not entry.run.early or ports.clock() >= _received_at(entry.run) + ports.settles_s:
            asked.add(key)
            fences.append(record_of(home.fence_for(entry.run)))
    put_in_order(fences, ports.live)


def _received_at(run: Run) -> float:
    found = instant(run.received_at)
    return found.timestamp() if found else 0.0


def finish(arranged: Arranged, end: int, ports: Ports) -> int:
    """Hand on what belongs to the entries before `end`, all of which that may be sent are; from where on to replay.

    Carried runs are noted before they are put, and both before a key moves. Raises `Unavailable`.
    """
    end = _carry(arranged, min(end, arranged.end), ports)
    if arranged.is_bulk:
        _tell_sent(arranged, end, ports)
    else:
        _each(ports, [_moving(arranged.entries[place].run, ports) for place in _places(arranged, end, Act.MOVE)])
    return end


def _carry(arranged: Arranged, end: int, ports: Ports) -> int:
    """A key that has moved meanwhile is looked at again: from its first run on the batch comes again."""
    by_key: dict[HomeKey, list[int]] = {}
    for place in _places(arranged, end, Act.CARRY):
        by_key.setdefault(home.key_of(arranged.entries[place].run), []).append(place)
    noted = dict(zip(by_key, _each(ports, [_noting(arranged, *each, ports) for each in by_key.items()]), strict=True))
    end = min([end, *(by_key[key][0] for key, is_noted in noted.items() if not is_noted)])
    records = [
        record_of(home.carried(arranged.entries[place].run, arranged.entries[place].id))
        for place in sorted(place for key, places in by_key.items() if noted[key] for place in places if place < end)
    ]
    put_in_order(records, ports.bulk)
    return end


def _noting(arranged: Arranged, key: HomeKey, places: Sequence[int], ports: Ports) -> Callable[[], bool]:
    every = [home.name_of(arranged.entries[place].run, arranged.entries[place].id) for place in places]
    names = list(dict.fromkeys(every))  # a run that was put twice may come twice
    turn = None if arranged.is_bulk else arranged.lines[key].home.turn

    def act() -> bool:
        try:
            ports.homes.carry(key, names, turn)
        except StoreChanged:
            return False
        return True

    return act


def _moving(fence: Run, ports: Ports) -> Callable[[], bool]:
    def act() -> bool:
        ports.homes.move(home.key_of(fence), fence.turn)
        return True

    return act


def _tell_sent(arranged: Arranged, end: int, ports: Ports) -> None:
    """Of the entries before `end` only; a key whose runs are not all among them does not come home yet."""
    sent: dict[HomeKey, set[Name]] = {}
    for place in _places(arranged, end, Act.SEND):
        entry = arranged.entries[place]
        key, name = home.key_of(entry.run), home.name_of(entry.run, entry.id)
        if key in arranged.lines and name in arranged.lines[key].sent:
            sent.setdefault(key, set()).add(name)
    _each(ports, [_telling(arranged.lines[key], key, names, ports) for key, names in sent.items()])


def _telling(line: Line, key: HomeKey, names: set[Name], ports: Ports) -> Callable[[], bool]:
    comes_home = line.homecoming and names == line.sent and not line.behind

    def act() -> bool:
        ports.homes.sent(key, sorted(names), line.homecoming if comes_home else None)
        return True

    return act


def _places(arranged: Arranged, end: int, act: Act) -> list[int]:
    return [place for place in range(end) if arranged.acts[place] is act]


def _each(ports: Ports, acts: Sequence[Callable[[], bool]]) -> list[bool]:
    """Do all of them at once, and all to their end, before any trouble is raised."""
    begun = [ports.threads.submit(act) for act in acts]
    wait(begun)
    return [each.result() for each in begun]


def put_in_order(records: Sequence[StreamRecord], stream: Stream) -> None:
    """In order for each key: no call carries two records of one."""
    left = list(records)
    while left:
        call: dict[str, StreamRecord] = {}
        behind = []
        for record in left:
            if record.partition_key in call:
                behind.append(record)
            else:
                call[record.partition_key] = record
        stream.put(list(call.values()))
        left = behind
