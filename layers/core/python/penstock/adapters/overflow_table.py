"""The table `overflow`: lanes whose jobs wait outside their queue, and the marks of keys that have such lanes.

A lane's item hands out numbers to jobs that are appended, and is there for as long as the lane overflows. It expires
no later than its jobs and its key's mark, and all of them after the same time, unless they are renewed. A destination
that may have lanes has turns, an item in the table `gates` that the gatekeeper's tick finds as it finds overdue gates.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from penstock import tables
from penstock.domain.audit import iso
from penstock.domain.dedup import Owner
from penstock.domain.destinations import IMPORTS
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

LANE = "lane"
FIRST, LAST, BEHIND = "0", "1~", "~"  # what the places of jobs lie between; what makes of one the next one's bound
KEPT = "SET expires_at = :expires"
MARKED = "attribute_exists(#mark)"
REACHED = "reached_"  # by the name of a queue, the group of the lane that was looked at last
OPERATOR = "operator"  # as the gates' index has it
EARLY_S = 2.0  # by which clocks may differ
OVERDUE_S = 20.0  # what a chore should have done by then, the tick does
OPENED_LATELY_S = 300.0  # for so long the index may not show a lane that was opened
REFUSED = "ConditionalCheckFailedException"
LANES_COUNTED = 1_000
MOST_WRITES = 25  # that DynamoDB takes in one call
TRIES = 4


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
        self._table = table
        self._keys_table = keys_table
        self._gates_table = gates_table
        self._clock = clock
        self._sleep = sleep

    def open(self, lane: LaneKey, owner: Owner) -> None:
        """Have the lane overflow from now on, if it does not yet. Turns come first, and the key is marked last."""
        self._begin_turns(lane)
        self._update(
            lane,
            "SET tail = if_not_exists(tail, :none), parked = if_not_exists(parked, :none), touched_at = :now, "
            "expires_at = if_not_exists(expires_at, :expires), #of = :of, #source = :source",
            {
                ":none": _number(0),
                ":now": _number(self._clock()),
                ":expires": self._expiry(),
                ":of": {"S": _destination(lane)},
                ":source": {"S": owner.source},
            },
            names={"#of": "of", "#source": "source"},
        )
        marked = {":yes": {"BOOL": True}, ":expires": self._expiry()}
        self._asked(lambda: self._mark(owner, lane, "SET #mark = :yes, expires_at = :expires", marked))

    def unmark(self, lane: LaneKey, owner: Owner) -> None:
        """The key's jobs go to the queue again: its lane was released."""
        self._if(lambda: self._mark(owner, lane, "REMOVE #mark", {}, MARKED))

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
        self._put(lane, [(appended_place(number), job) for number, job in enumerate(new, first)])
        if new:
            known = " ".join([*recent, *map(name_of, new)][-MOST_RECENT:])
            self._update(lane, "SET #recent = :recent", {":recent": {"S": known}}, names={"#recent": "recent"})
        return True

    def park(self, lane: LaneKey, parking: int, jobs: Sequence[Job]) -> None:
        """Store jobs that were in the queue: before all that are there, but behind those of the same parking."""
        found = self._numbers(lane, "parked", len(jobs), parking)
        if found is None:
            raise StoreUnavailable("DynamoDB: a lane was released while it was parked")
        first = int(found["parked"]["N"]) - len(jobs) + 1
        self._put(lane, [(parked_place(parking, number), job) for number, job in enumerate(jobs, first)])

    def lanes(self, workspace: str, destination: str, most: int, after: str = "") -> list[LaneKey]:
        """Lanes of a destination that overflow, by their groups, so many at most of those behind `after`."""
        of = tables.owner(workspace, destination)
        answer = self._asked(
            lambda: self._client.query(
                TableName=self._table,
                IndexName=tables.OVERFLOW_BY_DESTINATION,
                KeyConditionExpression="#of = :of AND #owner > :after",
                ExpressionAttributeNames={"#of": "of", "#owner": "owner"},
                ExpressionAttributeValues={":of": {"S": of}, ":after": {"S": f"{of}#{after}"}},
                Limit=most,
            )
        )
        return [_lane_in(item) for item in answer["Items"]]

    def state(self, lane: LaneKey) -> LaneState | None:
        """None where the lane does not overflow."""
        found = self._lane(lane)
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
        found: list[Stored] = []
        for item in self._items(lane):
            body = zlib.decompress(item["body"]["B"]).decode()
            found.append(Stored(item["sk"]["S"], item["id"]["S"], body))
            if len(found) == most:
                break
        return found

    def count(self, workspace: str, destination: str, most: int) -> int:
        """Jobs of a destination that are in the overflow, as far as `most`."""
        found = 0
        for lane in self.lanes(workspace, destination, LANES_COUNTED):
            found += sum(1 for _ in islice(self._items(lane, "sk"), most - found))
        return found

    def remove(self, lane: LaneKey, places: Sequence[str]) -> None:
        """Forget jobs that the queue has."""
        requests = [{"DeleteRequest": {"Key": _key(lane, place)}} for place in places]
        self._write(requests)

    def release(self, lane: LaneKey, seen: LaneState) -> bool:
        """Give the lane up, unless a job has come since it was seen."""
        answer = self._if(
            lambda: self._client.delete_item(
                TableName=self._table,
                Key=_key(lane, LANE),
                ConditionExpression="tail = :tail AND parked = :parked",
                ExpressionAttributeValues={":tail": _number(seen.tail), ":parked": _number(seen.parked)},
            )
        )
        return answer is not None

    def expiring(self, workspace: str, destination: str, most: int) -> list[LaneKey]:
        """Lanes that hold what expires within `RENEWED_BEFORE_S`, so many at most."""
        values = {
            ":of": {"S": tables.owner(workspace, destination)},
            ":soon": _number(int(self._clock() + RENEWED_BEFORE_S)),
        }
        pages = self._pages(
            IndexName=tables.OVERFLOW_BY_DESTINATION,
            KeyConditionExpression="#of = :of",
            FilterExpression="expires_at < :soon",
            ExpressionAttributeNames={"#of": "of"},
            ExpressionAttributeValues=values,
        )
        return [_lane_in(item) for item in islice(pages, most)]

    def renew(self, lane: LaneKey, most: int) -> bool:
        """Keep the next so many jobs of a lane for `EXPIRES_AFTER_S` from now on; whether all are. The lane is last."""
        found = self._lane(lane)
        if found is None:
            return True
        kept = {":expires": self._expiry()}
        self._if(lambda: self._mark(_owner_in(found, lane), lane, KEPT, kept, MARKED))
        reached = found.get("renewed_to", {}).get("S")
        places = [item["sk"]["S"] for item in islice(self._items(lane, "sk", reached), most)]
        for place in places:
            self._keep(lane, place, KEPT, kept)
        if len(places) == most:
            self._keep(lane, LANE, "SET renewed_to = :place", {":place": {"S": places[-1]}})
            return False
        self._keep(lane, LANE, f"{KEPT} REMOVE renewed_to", kept)
        return True

    def renewed(self, workspace: str, destination: str) -> None:
        """Nothing of a destination's is expiring."""
        self._if(
            lambda: self._client.update_item(
                TableName=self._gates_table,
                Key=_turns(workspace, destination),
                UpdateExpression="SET renewed_at = :now",
                ConditionExpression="attribute_exists(sk)",
                ExpressionAttributeValues={":now": _number(self._clock())},
            )
        )

    def take_turn(self, workspace: str, destination: str, again_s: float) -> Turn | None:
        """A destination's turn if it is one; the next is so many seconds from now. One without lanes has none."""
        now = self._clock()
        answer = self._if(
            lambda: self._client.update_item(
                TableName=self._gates_table,
                Key=_turns(workspace, destination),
                UpdateExpression="SET turn_at = :next, attend_at = :attend_at",
                ConditionExpression="turn_at <= :now",
                ExpressionAttributeValues={
                    ":now": _number(now + EARLY_S),
                    ":next": _number(now + again_s),
                    ":attend_at": {"S": iso(now + again_s + OVERDUE_S)},
                },
                ReturnValues="ALL_NEW",
            )
        )
        return None if answer is None else _turn(answer["Attributes"])

    def reach(self, lane: LaneKey) -> None:
        """Note which lane of a queue was looked at last, for the next turn."""
        self._if(
            lambda: self._client.update_item(
                TableName=self._gates_table,
                Key=_turns(lane.workspace, lane.destination),
                UpdateExpression="SET #reached = :group",
                ConditionExpression="attribute_exists(sk)",
                ExpressionAttributeNames={"#reached": f"{REACHED}{lane.destination}"},
                ExpressionAttributeValues={":group": {"S": lane.group}},
            )
        )

    def end_turns(self, workspace: str, destination: str) -> None:
        """There are no lanes any more, unless one was opened of late."""
        self._if(
            lambda: self._client.delete_item(
                TableName=self._gates_table,
                Key=_turns(workspace, destination),
                ConditionExpression="opened_at <= :before",
                ExpressionAttributeValues={":before": _number(self._clock() - OPENED_LATELY_S)},
            )
        )

    def _begin_turns(self, lane: LaneKey) -> None:
        now = self._clock()
        self._asked(
            lambda: self._client.update_item(
                TableName=self._gates_table,
                Key=_turns(lane.workspace, lane.destination),
                UpdateExpression="SET opened_at = :now, attention = :all, turn_at = if_not_exists(turn_at, :now), "
                "renewed_at = if_not_exists(renewed_at, :now), attend_at = if_not_exists(attend_at, :attend_at)",
                ExpressionAttributeValues={
                    ":now": _number(now),
                    ":all": {"S": OPERATOR},
                    ":attend_at": {"S": iso(now)},
                },
            )
        )

    def _numbers(self, lane: LaneKey, counter: str, count: int, parking: int | None = None) -> Any:
        """The lane's item with so many new numbers; None where there is no such lane."""
        sets, values = "touched_at = :now", {":now": _number(self._clock()), ":count": _number(count)}
        if parking is not None:
            sets, values = f"{sets}, parking = :parking", values | {":parking": _number(parking)}
        answer = self._if(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(lane, LANE),
                UpdateExpression=f"SET {sets} ADD #counter :count",
                ConditionExpression="attribute_exists(sk)",
                ExpressionAttributeNames={"#counter": counter},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        )
        return None if answer is None else answer["Attributes"]

    def _put(self, lane: LaneKey, jobs: Sequence[tuple[str, Job]]) -> None:
        expires = self._expiry()
        items = [_key(lane, place) | _kept(job) | {"expires_at": expires} for place, job in jobs]
        self._write([{"PutRequest": {"Item": item}} for item in items])

    def _write(self, requests: Sequence[dict[str, Any]]) -> None:
        """All of them; what DynamoDB leaves is written again a few times."""
        for first in range(0, len(requests), MOST_WRITES):
            left = list(requests[first : first + MOST_WRITES])
            for attempt in range(TRIES):
                answer = self._asked(
                    lambda left=left: self._client.batch_write_item(RequestItems={self._table: left})  # type: ignore[misc]
                )
                left = answer.get("UnprocessedItems", {}).get(self._table, [])
                if not left:
                    break
                self._sleep(0.05 * 2**attempt)
            else:
                raise StoreUnavailable("DynamoDB: jobs are left unwritten")

    def _lane(self, lane: LaneKey) -> dict[str, Any] | None:
        key = _key(lane, LANE)
        answer = self._asked(lambda: self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True))
        found: dict[str, Any] | None = answer.get("Item")
        return found

    def _items(self, lane: LaneKey, fields: str | None = None, after: str | None = None) -> Iterator[dict[str, Any]]:
        """The jobs of a lane, in order, of those behind a place."""
        first = FIRST if after is None else f"{after}{BEHIND}"
        return self._pages(
            KeyConditionExpression="#owner = :owner AND sk BETWEEN :first AND :last",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": _owner(lane)}, ":first": {"S": first}, ":last": {"S": LAST}},
            ConsistentRead=True,
            **({"ProjectionExpression": fields} if fields else {}),
        )

    def _pages(self, **request: Any) -> Iterator[dict[str, Any]]:
        while True:
            answer = self._asked(
                lambda request=request: self._client.query(TableName=self._table, **request)  # type: ignore[misc]
            )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request = request | {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _keep(self, lane: LaneKey, sort_key: str, expression: str, values: dict[str, Any]) -> None:
        """What is gone meanwhile stays so."""
        self._if(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(lane, sort_key),
                UpdateExpression=expression,
                ConditionExpression="attribute_exists(sk)",
                ExpressionAttributeValues=values,
            )
        )

    def _expiry(self) -> dict[str, str]:
        return _number(int(self._clock() + EXPIRES_AFTER_S))

    def _update(self, lane: LaneKey, expression: str, values: dict[str, Any], names: dict[str, str]) -> None:
        self._asked(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(lane, LANE),
                UpdateExpression=expression,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        )

    def _mark(
        self, owner: Owner, lane: LaneKey, expression: str, values: dict[str, Any], condition: str | None = None
    ) -> Any:
        more: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        if condition:
            more["ConditionExpression"] = condition
        return self._client.update_item(
            TableName=self._keys_table,
            Key={"owner": {"S": tables.key_owner(*owner)}, "sk": {"S": "key"}},
            UpdateExpression=expression,
            ExpressionAttributeNames={"#mark": f"{tables.OVER}{lane.destination}"},
            **more,
        )

    def _if(self, call: Callable[[], Any]) -> Any:
        """What stands under a condition; None where that does not hold."""
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] == REFUSED:
                return None
            raise StoreUnavailable(f"DynamoDB: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"DynamoDB: {type(error).__name__}") from error

    def _asked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ClientError as error:
            raise StoreUnavailable(f"DynamoDB: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"DynamoDB: {type(error).__name__}") from error


def _destination(lane: LaneKey) -> str:
    return tables.owner(lane.workspace, lane.destination)


def _owner(lane: LaneKey) -> str:
    return f"{_destination(lane)}#{lane.group}"


def _key(lane: LaneKey, sort_key: str) -> dict[str, Any]:
    return {"owner": {"S": _owner(lane)}, "sk": {"S": sort_key}}


def _lane_in(item: dict[str, Any]) -> LaneKey:
    return LaneKey(*item["owner"]["S"].split("#"))


def _owner_in(item: dict[str, Any], lane: LaneKey) -> Owner:
    """Whose key's lane it is: that key has the mark."""
    return Owner(lane.workspace, item["source"]["S"], lane.group)


def _kept(job: Job) -> dict[str, Any]:
    return {"id": {"S": job.id}, "body": {"B": zlib.compress(job.body.encode(), 1)}}


def _turns(workspace: str, destination: str) -> dict[str, Any]:
    """Both of its queues have them together."""
    owner = tables.owner(workspace, destination.removesuffix(IMPORTS))
    return {"owner": {"S": owner}, "sk": {"S": tables.OVERFLOW_TURNS}}


def _turn(item: dict[str, Any]) -> Turn:
    reached = {name.removeprefix(REACHED): each["S"] for name, each in item.items() if name.startswith(REACHED)}
    return Turn(reached, float(item["renewed_at"]["N"]))


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}
