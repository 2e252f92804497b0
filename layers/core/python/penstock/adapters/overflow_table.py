"""The table `overflow`: lanes whose jobs wait outside their queue, and the marks of keys that have such lanes.

A lane's item hands out numbers to jobs that are appended, and is there for as long as the lane overflows. It expires
no later than its jobs and its key's mark, and all of them after the same time, unless they are renewed. A destination
that may have lanes has turns.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from penstock import tables
from penstock.adapters.overflow_table_items import LANE, Item, Items, ask_if, key, number
from penstock.adapters.overflow_table_turns import Turns
from penstock.domain.dedup import Owner
from penstock.domain.overflow import (
    EXPIRES_AFTER_S,
    MOST_RECENT,
    RENEWED_BEFORE_S,
    LaneKey,
    LaneState,
    Stored,
    Turn,
    appended_place,
    name_of,
    parked_place,
    unknown,
)
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT = "SET expires_at = :expires"
LANES_COUNTED = 1_000


class Job(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def body(self) -> str: ...


class OverflowTable:
    """Every method raises `StoreUnavailable`."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        keys_table: str,
        gates_table: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._keys_table = keys_table
        self._clock = clock
        self._items = Items(client, table, sleep)
        self._turns = Turns(client, gates_table, clock, ask_if)

    def open(self, lane: LaneKey, owner: Owner) -> None:
        """Have the lane overflow from now on, if it does not yet. Turns come first, and the key is marked last."""
        self._turns.begin(lane.workspace, lane.destination)
        self._items.update(
            lane,
            LANE,
            "SET tail = if_not_exists(tail, :none), parked = if_not_exists(parked, :none), touched_at = :now, "
            "expires_at = if_not_exists(expires_at, :expires), #of = :of, #source = :source",
            {
                ":none": number(0),
                ":now": number(self._clock()),
                ":expires": self._expiry(),
                ":of": {"S": tables.owner(lane.workspace, lane.destination)},
                ":source": {"S": owner.source},
            },
            names={"#of": "of", "#source": "source"},
            condition=None,
        )
        marked = {":yes": {"BOOL": True}, ":expires": self._expiry()}
        self._mark(owner, lane, f"{KEPT}, #mark = :yes", marked, is_new=True)

    def unmark(self, lane: LaneKey, owner: Owner) -> None:
        """The key's jobs go to the queue again: its lane was released."""
        self._mark(owner, lane, "REMOVE #mark", {})

    def append(self, lane: LaneKey, jobs: Sequence[Job]) -> bool:
        """Store jobs behind all that are there; False where the lane does not overflow any more.

        Those of the last that were stored are not again: a batch that fails for another queue's sake may come for days.
        """
        found = self._numbers(lane, "tail", len(jobs))
        if found is None:
            return False
        recent = found.get("recent", {}).get("S", "").split()
        new = unknown(jobs, recent)
        first = int(found["tail"]["N"]) - len(new) + 1
        self._put(lane, [(appended_place(place), job) for place, job in enumerate(new, first)])
        if new:
            known = {":recent": {"S": " ".join([*recent, *map(name_of, new)][-MOST_RECENT:])}}
            self._items.update(lane, LANE, "SET #recent = :recent", known, names={"#recent": "recent"})
        return True

    def park(self, lane: LaneKey, parking: int, jobs: Sequence[Job]) -> None:
        """Store jobs that were in the queue: before all that are there, but behind those of the same parking."""
        found = self._numbers(lane, "parked", len(jobs), parking)
        if found is None:
            raise StoreUnavailable("DynamoDB: a lane was released while it was parked")
        first = int(found["parked"]["N"]) - len(jobs) + 1
        self._put(lane, [(parked_place(parking, place), job) for place, job in enumerate(jobs, first)])

    def lanes(self, workspace: str, destination: str, most: int, after: str = "") -> list[LaneKey]:
        """Lanes of a destination that overflow, by their groups, so many at most of those behind `after`."""
        return list(islice(self._items.lanes(workspace, destination, after, Limit=most), most))

    def state(self, lane: LaneKey) -> LaneState | None:
        """None where the lane does not overflow."""
        found = self._items.lane(lane)
        if found is None:
            return None
        return LaneState(
            tail=int(found["tail"]["N"]),
            parked=int(found["parked"]["N"]),
            touched_at=float(found["touched_at"]["N"]),
            parking=int(found.get("parking", {"N": "0"})["N"]),
        )

    def stored(self, lane: LaneKey, most: int) -> list[Stored]:
        """The jobs that go back to the queue next, in order."""
        return [
            Stored(item["sk"]["S"], item["id"]["S"], zlib.decompress(item["body"]["B"]).decode())
            for item in islice(self._items.jobs(lane), most)
        ]

    def count(self, workspace: str, destination: str, most: int) -> int:
        """Jobs of a destination that are in the overflow, as far as `most`."""
        found = 0
        for lane in self.lanes(workspace, destination, LANES_COUNTED):
            found += len(self._places(lane, most - found))
        return found

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None:
        """Forget jobs that the queue has."""
        self._items.remove(lane, places)

    def release(self, lane: LaneKey, seen: LaneState) -> bool:
        """Give the lane up, unless a job has come since it was seen."""
        as_seen = {":tail": number(seen.tail), ":parked": number(seen.parked)}
        return self._items.drop(lane, "tail = :tail AND parked = :parked", as_seen)

    def expiring(self, workspace: str, destination: str, most: int) -> list[LaneKey]:
        """Lanes that hold what expires within `RENEWED_BEFORE_S`, so many at most."""
        soon = {":soon": number(int(self._clock() + RENEWED_BEFORE_S))}
        lanes = self._items.lanes(workspace, destination, "", FilterExpression="expires_at < :soon", values=soon)
        return list(islice(lanes, most))

    def renew(self, lane: LaneKey, most: int) -> bool:
        """Keep the next so many jobs of a lane for `EXPIRES_AFTER_S` from now on; whether all are. The lane is last."""
        found = self._items.lane(lane)
        if found is None:
            return True
        kept = {":expires": self._expiry()}
        self._mark(_owner_in(found, lane), lane, KEPT, kept)
        places = self._places(lane, most, found.get("renewed_to", {}).get("S"))
        for place in places:
            self._items.update(lane, place, KEPT, kept)
        if len(places) == most:
            self._items.update(lane, LANE, "SET renewed_to = :place", {":place": {"S": places[-1]}})
            return False
        self._items.update(lane, LANE, f"{KEPT} REMOVE renewed_to", kept)
        return True

    def renewed(self, workspace: str, destination: str) -> None:
        """Nothing of a destination's is expiring."""
        self._turns.renewed(workspace, destination)

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Turn | None:
        """A destination's turn if it is one; the next is so many seconds from now. One without lanes has none."""
        return self._turns.take(workspace, destination, again_s)

    def reach(self, lane: LaneKey) -> None:
        """Note which lane of a queue was looked at last, for the next turn."""
        self._turns.reach(lane)

    def end_turns(self, workspace: str, destination: str) -> None:
        """There are no lanes any more, unless one was opened of late."""
        self._turns.end(workspace, destination)

    def _numbers(self, lane: LaneKey, counter: str, count: int, parking: int | None = None) -> Item | None:
        """The lane's item with so many new numbers; None where there is no such lane."""
        sets, values = "touched_at = :now", {":now": number(self._clock()), ":count": number(count)}
        if parking is not None:
            sets, values = f"{sets}, parking = :parking", values | {":parking": number(parking)}
        change = f"SET {sets} ADD #counter :count"
        return self._items.update(lane, LANE, change, values, names={"#counter": counter}, returns="ALL_NEW")

    def _put(self, lane: LaneKey, jobs: Sequence[tuple[str, Job]]) -> None:
        expires = {"expires_at": self._expiry()}
        self._items.put([key(lane, place) | _content(job) | expires for place, job in jobs])

    def _places(self, lane: LaneKey, most: int, after: str | None = None) -> list[str]:
        return [item["sk"]["S"] for item in islice(self._items.jobs(lane, "sk", after), most)]

    def _expiry(self) -> dict[str, str]:
        return number(int(self._clock() + EXPIRES_AFTER_S))

    def _mark(self, owner: Owner, lane: LaneKey, change: str, values: dict[str, Any], *, is_new: bool = False) -> None:
        """Change a key's mark, if it has it or gets it now."""
        request: dict[str, Any] = {
            "Key": {"owner": {"S": tables.key_owner(*owner)}, "sk": {"S": "key"}},
            "UpdateExpression": change,
            "ExpressionAttributeNames": {"#mark": f"{tables.OVER}{lane.destination}"},
        }
        if values:
            request["ExpressionAttributeValues"] = values
        if not is_new:
            request["ConditionExpression"] = "attribute_exists(#mark)"
        ask_if(lambda: self._client.update_item(TableName=self._keys_table, **request))


def _owner_in(item: Item, lane: LaneKey) -> Owner:
    """Whose key's lane it is: that key has the mark."""
    return Owner(lane.workspace, item["source"]["S"], lane.group)


def _content(job: Job) -> Item:
    return {"id": {"S": job.id}, "body": {"B": zlib.compress(job.body.encode(), 1)}}
