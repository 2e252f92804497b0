"""Claims of messageIds: the fake and DynamoDB keep one contract; what DynamoDB does alone is told here too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from penstock import tables
from penstock.adapters.aws_wire import WireFailed
from penstock.adapters.dedup_table import IDS_PER_DAY, IDS_PER_WRITE, PAUSES_S, DedupTable
from penstock.domain.dedup import Claims, KeyState, Known, Owner, Wanted, claims_of, short_hash
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import SHARD, SOURCE, WORKSPACE
from tests.control_api import make_tables
from tests.fakes_dedup import MemoryDedup
from tests.moto_server import REGION, Cloud, emptied, environment, moto_cloud

TABLE = "penstock-test-dedup"
DAY, NEXT = "2026-11-23", "2026-11-24"
ADA, GRACE = Owner(WORKSPACE, SOURCE, "a" * 32), Owner(WORKSPACE, SOURCE, "b" * 32)


@pytest.fixture(scope="module")
def served() -> Iterator[Cloud]:
    with moto_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(served: Cloud) -> Iterator[Cloud]:
    with environment(AWS_ENDPOINT_URL=emptied(served).url):
        make_tables()
        yield served


class Counting:
    """A wire that notes what is asked for, and answers what it is told to before it asks."""

    def __init__(self, cloud: Cloud, *first: tuple[int, bytes] | Exception) -> None:
        self._wire = cloud.wire("dynamodb")
        self.first = list(first)
        self.asked: list[tuple[str, Any]] = []

    def call(self, target: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append((target.rpartition(".")[2], json.loads(body)))
        if self.first:
            answer = self.first.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return self._wire.call(target, body)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


def table(wire: Any, pauses: list[float] | None = None) -> DedupTable:
    return DedupTable(wire, TABLE, (WireFailed,), [].append if pauses is None else pauses.append)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest, cloud: Cloud) -> Any:
    return MemoryDedup() if request.param == "memory" else table(cloud.wire("dynamodb"))


def claims(*numbers: int, record: int = 1) -> Claims:
    """Claims of a record on `m-<number>` of each number."""
    made = claims_of(f"{SHARD}-{record:056d}", len(numbers))
    return {short_hash(f"m-{number}"): claim for number, claim in zip(numbers, made, strict=True)}


def known(store: Any, *numbers: int, owner: Owner = ADA, days: tuple[str, ...] = (DAY,)) -> Known:
    ids = frozenset(short_hash(f"m-{number}") for number in numbers)
    found: Known = store.read([Wanted(owner, frozenset(days), ids)])[owner]
    return found


def test_nothing_is_known_of_a_key_that_nobody_saw(store: Any) -> None:
    assert known(store, 1, days=(DAY, NEXT)) == Known(KeyState(), {DAY: {}, NEXT: {}})
    assert store.read([]) == {}


def test_the_first_who_claims_holds_and_later_ones_are_told(store: Any) -> None:
    first, second = claims(1, 2), claims(2, 3, record=2)
    assert store.claim(ADA, DAY, first) == first
    assert store.claim(ADA, DAY, second) == second | {short_hash("m-2"): first[short_hash("m-2")]}
    assert known(store, 1, 2, 3).days[DAY] == second | first


def test_a_claim_can_be_made_again_and_is_the_same(store: Any) -> None:
    for _ in range(3):
        assert store.claim(ADA, DAY, claims(1, 2)) == claims(1, 2)


def test_each_key_and_day_has_claims_of_its_own(store: Any) -> None:
    strangers = [ADA._replace(workspace="ws_bbbbbbbbbbbb"), ADA._replace(source="src_bbbbbbbbbbbb"), GRACE]
    store.claim(ADA, DAY, claims(1))
    for record, owner in enumerate(strangers, 2):
        assert known(store, 1, owner=owner).days == {DAY: {}}
        assert store.claim(owner, DAY, claims(1, record=record)) == claims(1, record=record)
    assert store.claim(ADA, NEXT, claims(1, record=9)) == claims(1, record=9)
    assert known(store, 1, days=(DAY, NEXT)).days == {DAY: claims(1), NEXT: claims(1, record=9)}


def test_many_keys_are_read_at_once(store: Any) -> None:
    owners = [ADA._replace(group=f"{number:032x}") for number in range(150)]
    for number, owner in enumerate(owners[::50]):
        store.claim(owner, DAY, claims(1, record=number))
    found = store.read([Wanted(owner, frozenset((DAY,)), frozenset(claims(1))) for owner in owners])
    assert found.keys() == set(owners)
    assert [found[owner].days[DAY] for owner in owners[::50]] == [claims(1, record=number) for number in range(3)]
    assert sum(len(each.days[DAY]) for each in found.values()) == 3


def test_a_run_that_fills_a_day_is_claimed_whole_and_again_and_by_nobody_else(store: Any) -> None:
    """Moto copies its table for every transaction: this is no place for the longest run."""
    everything = claims(*range(720))
    assert store.claim(ADA, DAY, everything) == everything
    assert store.claim(ADA, DAY, everything) == everything
    assert store.claim(ADA, DAY, claims(*range(720), record=2)) == everything
    found = known(store, *range(720), days=(DAY, NEXT)).days
    assert {id_: found[DAY][id_] for id_ in everything} == everything


def test_the_claims_of_a_day_that_filled_up_hold_on_whichever_side_they_lie(store: Any) -> None:
    """The first hundreds are in the day's item, the last ones apart; a later record meets both, and adds new ones."""
    for record in range(7):
        numbers = range(100 * record, 100 * record + 100)
        assert store.claim(ADA, DAY, claims(*numbers, record=record)) == claims(*numbers, record=record)
    mixed = claims(5, 1_000, 690, record=9)
    held = store.claim(ADA, DAY, mixed)
    assert held == mixed | {
        short_hash("m-5"): claims(*range(100), record=0)[short_hash("m-5")],
        short_hash("m-690"): claims(*range(600, 700), record=6)[short_hash("m-690")],
    }
    found = known(store, 5, 690, 1_000, 77).days[DAY]
    assert {id_: found[id_] for id_ in held} == held


