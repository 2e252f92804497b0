"""What one look at a busy destination's books holds in memory at once: `python -m benchmarks.books` (`docs/scale.md`).

An hour is counted already, and two minutes are to be: what that hour named is looked through for each of them.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, FanoutReceipt, Receipt, RecordReceipt, deliver_receipt
from penstock.domain.minutes import Figures, Minute, Total, after, minute_of
from penstock.domain.named import DIGEST_BYTES
from penstock.steps.read_health import Books, roll_forward
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.fakes_health import MemoryMinutes

RATES = (100, 400, 650)  # runs a second
NAMES = 3  # of a run: its record by fan-out, and by deliver, and its job with its size
RECORDS_AT_ONCE, JOBS_AT_ONCE = 50, 3
BEGIN = datetime(2026, 11, 25, 15, tzinfo=UTC).timestamp()
OF = (WORKSPACE, DESTINATION)


class Busy:
    """The receipts of the two minutes after the hour; they are made as they are read, as if they came over the wire."""

    def __init__(self, rate: int) -> None:
        self._runs = 60 * rate

    def read(self, _workspace: str, _destination: str, begin: str, end: str) -> Iterator[Receipt]:
        for minute in (60, 61):
            if begin[:16] <= minute_of(iso(BEGIN + 60 * minute)) < end:
                yield from self._minute(minute)

    def _minute(self, minute: int) -> Iterator[Receipt]:
        for first in range(0, self._runs, RECORDS_AT_ONCE):
            at = iso(BEGIN + 60 * (minute + first / self._runs))
            runs = [f"shardId-000000000003-4965{minute:05d}{run:047d}" for run in range(first, first + RECORDS_AT_ONCE)]
            yield FanoutReceipt(at, {run: RecordReceipt(2, 0) for run in runs})
            for each in range(0, RECORDS_AT_ONCE, JOBS_AT_ONCE):
                jobs = {f"{run}-0": (0, [DELIVERED] * 2) for run in runs[each : each + JOBS_AT_ONCE]}
                yield deliver_receipt(at, jobs, delays={3: 2 * len(jobs)})


def hour(rate: int) -> MemoryMinutes:
    """Counted, of so many runs a second."""
    minutes = MemoryMinutes()
    at = minute_of(iso(BEGIN))
    for _ in range(60):
        digests = random.randbytes(60 * rate * NAMES * DIGEST_BYTES)
        minutes.kept.setdefault(OF, {})[at] = Minute(at, Figures(), digests)
        at = after(at)
    minutes.totals[OF] = Total(at, at)
    return minutes


def held_mb(rate: int) -> float:
    """At once, what is kept of the hour included."""
    tracemalloc.start()
    found = roll_forward(*OF, Books(Busy(rate), hour(rate), lambda: BEGIN + 62 * 60 + 10))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.total.figures.delivered == 2 * 2 * 60 * rate
    return peak / 1e6


if __name__ == "__main__":
    print("| runs a second | held at once, MB |\n|--:|--:|")
    for each in RATES:
        print(f"| {each} | {held_mb(each):.0f} |")
