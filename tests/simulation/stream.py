"""A Kinesis stream and its event source mapping, as AWS documents them (the local cloud's are not like that).

A shard owns a range of hash keys and numbers its records. The mapping works off each shard in as many lanes as its
parallelization factor says, a partition key always in the same lane, one batch of a lane at a time. A batch that fails
is cut in two where it may be (bisect) and tried again until it is done or too old; one that reports failures is tried
again from the lowest of them on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from penstock.domain.stream_record import StreamRecord
from tests.simulation.clock import Clock
from tests.simulation.lambdas import Failed
from tests.simulation.weather import Weather

HASH_KEYS = 2**128
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Kept:
    """One record in its shard."""

    shard: int
    number: int
    record: StreamRecord
    at: float
    prefix: str

    @property
    def id(self) -> str:
        return f"{self.prefix}shardId-{self.shard:012d}-{self.number:056d}"


class Stream:
    """Hands its records, in order for each shard, to its followers; `log` has those of all streams, as they came."""

    def __init__(self, clock: Clock, log: list[Kept], shards: int = 2, prefix: str = "") -> None:
        self.clock = clock
        self.shards = shards
        self.log = log
        self.followers: list[Callable[[Kept], None]] = []
        self._prefix = prefix

    def append(self, record: StreamRecord) -> Kept:
        shard = record.hash_key * self.shards // HASH_KEYS
        kept = Kept(shard, len(self.log) + 1, record, self.clock.now, self._prefix)
        self.log.append(kept)
        for follower in self.followers:
            follower(kept)
        return kept


@dataclass(frozen=True)
class Feed:
    """How an event source mapping of a stream is set up."""

    batch_size: int = 100
    lanes: int = 1
    bisect: bool = True
    oldest_s: float = 6 * 86_400.0


# what an invocation is given, and the place of the first record that it reports as failed, if any
Carry = Callable[[Sequence[Kept]], int | None]


class StreamMapping:
    """`carry` invokes the function with a batch. Raises `Failed` where it gives no answer."""

    def __init__(self, stream: Stream, feed: Feed, carry: Carry, weather: Weather) -> None:
        self._clock = stream.clock
        self._feed = feed
        self._carry = carry
        self._weather = weather
        self._lanes = [[_Lane() for _ in range(feed.lanes)] for _ in range(stream.shards)]
        self.given_up: list[Kept] = []
        self.done_at: dict[str, float] = {}
        stream.followers.append(self._came)

    @property
    def waiting(self) -> int:
        return sum(len(lane.records) for lanes in self._lanes for lane in lanes)

    def _came(self, kept: Kept) -> None:
        lane = self._lanes[kept.shard][lane_of(kept.record.partition_key, self._feed.lanes)]
        lane.records.append(kept)
        if not lane.is_busy:
            lane.is_busy = True
            self._clock.at(self._clock.now + self._weather.between((0.01, 0.3)), self._begin, lane)

    def _begin(self, lane: _Lane) -> None:
        self._clock.start(lambda: self._work_off(lane))

    def _work_off(self, lane: _Lane) -> None:
        while lane.records:
            most = 1 + int(self._weather.chance.random() ** 2 * self._feed.batch_size)
            batch = [lane.records[place] for place in range(min(most, len(lane.records)))]
            self._settle(batch)
            for _ in batch:
                self.done_at[lane.records.popleft().id] = self._clock.now
        lane.is_busy = False

    def _settle(self, batch: list[Kept]) -> None:
        """Until all of it is done or given up."""
        parts, tries = deque([batch]), 0
        while parts:
            part = self._young(parts.popleft())
            if not part:
                continue
            try:
                first = self._carry(part)
            except Failed:
                parts.extendleft(reversed(self._cut(part)))
                tries += 1
                self._clock.sleep(self._pause(tries))
                continue
            if first is not None:
                parts.appendleft(part[first:])
                tries += 1
                self._clock.sleep(self._pause(tries))
            elif self._weather.strikes(self._weather.odds.twice):
                parts.appendleft(part)
                self._clock.sleep(self._pause(1))

    def _young(self, part: list[Kept]) -> list[Kept]:
        oldest = self._clock.now - self._feed.oldest_s
        self.given_up += [each for each in part if each.at < oldest]
        return [each for each in part if each.at >= oldest]

    def _cut(self, part: list[Kept]) -> list[list[Kept]]:
        if not self._feed.bisect or len(part) == 1:
            return [part]
        half = len(part) // 2
        return [part[:half], part[half:]]

    def _pause(self, tries: int) -> float:
        """Sometimes longer than SQS remembers what it was sent."""
        if self._weather.strikes(self._weather.odds.stall):
            return self._weather.between((60.0, 600.0))
        return min(0.2 * 2.0**tries, LONGEST_PAUSE_S) * (0.5 + self._weather.chance.random() / 2)


@dataclass
class _Lane:
    records: deque[Kept] = field(default_factory=deque)
    is_busy: bool = False


def lane_of(partition_key: str, lanes: int) -> int:
    return hashlib.md5(partition_key.encode()).digest()[0] % lanes
