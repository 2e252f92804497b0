"""Letters and replays: the fakes, DynamoDB and S3 keep one contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from penstock.adapters import letter_bodies, letter_table
from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.letter_bodies import LetterBodies, LetterReader
from penstock.adapters.letter_retention import LetterRetention
from penstock.adapters.letter_table import LetterTable
from penstock.adapters.replay_table import ReplayTable
from penstock.adapters.replay_tickets import ReplayTickets, ticket_in
from penstock.domain import audit
from penstock.domain.config import Create
from penstock.domain.letter_index import LetterFilter, matches
from penstock.domain.letters import encode_letter, job_from, place_of
from penstock.domain.paging import Window
from penstock.domain.replays import Ticket, moved
from penstock.domain.workspaces import Workspace
from penstock.errors import QueueUnavailable, StoreChanged, StoreUnavailable
from penstock.steps.keep_letters import KeepLetters
from tests.builders_letters import AT, LATER, REPLAY, entry, letter, replay
from tests.builders_pipeline import DESTINATION, WORKSPACE, event, raw
from tests.control_api import REGION, make_tables
from tests.fakes_letters import MemoryBodies, MemoryLetters, MemoryReplays
from tests.fakes_pipeline import Inline

NOW = 1_790_000_000.0
TABLE, CONFIG, BUCKET = "penstock-test-letters", "penstock-test-config", "penstock-test-letters-1-us-east-1"
OTHER, STRANGER = "dst_bbbbbbbbbbbb", "ws_bbbbbbbbbbbb"
MINE = (WORKSPACE, DESTINATION)
ALL = LetterFilter(include_replayed=True)
AUDIT = "penstock-test-audit"
ENTRY = audit.entry(WORKSPACE, "x", NOW, "tok_a", "replay.created", REPLAY, "to")


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


@pytest.fixture
def cloud() -> Iterator[None]:
    with mock_aws():
        make_tables()
        client("s3").create_bucket(Bucket=BUCKET)
        yield


def letter_index_of(kind: str) -> Any:
    if kind == "memory":
        return MemoryLetters(lambda: NOW)
    return LetterTable(client("dynamodb"), TABLE, lambda: NOW, Inline())


@pytest.fixture(params=["memory", "dynamodb"])
def index(request: pytest.FixtureRequest, cloud: None) -> Any:
    return letter_index_of(request.param)


def replay_table() -> ReplayTable:
    return ReplayTable(client("dynamodb"), TABLE, AUDIT, lambda: NOW)


@pytest.fixture(params=["memory", "dynamodb"])
def replays(request: pytest.FixtureRequest, cloud: None) -> Any:
    return MemoryReplays() if request.param == "memory" else replay_table()


@pytest.fixture(params=["memory", "s3"])
def bodies(request: pytest.FixtureRequest, cloud: None) -> Any:
    """(what writes, what reads)."""
    if request.param == "memory":
        return (MemoryBodies(),) * 2
    made = LetterBodies(lambda: client("s3"), BUCKET)
    return made, LetterReader(made, Inline())


def numbers(found: Any) -> list[int]:
    return [int(each.place.split("#")[1]) for each in found]


def test_letters_come_in_the_streams_order_and_newest_first(index: Any) -> None:
    kept = [entry(number=2, at=LATER), entry(number=3, at=AT), entry(number=1, at=AT)]
    index.put(*MINE, kept)
    assert numbers(index.in_order(*MINE, ALL, None, REPLAY)[0]) == [1, 2, 3]
    assert numbers(index.newest(*MINE, ALL, None, 10)[0]) == [2, 3, 1]
    assert index.count(*MINE, ALL, None, REPLAY) == (3, None)


def test_a_letter_that_is_put_again_stays_as_it_was_with_what_became_of_it(index: Any) -> None:
    first, again = entry(reason="http_404"), entry(reason="http_410", at=LATER)
    index.put(*MINE, [first])
    assert index.find(*MINE, first.place) == first
    index.mark(*MINE, [first.place], REPLAY, LATER)
    index.put(*MINE, [again])
    replayed = entry(reason="http_404", replayed_at=LATER, replay=REPLAY)
    assert index.in_order(*MINE, ALL, None, REPLAY) == ([replayed], None)
    assert index.newest(*MINE, ALL, None, 10) == ([replayed], None)


def test_a_letter_takes_the_place_of_one_that_has_expired(index: Any) -> None:
    index.put(*MINE, [entry(expires_at=int(NOW))])
    index.put(*MINE, [entry(reason="http_410")])
    assert index.find(*MINE, entry().place) == entry(reason="http_410")


def test_a_letter_is_claimed_by_one_replay_as_it_was_read_and_by_the_same_again(index: Any) -> None:
    one, two, gone = entry(number=1), entry(number=2), entry(number=3)
    index.put(*MINE, [one, two])
    other = "rpl_bbbbbbbbbbbb"
    assert index.claim(*MINE, [one, gone], REPLAY) == {one.place}
    assert index.claim(*MINE, [one, two], other) == {two.place}
    assert index.claim(*MINE, [one, two], REPLAY) == {one.place}
    read = index.find(*MINE, one.place)
    assert read == entry(number=1, claimed=REPLAY)
    assert index.claim(*MINE, [read], other) == {one.place}
    index.mark(*MINE, [one.place], other, LATER)
    assert index.claim(*MINE, [read, one], REPLAY) == set()
    assert index.claim(*MINE, [index.find(*MINE, one.place)], REPLAY) == {one.place}


def test_a_letter_is_found_by_who_does_not_know_its_sources_turn(index: Any) -> None:
    moved, again = entry(number=1, turn=3), entry(number=1, turn=3, job=job_from(letter(1), REPLAY, DESTINATION).id)
    index.put(*MINE, [moved, again, entry(number=2)])
    for found in (moved, again, entry(number=2)):
        assert index.find(*MINE, place_of(found.job, found.index)) == index.find(*MINE, found.place) == found
    assert index.find(STRANGER, DESTINATION, place_of(moved.job, 0)) is None
    assert numbers(index.in_order(*MINE, ALL, None, "rpl_bbbbbbbbbbbb")[0]) == [2, 1, 1]


def test_more_letters_than_one_call_takes_are_all_kept(index: Any) -> None:
    index.put(*MINE, [entry(number=number) for number in range(1, 61)])
    assert numbers(index.in_order(*MINE, ALL, None, REPLAY)[0]) == list(range(1, 61))


def test_no_one_reads_the_letters_of_another_destination_or_workspace(index: Any) -> None:
    index.put(*MINE, [entry()])
    for owner in ((WORKSPACE, OTHER), (STRANGER, DESTINATION)):
        assert index.find(*owner, entry().place) is None
        assert index.in_order(*owner, ALL, None, REPLAY) == ([], None)
        assert index.newest(*owner, ALL, None, 10) == ([], None)


def test_what_has_expired_is_gone_before_dynamodb_removes_it(index: Any) -> None:
    index.put(*MINE, [entry(number=1, expires_at=int(NOW)), entry(number=2, expires_at=int(NOW) + 1)])
    assert index.find(*MINE, entry(number=1).place) is None
    assert numbers(index.in_order(*MINE, ALL, None, REPLAY)[0]) == [2]
    assert numbers(index.newest(*MINE, ALL, None, 10)[0]) == [2]


def test_what_was_replayed_is_marked_and_what_is_gone_is_not_made_again(index: Any) -> None:
    index.put(*MINE, [entry(number=1), entry(number=2)])
    index.mark(*MINE, [entry(number=1).place, entry(number=9).place], REPLAY, LATER)
    assert index.find(*MINE, entry(number=1).place) == entry(number=1, replayed_at=LATER, replay=REPLAY)
    assert index.find(*MINE, entry(number=9).place) is None
    (listed, *_) = [each for each in index.newest(*MINE, ALL, None, 10)[0] if each.replay]
    assert listed.replayed_at == LATER


def test_pages_go_on_where_the_one_before_ended(index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    index.page = 3
    monkeypatch.setattr(letter_table, "LOOKED_AT_ONCE", 3)
    monkeypatch.setattr(letter_table, "COUNTED_AT_ONCE", 3)
    index.put(*MINE, [entry(number=number, at=f"2026-11-23T16:00:{number:02}.000Z") for number in range(1, 9)])
    ordered, counted, after, upto = [], 0, None, None
    for _ in range(4):
        found, after = index.in_order(*MINE, ALL, after, REPLAY)
        some, upto = index.count(*MINE, ALL, upto, REPLAY)
        ordered, counted = ordered + numbers(found), counted + some
        if after is None:
            break
    assert (ordered, counted, upto) == (list(range(1, 9)), 8, None)
    newest, after = [], None
    for _ in range(8):
        found, after = index.newest(*MINE, ALL, after, 2)
        newest += numbers(found)
        if after is None:
            break
    assert newest == list(range(8, 0, -1))


KINDS = st.sampled_from(["dead", "discarded"])
MARKS = st.sampled_from(
    [{}, {"replayed_at": LATER, "replay": REPLAY}, {"replayed_at": LATER, "replay": "rpl_other0000000"}]
)
ROWS = st.lists(
    st.tuples(KINDS, st.sampled_from(["http_404", "timeout"]), st.sampled_from(["ada", "bob"]), MARKS, st.booleans()),
    max_size=6,
)
MOMENTS = st.sampled_from([datetime(2026, 11, 23, 16, 0, second, tzinfo=UTC) for second in (0, 2, 4)])
FILTERS = st.builds(
    LetterFilter,
    kind=st.none() | KINDS,
    reason=st.none() | st.just("timeout"),
    user=st.none() | st.just("ada"),
    event=st.none() | st.just("Counted") | st.just("identify"),
    from_=st.none() | MOMENTS,
    to=st.none() | MOMENTS,
    include_replayed=st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, wanted=FILTERS)
def test_the_table_understands_a_filter_as_the_domain_does(rows: Any, wanted: LetterFilter) -> None:
    with mock_aws():
        make_tables()
        index = letter_index_of("dynamodb")
        made = []
        for number, (kind, reason, user, mark, is_own) in enumerate(rows, 1):
            said = {"event": raw(event(number, type="identify"))} if number % 3 == 0 else {}
            own = {"job": job_from(letter(number), REPLAY, DESTINATION).id} if is_own else {}
            at = f"2026-11-23T16:00:0{number}.000Z"
            made.append(entry(number=number, key=user, kind=kind, reason=reason, at=at, **mark, **said, **own))
        index.put(*MINE, made)
        expected = [each for each in made if matches(each, wanted, REPLAY)]
        assert index.in_order(*MINE, wanted, None, REPLAY)[0] == sorted(expected, key=lambda each: each.place)
        assert index.count(*MINE, wanted, None, REPLAY)[0] == len(expected)
        newest = sorted((each for each in made if matches(each, wanted)), key=lambda each: each.listed, reverse=True)
        assert index.newest(*MINE, wanted, None, 10)[0] == newest


def test_bodies_are_read_as_they_were_put_and_what_is_gone_is_none(bodies: Any) -> None:
    writes, reads = bodies
    first, second = letter(1), letter(2, event=raw(b'{"spread":\n\r {"text":"a\\nb \xe2\x80\xa8"}\n}'))
    writes.put("r30/object", [encode_letter(first), encode_letter(second)])
    asked = [entry(number=1, slot=1), entry(number=1, slot=0), entry(number=3, object="r30/gone")]
    assert reads.read(asked) == [second, first, None]


def test_what_was_opened_is_not_fetched_again_and_never_outgrows_its_memory(
    cloud: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Counting:
        def get_object(self, **given: Any) -> Any:
            asked.append(given["Key"])
            return client("s3").get_object(**given)

    LetterBodies(lambda: client("s3"), BUCKET).put("one", [encode_letter(letter())])
    LetterBodies(lambda: client("s3"), BUCKET).put("two", [encode_letter(letter())])
    reader = LetterReader(LetterBodies(Counting, BUCKET), ThreadPoolExecutor(2))
    for _ in range(2):
        reader.read([entry(object="one"), entry(object="two")])
    assert sorted(asked) == ["one", "two"]
    monkeypatch.setattr(letter_bodies, "MOST_IN_MEMORY", 1)
    reader.read([entry(object="one"), entry(object="gone")])
    assert reader._size == 0


def test_letters_lie_under_their_retention_workspace_and_destination_before_their_rows_do(cloud: None) -> None:
    ids = count()
    index = letter_index_of("dynamodb")
    retention = type("Retention", (), {"get": lambda self, workspace: 90})()
    keep = KeepLetters(
        LetterBodies(lambda: client("s3"), BUCKET), index, retention, lambda: NOW, lambda: f"id-{next(ids)}"
    )
    keep.keep(*MINE, [letter(1), letter(2), letter(2)])
    (listed,) = client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert listed["Key"] == f"r90/{WORKSPACE}/{DESTINATION}/2026-11-23/id-0.json-seq.gz"
    found, _ = index.in_order(*MINE, ALL, None, REPLAY)
    assert [(each.object, each.slot) for each in found] == [(listed["Key"], 0), (listed["Key"], 2)]
    assert {each.expires_at for each in found} == {int(NOW) + 90 * 86_400}


def test_a_replay_is_found_as_it_was_left_and_changed_only_as_it_was_read(replays: Any) -> None:
    made = replay(filter=LetterFilter(reason="http_404", from_=datetime(2026, 11, 23, tzinfo=UTC)))
    replays.create(made, ENTRY)
    assert replays.find(*MINE, REPLAY) == made
    with pytest.raises(StoreChanged):
        replays.create(made, ENTRY)
    after = moved(made, LATER, "w", state="running", total=3, cursor="0#x")
    replays.change(made, after)
    assert replays.find(*MINE, REPLAY) == after
    with pytest.raises(StoreChanged):
        replays.change(made, after)
    with pytest.raises(StoreChanged):
        replays.change(replay(id="rpl_bbbbbbbbbbbb"), after)


def test_what_is_done_to_a_replay_stands_in_the_audit_log_if_it_is_done(cloud: None) -> None:
    replays = replay_table()
    replays.create(replay(), ENTRY)
    for refused in (
        lambda: replays.create(replay(), ENTRY),
        lambda: replays.change(replay(version=7), replay(), ENTRY),
    ):
        with pytest.raises(StoreChanged):
            refused()
    cancelled = msgspec.structs.replace(ENTRY, id="z", action="replay.cancelled")
    replays.change(replay(), moved(replay(), LATER, "w", state="cancelled"), cancelled)
    log = ConfigStore(Place(CONFIG, AUDIT, REGION)).entries(WORKSPACE, Window())
    assert log == [cancelled, ENTRY]


def test_the_newest_replays_come_first_and_nobody_elses(replays: Any, cloud: None) -> None:
    ids = [f"rpl_{letter_ * 12}" for letter_ in "abcd"]
    for each in ids:
        replays.create(replay(id=each), ENTRY)
    LetterTable(client("dynamodb"), TABLE, lambda: NOW, Inline()).put(*MINE, [entry()])
    assert [each.id for each in replays.newest(*MINE, None, 2)] == [ids[3], ids[2], ids[1]]
    assert [each.id for each in replays.newest(*MINE, ids[2], 2)] == [ids[1], ids[0]]
    assert replays.newest(STRANGER, DESTINATION, None, 2) == []
    assert replays.find(STRANGER, DESTINATION, ids[0]) is None


def test_a_workspace_has_room_for_so_many_replays_and_each_counts_once(replays: Any) -> None:
    assert replays.entered(WORKSPACE) == []
    assert [replays.enter(*MINE, each, 2) for each in ("rpl_a", "rpl_a", "rpl_b", "rpl_c")] == [True, True, True, False]
    assert replays.enter(STRANGER, DESTINATION, "rpl_d", 2)
    assert replays.entered(WORKSPACE) == [(DESTINATION, "rpl_a"), (DESTINATION, "rpl_b")]
    for _ in range(2):
        replays.leave(*MINE, "rpl_a")
    assert replays.enter(*MINE, "rpl_c", 2)
    assert replays.entered(WORKSPACE) == [(DESTINATION, "rpl_b"), (DESTINATION, "rpl_c")]
    for each in ("rpl_b", "rpl_c"):
        replays.leave(*MINE, each)
    assert replays.entered(WORKSPACE) == []


def test_replays_are_no_letters(cloud: None) -> None:
    replay_table().create(replay(), ENTRY)
    index = letter_index_of("dynamodb")
    assert index.in_order(*MINE, ALL, None, REPLAY) == index.newest(*MINE, ALL, None, 9) == ([], None)


@pytest.mark.parametrize(("stored", "days"), [({}, 30), ({"letters_retention_days": 365}, 365)])
def test_a_workspace_keeps_letters_for_as_long_as_it_has_chosen(cloud: None, stored: Any, days: int) -> None:
    item = Workspace(workspace_id=WORKSPACE, id=WORKSPACE, name="Acme", created_at=AT, **stored)
    assert ConfigStore(Place(CONFIG, AUDIT, REGION)).commit([Create(item)], None) == ()
    assert LetterRetention(client("dynamodb"), CONFIG).days(WORKSPACE) == days
    assert LetterRetention(client("dynamodb"), CONFIG).days(STRANGER) == 30


def test_a_workspace_from_before_there_was_a_choice_can_be_read(cloud: None) -> None:
    plain = {"workspace_id": WORKSPACE, "sk": "workspace", "name": "Acme", "created_at": AT}
    client("dynamodb").put_item(TableName=CONFIG, Item={name: {"S": value} for name, value in plain.items()})
    found = ConfigStore(Place(CONFIG, AUDIT, REGION)).find(Workspace, WORKSPACE, WORKSPACE)
    assert found is not None
    assert found.letters_retention_days == 30


def test_a_ticket_is_read_as_it_was_put(cloud: None) -> None:
    url = client("sqs").create_queue(QueueName="penstock-test-replays")["QueueUrl"]
    ReplayTickets(client("sqs"), url).put(Ticket(*MINE, REPLAY), 0)
    (message,) = client("sqs").receive_message(QueueUrl=url)["Messages"]
    assert ticket_in(message["Body"]) == Ticket(*MINE, REPLAY)
    assert json.loads(message["Body"])["replay"] == REPLAY


class Broken:
    """A client whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            raise self._error

        return call