# DynamoDB alone.


def test_a_hundred_ids_cost_one_write_and_a_batch_one_read(cloud: Cloud) -> None:
    wire = Counting(cloud)
    store = table(wire)
    store.read([Wanted(owner, frozenset((DAY,)), frozenset(claims(1))) for owner in (ADA, GRACE)])
    assert wire.names == ["BatchGetItem"]
    assert len(wire.asked[0][1]["RequestItems"][TABLE]["Keys"]) == 2 * 2
    store.claim(ADA, DAY, claims(*range(IDS_PER_WRITE)))
    assert wire.names[1:] == ["UpdateItem"]
    store.claim(GRACE, DAY, claims(*range(IDS_PER_WRITE + 1)))
    assert wire.names[2:] == ["UpdateItem"] * 2


def test_the_fullest_write_is_within_dynamodbs_limits(cloud: Cloud) -> None:
    wire = Counting(cloud)
    table(wire).claim(ADA, DAY, claims(*range(IDS_PER_WRITE)))
    expression = wire.asked[0][1]["UpdateExpression"]
    assert len(expression) < 4_096
    assert expression.count("(") + expression.count("=") + 1 < 300


def test_a_day_takes_no_more_than_it_is_meant_to_and_stays_full(cloud: Cloud) -> None:
    wire = Counting(cloud)
    store = table(wire)
    for record in range(9):
        store.claim(ADA, DAY, claims(*range(90 * record, 90 * record + 90), record=record))
    items = cloud.client("dynamodb").scan(TableName=TABLE)["Items"]
    of_day = [item for item in items if item["owner"]["S"] == tables.key_owner(*ADA)]
    assert [len([name for name in item if len(name) == 12]) for item in of_day] == [540]
    assert len(items) == 1 + 810 - 540
    assert wire.names[6:] == ["UpdateItem", "TransactWriteItems"] * 3
    assert len(json.dumps(of_day[0], default=repr)) < 100_000 < 400_000
    assert IDS_PER_DAY <= 540 < IDS_PER_DAY + IDS_PER_WRITE


def test_a_replay_finds_its_claims_in_the_full_day_with_one_call(cloud: Cloud) -> None:
    wire = Counting(cloud)
    store = table(wire)
    for record in range(5):
        store.claim(ADA, DAY, claims(*range(100 * record, 100 * record + 100), record=record))
    wire.asked.clear()
    assert store.claim(ADA, DAY, claims(*range(100), record=0)) == claims(*range(100), record=0)
    assert wire.names == ["UpdateItem"]


