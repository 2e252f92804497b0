"""What a day of events takes of AWS and costs: the tables of `docs/scale.md`, printed by `python -m benchmarks.scale`.

Work per event is measured by the benches, on the machine and day that the document names; latencies of AWS, batch
sizes and the shape of the traffic are assumptions, each a field of `Traffic`. Prices are those of us-east-1, on demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from benchmarks.books import NAMES
from infra.stages import stage
from penstock.domain.named import DIGEST_BYTES
from penstock.steps.read_health import MOST_NAMED

DAY_S = 86_400
MONTH_DAYS = 30
SIZES = (10_000_000, 1_000_000_000, 10_000_000_000)
DESTINATIONS = 100_000
WRITES_PER_TURN = 3  # the turn, and the total by a transaction
READS_PER_TURN = 3  # its settings and those of its workspace, the total, a look for receipts

PRICES = {
    "HTTP API, a million requests": 1.00,
    "Lambda arm64, a GB-second": 0.0000133334,
    "Lambda, a million calls": 0.20,
    "Kinesis, a GB in": 0.08,
    "Kinesis, a GB out": 0.04,
    "Kinesis, a stream-hour": 0.04,
    "SQS FIFO, a million requests": 0.50,
    "DynamoDB, a million WRU": 0.625,
    "DynamoDB, a million RRU": 0.125,
    "KMS, a million calls": 3.00,
}


@dataclass(frozen=True)
class Traffic:
    """Assumptions. A record is a run: the events of one user in one request. `peak` is the busiest second's share."""

    events_per_day: int
    destinations: int = DESTINATIONS
    event_kb: float = 1.1
    events_per_run: float = 2.0
    wanted_by: float = 2.0  # destinations of an event
    consumers: int = 2  # fanout and schema
    records_per_batch: float = 50.0
    sources_per_batch: float = 25.0  # each of a workspace of its own
    jobs_per_call: float = 3.0  # sent, received or deleted together; a queue takes ten at most
    collect_s: float = 0.020
    fan_out_s: float = 0.250
    schema_s: float = 0.100
    request_s: float = 0.150  # the tool's
    around_s: float = 0.040
    memory_gb: float = 0.5
    peak: float = 3.0
    rounds: float = 4.0  # in which the receipts that nobody has asked for are counted
    idle_calls: float = 5 * DAY_S / 20  # five pollers of an idle queue, twenty seconds each


@dataclass(frozen=True)
class Taken:
    """A day's counts."""

    traffic: Traffic

    @property
    def runs(self) -> float:
        return self.traffic.events_per_day / self.traffic.events_per_run

    @property
    def jobs(self) -> float:
        return self.runs * self.traffic.wanted_by

    @property
    def batches(self) -> float:
        """Invocations of one consumer of the stream."""
        return self.runs / self.traffic.records_per_batch

    @property
    def deliveries(self) -> float:
        """Invocations of deliver: the jobs of a batch at once, the events of a job one after another."""
        return self.jobs / self.traffic.jobs_per_call

    @property
    def delivery_s(self) -> float:
        return self.traffic.events_per_run * self.traffic.request_s + self.traffic.around_s

    @property
    def gb(self) -> float:
        return self.traffic.events_per_day * self.traffic.event_kb / 1e6

    @property
    def shards(self) -> int:
        per_s = self.traffic.peak / DAY_S
        return max(4, ceil(max(self.gb * 1000 * per_s, self.runs / 1000 * per_s)))

    @property
    def queue_calls(self) -> float:
        return 3 * self.jobs / self.traffic.jobs_per_call

    @property
    def idle_calls(self) -> float:
        """Of the pollers of queues that happen to be empty: as if all were."""
        return self.traffic.destinations * self.traffic.idle_calls

    @property
    def receipts(self) -> float:
        return self.deliveries + min(self.batches * self.traffic.destinations, self.deliveries)

    @property
    def turns(self) -> float:
        """Of destinations in the round."""
        return self.traffic.destinations * self.traffic.rounds

    @property
    def writes(self) -> float:
        """A claim for each run, a receipt of 1 KB for each invocation and destination, counts of schemas, the round.

        And what each source of a batch has brought, and each workspace.
        """
        usage = 2 * self.traffic.sources_per_batch * self.batches
        return self.runs + self.receipts + 20 * self.batches + usage + WRITES_PER_TURN * self.turns

    @property
    def reads(self) -> float:
        """Two days' claims of each run, and the gate and the settings of a destination that no instance remembers.

        In the round each receipt once, and of an hour of each six again, for what was told twice.
        """
        return 2 * self.runs + 2 * self.deliveries + READS_PER_TURN * self.turns + self.receipts / 4 * 7 / 6

    @property
    def decryptions(self) -> float:
        """With so many destinations hardly an instance meets one twice within its memory of ten seconds."""
        return self.deliveries

    def concurrency(self) -> dict[str, int]:
        """Lambdas at once at the peak."""
        busy_s = {
            "collect": self.runs * self.traffic.collect_s,
            "fanout": self.batches * self.traffic.fan_out_s,
            "schema": self.batches * self.traffic.schema_s,
            "deliver": self.deliveries * self.delivery_s,
        }
        return {name: ceil(seconds * self.traffic.peak / DAY_S) for name, seconds in busy_s.items()}

    def dollars(self) -> dict[str, float]:
        calls = self.runs + 2 * self.batches + self.deliveries
        gb_s = self.traffic.memory_gb * (
            self.runs * self.traffic.collect_s
            + self.batches * (self.traffic.fan_out_s + 2 * self.traffic.schema_s)
            + self.deliveries * self.delivery_s
        )
        streams = 2 * 24 * PRICES["Kinesis, a stream-hour"]
        through = PRICES["Kinesis, a GB in"] + self.traffic.consumers * PRICES["Kinesis, a GB out"]
        return {
            "HTTP API": self.runs / 1e6 * PRICES["HTTP API, a million requests"],
            "Lambda": calls / 1e6 * PRICES["Lambda, a million calls"] + gb_s * PRICES["Lambda arm64, a GB-second"],
            "Kinesis": self.gb * through + streams,
            "SQS": self.queue_calls / 1e6 * PRICES["SQS FIFO, a million requests"],
            "SQS, idle polls": self.idle_calls / 1e6 * PRICES["SQS FIFO, a million requests"],
            "DynamoDB": self.writes / 1e6 * PRICES["DynamoDB, a million WRU"]
            + self.reads / 1e6 * PRICES["DynamoDB, a million RRU"],
            "KMS": self.decryptions / 1e6 * PRICES["KMS, a million calls"],
        }


