"""Receipts, progress, routes, settings: the fakes and DynamoDB keep one contract; what control writes can be read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from penstock.adapters.config_store import ConfigStore, Place
from penstock.adapters.parked_records import ParkedRecords
from penstock.adapters.progress import ProgressTable
from penstock.adapters.receipts import BYTES_PER_ROW, ReceiptTable
from penstock.adapters.routes import RouteTable
from penstock.adapters.sealed_destinations import SealedDestinations
from penstock.domain.books import DELIVERED, Cause, FanoutReceipt, RecordReceipt, add_up, deliver_receipt
from penstock.domain.config import Create
from penstock.domain.destinations import Destination
from penstock.domain.progress import Progress
from penstock.domain.sealed import Sealed
from penstock.domain.webhook_settings import Plain
from penstock.errors import StoreUnavailable
from tests.builders_pipeline import DESTINATION, SHARD, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_pipeline import MemoryProgress, MemoryReceipts

AT, LATER = "2026-11-23T16:00:00.000Z", "2026-11-23T16:00:01.000Z"
NOW = 1_790_000_000.0
CONFIG, RECEIPTS, PROGRESS = (f"penstock-test-{name}" for name in ("config", "receipts", "progress"))


def dynamodb() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


def receipt_table() -> ReceiptTable:
    ids = count()
    return ReceiptTable(dynamodb(), RECEIPTS, lambda: NOW, lambda: f"{next(ids):016x}")


@pytest.fixture
def tables() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


@pytest.fixture(params=["memory", "dynamodb"])
def receipts(request: pytest.FixtureRequest, tables: None) -> Any:
    return MemoryReceipts() if request.param == "memory" else receipt_table()


@pytest.fixture(params=["memory", "dynamodb"])
def progress(request: pytest.FixtureRequest, tables: None) -> Any:
    return MemoryProgress() if request.param == "memory" else ProgressTable(dynamodb(), PROGRESS, lambda: NOW)


def test_receipts_are_read_as_they_were_kept_oldest_first(receipts: Any) -> None:
    fanned_out = FanoutReceipt(
        AT, {f"{SHARD}-1": RecordReceipt(3, 1, 1, "110", (1, 1)), f"{SHARD}-2": RecordReceipt(1, 0)}
    )
    fates = {"job-1": (2, [DELIVERED, "http_400"]), "job-2": (0, [DELIVERED])}
    causes = {"http_503": Cause(2, "m-1", 503, "later")}
    more = {"retried": 2, "delays": {17: 3}, "causes": causes, "waiting": {"job-3": AT}}
    delivered = deliver_receipt(LATER, fates, {"job-2"}, {"job-1": 3}, **more)
    receipts.keep_deliver(WORKSPACE, DESTINATION, delivered)
    receipts.keep_fanout(WORKSPACE, DESTINATION, fanned_out)
    assert list(receipts.read(WORKSPACE, DESTINATION)) == [fanned_out, delivered]
    assert list(receipts.read(WORKSPACE, DESTINATION, page=1)) == [fanned_out, delivered]
    assert list(receipts.read(WORKSPACE, DESTINATION, LATER)) == [delivered]
    assert list(receipts.read(WORKSPACE, DESTINATION, AT, LATER)) == [fanned_out]


def test_receipts_of_one_moment_do_not_overwrite_each_other(receipts: Any) -> None:
    for number in range(5):
        receipts.keep_fanout(WORKSPACE, DESTINATION, FanoutReceipt(AT, {f"r-{number}": RecordReceipt(1, 0)}))
        receipts.keep_deliver(WORKSPACE, DESTINATION, deliver_receipt(AT, {f"r-{number}-0": (0, [DELIVERED])}))
    books = add_up(receipts.read(WORKSPACE, DESTINATION))
    assert (books.accepted, books.delivered) == (5, 5)


def test_no_destination_reads_anothers_receipts(receipts: Any) -> None:
    receipts.keep_fanout(WORKSPACE, DESTINATION, FanoutReceipt(AT, {"r": RecordReceipt(1, 0)}))
    assert list(receipts.read("ws_bbbbbbbbbbbb", DESTINATION)) == []
    assert list(receipts.read(WORKSPACE, "dst_bbbbbbbbbbbb")) == []


def test_the_largest_receipts_fit_into_their_rows(receipts: Any) -> None:
    """More records than Lambda ever hands over at once, and the fullest batch of the fullest jobs."""
    records = {f"{SHARD}-{number:056d}": RecordReceipt(2_500, 2_500) for number in range(10_000)}
    receipts.keep_fanout(WORKSPACE, DESTINATION, FanoutReceipt(AT, records))
    fates = [f"http_{400 + number % 100}" for number in range(100)]
    jobs = {f"{SHARD}-{number:056d}-24": (0, fates) for number in range(10)}
    receipts.keep_deliver(WORKSPACE, DESTINATION, deliver_receipt(AT, jobs))
    books = add_up(receipts.read(WORKSPACE, DESTINATION))
    assert (books.accepted, books.discarded.total()) == (25_000_000, 1_000)


def test_a_job_that_nobody_can_read_is_kept_whole(tables: None) -> None:
    body = bytes(range(256)) * 3_000
    receipt_table().keep_unreadable(DESTINATION, AT, "message-1", body)
    items = dynamodb().scan(TableName=RECEIPTS)["Items"]
    assert {item["owner"]["S"] for item in items} == {f"unreadable#{DESTINATION}"}
    parts = sorted(items, key=lambda item: int(item["part"]["N"]))
    assert b"".join(item["body"]["B"] for item in parts) == body
    assert max(len(item["body"]["B"]) for item in items) == BYTES_PER_ROW


def test_an_empty_job_is_kept_too(tables: None) -> None:
    receipt_table().keep_unreadable(DESTINATION, AT, "message-1", b"")
    assert dynamodb().scan(TableName=RECEIPTS)["Count"] == 1


def test_rows_expire_after_sqs_has_forgotten_the_jobs(tables: None) -> None:
    receipt_table().keep_fanout(WORKSPACE, DESTINATION, FanoutReceipt(AT, {"r": RecordReceipt(1, 0)}))
    ProgressTable(dynamodb(), PROGRESS, lambda: NOW).write(WORKSPACE, DESTINATION, "j", Progress(0, 1, "http_500"))
    for table in (RECEIPTS, PROGRESS):
        (item,) = dynamodb().scan(TableName=table)["Items"]
        assert int(item["expires_at"]["N"]) > NOW + 14 * 86_400


def test_a_note_is_read_as_it_was_written_last(progress: Any) -> None:
    assert progress.read(WORKSPACE, DESTINATION, "job") is None
    progress.write(WORKSPACE, DESTINATION, "job", Progress(3, 1, "http_503"))
    progress.write(WORKSPACE, DESTINATION, "job", Progress(4, 2, "timeout", kind="trouble"))
    assert progress.read(WORKSPACE, DESTINATION, "job") == Progress(4, 2, "timeout", kind="trouble")
    progress.write(WORKSPACE, DESTINATION, "job", Progress(4, is_started=True))
    progress.give_back(WORKSPACE, DESTINATION, ["job"])
    assert progress.read(WORKSPACE, DESTINATION, "job") == Progress(4, returns=1, is_started=True)
    progress.write(WORKSPACE, DESTINATION, "job", Progress(4, returns=2, is_alone=True))
    assert progress.read(WORKSPACE, DESTINATION, "job") == Progress(4, returns=2, is_alone=True)
    assert progress.read(WORKSPACE, DESTINATION, "other") is None
    assert progress.read("ws_bbbbbbbbbbbb", DESTINATION, "job") is None


def test_a_note_never_says_less_than_what_was_reached(progress: Any) -> None:
    progress.write(WORKSPACE, DESTINATION, "job", Progress(3, 1, "http_503"))
    progress.write(WORKSPACE, DESTINATION, "job", Progress(2, 5, "timeout"))
    assert progress.read(WORKSPACE, DESTINATION, "job") == Progress(3, 1, "http_503")
    progress.write(WORKSPACE, DESTINATION, "job", Progress(3, 2, "timeout"))
    assert progress.read(WORKSPACE, DESTINATION, "job") == Progress(3, 2, "timeout")


def keep(**fields: Any) -> None:
    """A destination as the control API writes it."""
    given = {
        "name": "Hook",
        "type": "webhook",
        "source_ids": ("src_a", "src_b"),
        "enabled": True,
        "subscription": 'type = "track"',
        "settings": Plain("https://example.com", {"X-A": "1"}),
        "secret_names": ("secret",),
        "secrets": b"\x00\xffsealed",
        "queue_url": "https://queue",
        "mapping_id": "m",
        "created_at": AT,
        "updated_at": AT,
    } | fields
    id_ = given.pop("id", DESTINATION)
    item = Destination(workspace_id=given.pop("workspace_id", WORKSPACE), id=id_, **given)
    assert ConfigStore(Place(CONFIG, "penstock-test-audit", REGION)).commit([Create(item)], None) == ()


def test_what_control_writes_is_a_route(tables: None) -> None:
    keep()
    (route,) = RouteTable(dynamodb(), CONFIG).read(WORKSPACE)
    assert (route.id, route.name, route.enabled, route.queue_url) == (DESTINATION, "Hook", True, "https://queue")
    assert route.source_ids == {"src_a", "src_b"}
    assert route.subscription is not None
    assert route.subscription.text == 'type = "track"'


def test_a_destination_without_a_subscription_takes_all(tables: None) -> None:
    keep(subscription=None)
    assert RouteTable(dynamodb(), CONFIG).read(WORKSPACE)[0].subscription is None


def test_an_expression_that_cannot_be_parsed_picks_nothing_and_stops_nobody(tables: None) -> None:
    keep(subscription="nonsense")
    keep(id="dst_bbbbbbbbbbbb")
    odd, good = sorted(RouteTable(dynamodb(), CONFIG).read(WORKSPACE), key=lambda each: each.id)
    assert odd.subscription is not None
    assert good.subscription is not None
    assert (odd.subscription.matches({"type": "track"}), good.subscription.matches({"type": "track"})) == (False, True)


def test_an_expression_is_compiled_once(tables: None) -> None:
    keep()
    table = RouteTable(dynamodb(), CONFIG)
    assert table.read(WORKSPACE)[0].subscription is table.read(WORKSPACE)[0].subscription


def test_a_destination_that_has_no_queue_yet_is_no_route(tables: None) -> None:
    keep()
    key = {"workspace_id": {"S": WORKSPACE}, "sk": {"S": f"destination#{DESTINATION}"}}
    dynamodb().update_item(TableName=CONFIG, Key=key, UpdateExpression="REMOVE queue_url")
    assert RouteTable(dynamodb(), CONFIG).read(WORKSPACE) == ()


def test_no_workspace_sees_anothers_destinations(tables: None) -> None:
    keep()
    assert RouteTable(dynamodb(), CONFIG).read("ws_bbbbbbbbbbbb") == ()
    assert SealedDestinations(dynamodb(), CONFIG).find("ws_bbbbbbbbbbbb", DESTINATION) is None


class OneByOne:
    """DynamoDB whose pages hold one item each."""

    def __init__(self) -> None:
        self._client = dynamodb()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return (lambda **given: method(Limit=1, **given)) if name == "query" else method


def test_what_does_not_fit_into_one_page_is_read_to_its_end(tables: None) -> None:
    paged: Any = OneByOne()
    receipts = ReceiptTable(paged, RECEIPTS, lambda: NOW, count().__str__)
    for number in range(3):
        keep(id=f"dst_{number:012d}")
        receipts.keep_fanout(
            WORKSPACE, DESTINATION, FanoutReceipt(f"2026-11-23T16:00:0{number}.000Z", {"r": RecordReceipt(1, 0)})
        )
    assert len(RouteTable(paged, CONFIG).read(WORKSPACE)) == 3
    assert len(list(receipts.read(WORKSPACE, DESTINATION))) == 3


@pytest.mark.parametrize("secrets", [b"\x00\xffsealed", None])
def test_what_control_writes_is_a_sealed_destination(tables: None, secrets: bytes | None) -> None:
    keep(secrets=secrets, enabled=False)
    found = SealedDestinations(dynamodb(), CONFIG).find(WORKSPACE, DESTINATION)
    assert found == Sealed(False, Plain("https://example.com", {"X-A": "1"}), secrets)


def test_a_destination_that_was_deleted_is_none(tables: None) -> None:
    assert SealedDestinations(dynamodb(), CONFIG).find(WORKSPACE, DESTINATION) is None


class Failing:
    """A service that fails every call."""

    def __init__(self, trouble: Exception) -> None:
        self._trouble = trouble

    def __getattr__(self, name: str) -> Any:
        def refuse(**_: Any) -> None:
            raise self._trouble

        return refuse


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}, "Query"),
        EndpointConnectionError(endpoint_url="https://dynamodb"),
    ],
)
def test_a_store_that_does_not_answer_is_unavailable(trouble: Exception) -> None:
    service: Any = Failing(trouble)
    receipts = ReceiptTable(service, RECEIPTS, lambda: NOW, lambda: "id")
    calls = [
        lambda: RouteTable(service, CONFIG).read(WORKSPACE),
        lambda: SealedDestinations(service, CONFIG).find(WORKSPACE, DESTINATION),
        lambda: ProgressTable(service, PROGRESS, lambda: NOW).read(WORKSPACE, DESTINATION, "j"),
        lambda: ProgressTable(service, PROGRESS, lambda: NOW).write(WORKSPACE, DESTINATION, "j", Progress(0, 1, "x")),
        lambda: receipts.keep_fanout(WORKSPACE, DESTINATION, FanoutReceipt(AT, {"r": RecordReceipt(1, 0)})),
        lambda: receipts.keep_deliver(WORKSPACE, DESTINATION, deliver_receipt(AT, {"j": (0, [DELIVERED])})),
        lambda: receipts.keep_unreadable(DESTINATION, AT, "m", b"x"),
        lambda: list(receipts.read(WORKSPACE, DESTINATION)),
        lambda: ParkedRecords(service, "bucket").keep("r", b"x"),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()


@mock_aws
def test_a_record_that_nobody_can_read_is_kept_under_its_own_name() -> None:
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket="bucket")
    ParkedRecords(s3, "bucket").keep(f"{SHARD}-7", b"\xff odd")
    assert s3.get_object(Bucket="bucket", Key=f"unreadable/{SHARD}-7")["Body"].read() == b"\xff odd"