def test_claims_expire_when_no_trace_can_ask_for_them_any_more(cloud: Cloud) -> None:
    store = table(cloud.wire("dynamodb"))
    for record in range(7):
        store.claim(ADA, DAY, claims(*range(100 * record, 100 * record + 100), record=record))
    ends = 1_795_478_400  # the end of the day
    items = cloud.client("dynamodb").scan(TableName=TABLE)["Items"]
    assert len(items) > 1
    assert {int(item["expires_at"]["N"]) for item in items} == {ends + 15 * 86_400}


def test_the_keys_own_item_is_read_with_its_claims(cloud: Cloud) -> None:
    wire = Counting(cloud)
    item = {
        "owner": {"S": tables.key_owner(*ADA)},
        "sk": {"S": "key"},
        f"{tables.OVER}dst_aaaaaaaaaaaa": {"BOOL": True},
    }
    boto3.client("dynamodb", region_name=REGION).put_item(TableName=TABLE, Item=item)
    state = known(table(wire), 1).key
    assert state == KeyState(frozenset(["dst_aaaaaaaaaaaa"]))
    assert wire.names == ["BatchGetItem"]


def trouble(code: str, status: int = 400) -> tuple[int, bytes]:
    return status, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}"}).encode()


PASSING = [
    WireFailed("no answer"),
    trouble("ProvisionedThroughputExceededException"),
    trouble("ThrottlingException"),
    trouble("InternalServerError", 500),
    (503, b"<html>"),
    (200, b"{"),
]


@pytest.mark.parametrize("passing", PASSING)
def test_what_passes_is_asked_again_after_a_pause(cloud: Cloud, passing: Any) -> None:
    pauses: list[float] = []
    assert table(Counting(cloud, passing), pauses).claim(ADA, DAY, claims(1)) == claims(1)
    known(table(Counting(cloud, passing), pauses), 1)
    assert pauses == [PAUSES_S[0]] * 2


@pytest.mark.parametrize("lasting", PASSING)
def test_what_does_not_pass_is_unavailable_after_a_few_tries(cloud: Cloud, lasting: Any) -> None:
    for call in (lambda store: store.claim(ADA, DAY, claims(1)), lambda store: known(store, 1)):
        wire = Counting(cloud, *[lasting] * 9)
        with pytest.raises(StoreUnavailable):
            call(table(wire))
        assert len(wire.asked) == len(PAUSES_S) + 1


def test_a_refusal_is_unavailable_at_once(cloud: Cloud) -> None:
    for call in (lambda store: store.claim(ADA, DAY, claims(1)), lambda store: known(store, 1)):
        wire = Counting(cloud, trouble("AccessDeniedException"))
        with pytest.raises(StoreUnavailable, match="AccessDenied"):
            call(table(wire))
        assert len(wire.asked) == 1


def test_keys_that_dynamodb_leaves_out_are_asked_for_again_and_not_taken_for_absent(cloud: Cloud) -> None:
    table(cloud.wire("dynamodb")).claim(ADA, DAY, claims(1))
    keys = [{"owner": {"S": tables.key_owner(*ADA)}, "sk": {"S": DAY}}]
    part = 200, json.dumps({"Responses": {}, "UnprocessedKeys": {TABLE: {"Keys": keys}}}).encode()
    wire = Counting(cloud, part)
    assert known(table(wire), 1).days == {DAY: claims(1)}
    assert wire.asked[1][1]["RequestItems"][TABLE]["Keys"] == keys
    with pytest.raises(StoreUnavailable, match="unread"):
        known(table(Counting(cloud, *[part] * 9)), 1)


def test_transactions_that_are_cancelled_for_ever_are_unavailable(cloud: Cloud) -> None:
    wire = Counting(cloud, trouble("ConditionalCheckFailedException"))
    store = table(wire)
    wire.first += [
        answer for _ in PAUSES_S for answer in (trouble("TransactionCanceledException"), (200, b'{"Responses":{}}'))
    ]
    with pytest.raises(StoreUnavailable):
        store.claim(ADA, DAY, claims(1))
