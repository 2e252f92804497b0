"""Stand-ins for what `collect` asks for; each runs the contract tests of what it stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.domain.known_key import KnownKey
from penstock.domain.run import Run, decode_run
from penstock.domain.stream_record import StreamRecord
from penstock.errors import StoreUnavailable, StreamUnavailable
from penstock.steps.collect import Ports
from tests.builders_collect import NOW, SOURCE, WORKSPACE, WRITE_KEY, ids


class MemoryStream:
    """Keeps records in a list. With `takes`, only so many of them are acknowledged before it refuses."""

    def __init__(self, takes: int | None = None) -> None:
        self.records: list[StreamRecord] = []
        self.takes = takes

    def put(self, records: Sequence[StreamRecord]) -> None:
        taken = len(records) if self.takes is None else min(self.takes, len(records))
        self.records += records[:taken]
        if taken < len(records):
            raise StreamUnavailable(f"{len(records) - taken} records were not acknowledged")

    @property
    def runs(self) -> list[Run]:
        return [decode_run(each.data) for each in self.records]

    @property
    def events(self) -> list[bytes]:
        return [bytes(event) for run in self.runs for event in run.events]


class MemoryKeys:
    """Write keys in a dictionary."""

    def __init__(self, known: dict[str, KnownKey] | None = None) -> None:
        self.known = known if known is not None else {WRITE_KEY: KnownKey(WORKSPACE, SOURCE, True)}
        self.down = False
        self.asked: list[str] = []

    def find(self, write_key: str) -> KnownKey | None:
        self.asked.append(write_key)
        if self.down:
            raise StoreUnavailable("DynamoDB did not answer")
        return self.known.get(write_key)

    get = find


def ports(
    stream: MemoryStream | None = None,
    keys: MemoryKeys | None = None,
    new_id: Callable[[], str] | None = None,
    bulk: MemoryStream | None = None,
) -> Ports:
    streams = stream or MemoryStream(), bulk or MemoryStream()
    return Ports(keys or MemoryKeys(), *streams, lambda: NOW, new_id or ids())