def taken() -> str:
    """A day's work at each size."""
    days = [Taken(Traffic(size)) for size in SIZES]
    rows: list[tuple[str, Sequence[float]]] = [
        ("events a second, mean", [size / DAY_S for size in SIZES]),
        ("events a second, peak", [size * day.traffic.peak / DAY_S for size, day in zip(SIZES, days, strict=True)]),
        ("shards at the peak", [day.shards for day in days]),
        *[
            (f"`{name}`, Lambdas at once", [day.concurrency()[name] for day in days])
            for name in ("collect", "fanout", "schema", "deliver")
        ],
        ("queue requests a second, peak", [day.queue_calls * day.traffic.peak / DAY_S for day in days]),
        ("table writes a second, peak", [day.writes * day.traffic.peak / DAY_S for day in days]),
        ("table reads a second, peak", [day.reads * day.traffic.peak / DAY_S for day in days]),
        ("KMS calls a second, peak", [day.decryptions * day.traffic.peak / DAY_S for day in days]),
    ]
    return _table("of AWS", [(name, [f"{value:,.0f}" for value in values]) for name, values in rows])


def costs() -> str:
    """Dollars a month."""
    days = [Taken(Traffic(size)).dollars() for size in SIZES]
    rows = [(name, [f"{day[name] * MONTH_DAYS:,.0f}" for day in days]) for name in days[0]]
    sums = [sum(day.values()) * MONTH_DAYS for day in days]
    rows.append(("**all**", [f"**{each:,.0f}**" for each in sums]))
    per = [each / (size * MONTH_DAYS / 1e6) for each, size in zip(sums, SIZES, strict=True)]
    rows.append(("a million events", [f"{each:,.2f}" for each in per]))
    return _table("USD a month", rows)


def budget() -> str:
    """Who may have how many of an account's thousand Lambdas."""
    shares = stage("prod", "us-east-1").reserved
    lines = [f"| `{name}` | {share} |" for name, share in shares.items()]
    rest = 1_000 - sum(shares.values())
    lines.append(f"| everything else: control API, schema changes, teardown, tenants' code later | {rest} |")
    return "\n".join(["| function | Lambdas at once |", "|---|--:|", *lines])


def largest_day() -> int:
    """Events of a day at whose peak `deliver` has all of its share at work, in millions."""
    size = SIZES[1]
    return int(
        stage("prod", "us-east-1").reserved["deliver"] / Taken(Traffic(size)).concurrency()["deliver"] * size / 1e6
    )


def idle_month() -> float:
    """USD that the polls of one idle destination cost."""
    return Traffic(0).idle_calls * MONTH_DAYS / 1e6 * PRICES["SQS FIFO, a million requests"]


def round_month() -> float:
    """USD that the turns of all destinations in the round cost, whatever their traffic."""
    traffic = Traffic(0)
    reads, writes = PRICES["DynamoDB, a million RRU"], PRICES["DynamoDB, a million WRU"]
    return MONTH_DAYS * Taken(traffic).turns / 1e6 * (READS_PER_TURN * reads + WRITES_PER_TURN * writes)


def named_mb(runs_per_s: float) -> float:
    """What an hour of a destination with so many runs a second names, for who looks whether it is told again."""
    return runs_per_s * 3_600 * NAMES * DIGEST_BYTES / 1e6


def most_runs() -> int:
    """A second's, of which all that an hour has named is looked through."""
    return round(MOST_NAMED / 3_600 / NAMES)


def _table(name: str, rows: list[tuple[str, list[str]]]) -> str:
    head = f"| {name} | {' | '.join(f'{size / 1e6:,.0f} million' for size in SIZES)} |"
    return "\n".join(
        [head, "|---|" + "--:|" * len(SIZES), *[f"| {row} | {' | '.join(cells)} |" for row, cells in rows]]
    )


if __name__ == "__main__":
    print(
        "\n\n".join(
            [
                taken(),
                costs(),
                budget(),
                f"idle: {idle_month():.2f} USD a month, {largest_day()} million a day",
                f"the round: {round_month():.0f} USD a month",
                f"an hour's names: {named_mb(most_runs()):.0f} MB at {most_runs()} runs a second",
            ]
        )
    )
