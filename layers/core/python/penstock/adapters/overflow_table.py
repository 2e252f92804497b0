"""The table `overflow`: lanes whose jobs wait outside their queue, and the marks of keys that have such lanes.

A lane's item hands out numbers to jobs, says up to which of them all are stored, and is there for as long as the lane
overflows. It expires no later than its jobs and its key's mark, and all of them after the same time, unless they are
renewed. A destination that may have lanes has turns.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from penstock import tables
from penstock.adapters.aws_errors import ask_if
from penstock.adapters.overflow_table_items import IS_THERE, LANE, Item, Items, key, number, part_of
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
    fitting,
    is_stored,
    name_of,
    parked_place,
    unknown,
)
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT = "SET expires_at = :expires"
APPENDED, PARKED = "tail", "parked"  # a lane's counters: how many numbers each has handed out
WHOLE = {APPENDED: "tail_whole", PARKED: "parked_whole"}  # up to which of them all are stored


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
        self._turns = Turns(client, gates_table, clock)

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
        Nobody sees any of them before all are stored: where that fails they come again, and get other numbers.
        """
        found = self._numbers(lane, APPENDED, len(jobs))
        if found is None:
            return False
        self._items.remove(lane, [appended_place(place) for place in _abandoned(found, APPENDED, len(jobs))])
        recent = found.get("recent", {}).get("S", "").split()
        new = unknown(jobs, recent)
        last = _count(found, APPENDED)
        self._put(lane, [(appended_place(place), job) for place, job in enumerate(new, last - len(new) + 1)])
        self._finish(lane, APPENDED, last, [*recent, *map(name_of, new)][-MOST_RECENT:])
        return True

    def park(self, lane: LaneKey, parking: int, jobs: Sequence[Job]) -> None:
        """Store jobs that were in the queue: before all that are there, but behind those of the same parking."""
        found = self._numbers(lane, PARKED, len(jobs), parking)
        if found is None:
            raise StoreUnavailable("DynamoDB: a lane was released while it was parked")
        left = _abandoned(found, PARKED, len(jobs))
        parkings = {parking, _count(found, "parking_before")}
        self._items.remove(lane, [parked_place(each, place) for each in parkings for place in left])
        last = _count(found, PARKED)
        self._put(lane, [(parked_place(parking, place), job) for place, job in enumerate(jobs, last - len(jobs) + 1)])
        self._finish(lane, PARKED, last)

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
            parking=_count(found, "parking"),
            is_whole=all(_whole(found, each) == _count(found, each) for each in WHOLE),
        )

    def stored(self, lane: LaneKey, most: int, largest: int) -> list[Stored]:
        """The jobs that go back to the queue next, in order: so many at most, and so many characters, but one.

        None of those that are not all stored.
        """
        found = self._items.lane(lane)
        if found is None:
            return []
        parked, appended = (_whole(found, each) for each in (PARKED, APPENDED))
        jobs = (item for item in self._items.jobs(lane) if is_stored(item["sk"]["S"], parked, appended))
        return list(fitting(map(_stored, islice(jobs, most)), largest))

    def count(self, workspace: str, destination: str, most: int) -> int:
        """Jobs of a destination that are in the overflow, as far as `most`, as of a moment ago.

        Not those that a lane has left behind which was given up, unless there are as many lanes as are asked for.
        """
        lanes = set(self.lanes(workspace, destination, most))
        if not lanes:
            return 0
        waiting = self._items.waiting(workspace, destination)
        return sum(1 for _ in islice((lane for lane in waiting if lane in lanes or len(lanes) == most), most))

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
            self._items.update(
                lane, place, f"{KEPT}, #of = :of", {**kept, ":of": part_of(lane)["of"]}, names={"#of": "of"}
            )
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
        sets = "touched_at = :now, #whole = if_not_exists(#whole, #counter)"
        values = {":now": number(self._clock()), ":count": number(count)}
        if parking is not None:
            sets += ", parking_before = if_not_exists(parking, :parking), parking = :parking"
            values |= {":parking": number(parking)}
        names = {"#counter": counter, "#whole": WHOLE[counter]}
        return self._items.update(lane, LANE, f"SET {sets} ADD #counter :count", values, names=names, returns="ALL_NEW")

    def _finish(self, lane: LaneKey, counter: str, last: int, recent: Sequence[str] | None = None) -> None:
        """All up to the number `last` is stored, unless somebody got numbers since: then ours are void."""
        values, names = {":last": number(last)}, {"#counter": counter, "#whole": WHOLE[counter]}
        change = "SET #whole = :last"
        if recent:
            change, names = f"{change}, #recent = :recent", names | {"#recent": "recent"}
            values |= {":recent": {"S": " ".join(recent)}}
        is_last = f"{IS_THERE} AND #counter = :last"
        if self._items.update(lane, LANE, change, values, names=names, condition=is_last) is None:
            raise StoreUnavailable("DynamoDB: somebody else is storing jobs of a lane, or it was given up")

    def _put(self, lane: LaneKey, jobs: Sequence[tuple[str, Job]]) -> None:
        rest = {"expires_at": self._expiry(), **part_of(lane)}
        self._items.put([key(lane, place) | _content(job) | rest for place, job in jobs])

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


def _count(item: Item, name: str) -> int:
    return int(item.get(name, {"N": "0"})["N"])


def _whole(item: Item, counter: str) -> int:
    return _count(item, WHOLE[counter] if WHOLE[counter] in item else counter)


def _abandoned(item: Item, counter: str, count: int) -> range:
    """The numbers that were handed out before the last so many, and whose jobs nobody ended to store."""
    return range(_whole(item, counter) + 1, _count(item, counter) - count + 1)


def _owner_in(item: Item, lane: LaneKey) -> Owner:
    """Whose key's lane it is: that key has the mark."""
    return Owner(lane.workspace, item["source"]["S"], lane.group)


def _content(job: Job) -> Item:
    return {"id": {"S": job.id}, "body": {"B": zlib.compress(job.body.encode(), 1)}}


def _stored(item: Item) -> Stored:
    return Stored(item["sk"]["S"], item["id"]["S"], zlib.decompress(item["body"]["B"]).decode())