ERRORS = [
    ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "Any"),
    EndpointConnectionError(endpoint_url="x"),
]


@pytest.mark.parametrize("error", ERRORS)
def test_what_does_not_answer_is_unavailable(error: Exception) -> None:
    broken: Any = Broken(error)
    index = LetterTable(broken, TABLE, lambda: NOW, Inline())
    replays = ReplayTable(broken, TABLE, AUDIT, lambda: NOW)
    opened = LetterBodies(lambda: broken, BUCKET)
    calls = [
        lambda: index.put(*MINE, [entry()]),
        lambda: index.find(*MINE, "x"),
        lambda: index.in_order(*MINE, ALL, None, REPLAY),
        lambda: index.newest(*MINE, ALL, None, 1),
        lambda: index.claim(*MINE, [entry()], REPLAY),
        lambda: index.mark(*MINE, ["x"], REPLAY, AT),
        lambda: replays.create(replay(), ENTRY),
        lambda: replays.enter(*MINE, REPLAY, 20),
        lambda: replays.leave(*MINE, REPLAY),
        lambda: opened.put("x", [b"{}"]),
        lambda: opened.texts("x"),
        lambda: LetterRetention(broken, CONFIG).days(WORKSPACE),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()
    with pytest.raises(QueueUnavailable):
        ReplayTickets(broken, "url").put(Ticket(*MINE, REPLAY), 0)


def test_an_object_that_is_no_gzip_is_unavailable_and_not_gone(cloud: None) -> None:
    client("s3").put_object(Bucket=BUCKET, Key="odd", Body=b"odd")
    with pytest.raises(StoreUnavailable):
        LetterBodies(lambda: client("s3"), BUCKET).texts("odd")
