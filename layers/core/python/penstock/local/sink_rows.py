"""What the sink keeps: requests in order of arrival, bounded, and how each path is told to behave."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from penstock.errors import Invalid

MAX_ROWS = 250_000
MAX_BYTES = 1 << 30
MAX_BEHAVIOURS = 10_000
LONGEST_DELAY_MS = 600_000

_encode = msgspec.json.Encoder().encode


class Row(msgspec.Struct):
    """One request, and the status that it was answered with."""

    time: str
    path: str
    status: int
    headers: dict[str, str]
    body: str


class Rows:
    """The last requests, each kept as the JSON that a reader gets; past either bound the oldest fall out."""

    def __init__(self, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self._rows: deque[tuple[int, str, bytes]] = deque()
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._bytes = 0
        self.arrived = 0
        self.fallen = 0

    def add(self, row: Row) -> None:
        encoded = _encode(row)
        self._rows.append((self.arrived, row.path, encoded))
        self.arrived += 1
        self._bytes += len(encoded)
        while len(self._rows) > self._max_rows or (self._bytes > self._max_bytes and len(self._rows) > 1):
            self._bytes -= len(self._rows.popleft()[2])
            self.fallen += 1

    def __len__(self) -> int:
        return len(self._rows)

    def received(self, path: str | None = None, after: int = 0) -> Iterator[bytes]:
        """Each row kept by now as JSON, in order of arrival: those of `path`, from the `after`-th arrival on."""
        kept = tuple(self._rows)
        return (encoded for number, row_path, encoded in kept if number >= after and (path is None or row_path == path))

    def forget(self, path: str | None = None) -> int:
        """Drop every row, or those of one path; how many that were."""
        kept = [row for row in self._rows if path is not None and row[1] != path]
        forgotten = len(self._rows) - len(kept)
        self._rows = deque(kept)
        self._bytes = sum(len(row[2]) for row in kept)
        return forgotten


@dataclass
class Behaviour:
    """How a path answers, `times` times or until it is replaced, at one of `every` so many requests."""

    status: int = 200
    delay_ms: float = 0
    retry_after: str | None = None
    times: int | None = None
    every: int = 1
    met: int = 0


class Behaviours:
    """What each path was told."""

    def __init__(self, max_paths: int = MAX_BEHAVIOURS) -> None:
        self._by_path: dict[str, Behaviour] = {}
        self._max_paths = max_paths

    def set(self, order: object) -> dict[str, object]:
        """Take `{path, status, delay_ms, retry_after, times, every}`; a path alone behaves again. Raises `Invalid`."""
        if not isinstance(order, dict):
            raise Invalid("invalid_body", "the body must be a JSON object")
        unknown = sorted(set(order) - {"path", "status", "delay_ms", "retry_after", "times", "every"})
        if unknown:
            raise Invalid("unknown_field", f"{unknown[0]} is no field of a behaviour", unknown[0])
        path = order.get("path")
        if not isinstance(path, str) or not path.startswith("/"):
            raise Invalid("invalid_path", 'path must be text that begins with "/"', "path")
        behaviour = Behaviour(
            status=_whole(order, "status", 200, 599) or 200,
            delay_ms=_whole(order, "delay_ms", 0, LONGEST_DELAY_MS) or 0,
            retry_after=_retry_after(order),
            times=_whole(order, "times", 0, 1_000_000_000),
            every=_whole(order, "every", 1, 1_000_000) or 1,
        )
        self._by_path.pop(path, None)
        if behaviour != Behaviour() and behaviour.times != 0:
            if len(self._by_path) >= self._max_paths:
                raise Invalid("too_many_paths", f"at most {self._max_paths} paths can be told how to behave", "path")
            self._by_path[path] = behaviour
        return {"path": path, **_shown(behaviour)}

    def take(self, path: str) -> Behaviour:
        """How the next request to this path is answered."""
        behaviour = self._by_path.get(path)
        if behaviour is None:
            return Behaviour()
        behaviour.met += 1
        if behaviour.met % behaviour.every:
            return Behaviour()
        if behaviour.times is not None:
            behaviour.times -= 1
            if behaviour.times == 0:
                del self._by_path[path]
        return behaviour


def _shown(behaviour: Behaviour) -> dict[str, object]:
    return {
        "status": behaviour.status,
        "delay_ms": behaviour.delay_ms,
        "retry_after": behaviour.retry_after,
        "times": behaviour.times,
        "every": behaviour.every,
    }


def _whole(order: dict[str, object], field: str, least: int, most: int) -> int | None:
    value = order.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most or value % 1:
        raise Invalid(f"invalid_{field}", f"{field} must be a whole number from {least} to {most}", field)
    return int(value)


def _retry_after(order: dict[str, object]) -> str | None:
    """Seconds as a number, or what the header is to say as text (a date)."""
    value = order.get("retry_after")
    if value is None:
        return None
    if isinstance(value, str) and value and value.isascii() and value.isprintable():
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return str(int(value)) if value == int(value) else str(value)
    raise Invalid("invalid_retry_after", "retry_after must be seconds from 0 on, or the header's text", "retry_after")
