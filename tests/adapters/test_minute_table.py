"""Counted minutes: the fake and DynamoDB keep one contract, and lie beside the receipts without being taken for any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from penstock.adapters.minute_table import BYTES_PER_ITEM, MOST_DIGESTS, MinuteTable
from penstock.adapters.receipts import ReceiptTable
from penstock.domain.books import Cause, FanoutReceipt, RecordReceipt
from penstock.domain.minutes import Figures, Minute, Total
from penstock.domain.named import DIGEST_BYTES
from penstock.errors import StoreChanged, StoreUnavailable
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_health import MemoryMinutes

NOW = 1_790_000_000.0
RECEIPTS = "penstock-test-receipts"
OF = (WORKSPACE, DESTINATION)
FIGURES = Figures(
    accepted=3,
    filtered=1,
    delivered=1,
    discarded={"http_400": -1},
    dead={"http_503": 1},
    retried=2,
    delays={0: 1, 17: 2},
    causes={"http_503": Cause(2, "m-1", 503, "later")},
)


def digests(count: int) -> bytes:
    return b"".join(number.to_bytes(DIGEST_BYTES, "big") for number in range(count))


ONE = Minute("2026-11-23T16:00", FIGURES, digests(3))
TWO = Minute("2026-11-23T16:01", Figures(accepted=1), digests(1))
FIRST = Total("2026-11-23T16:01", "2026-11-23T16:00", FIGURES, {"j": "2026-11-23T15:59:00.000Z"})
SECOND = Total("2026-11-23T16:02", "2026-11-23T16:00", FIGURES.plus(TWO.figures))


def dynamodb() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


def minute_table(client: Any = None) -> MinuteTable:
    return MinuteTable(client or dynamodb(), RECEIPTS, lambda: NOW)


@pytest.fixture
def tables() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


@pytest.fixture(params=["memory", "dynamodb"])
def minutes(request: pytest.FixtureRequest, tables: None) -> Any:
    return MemoryMinutes() if request.param == "memory" else minute_table()


def bare(minute: Minute) -> Minute:
    return Minute(minute.at, minute.figures)


def test_nothing_is_counted_at_first(minutes: Any) -> None:
    assert minutes.total(*OF) == Total()
    assert list(minutes.minutes(*OF, "0", ":")) == []


def test_minutes_and_their_total_are_read_as_they_were_put(minutes: Any) -> None:
    minutes.roll(*OF, Total(), FIRST, [ONE])
    minutes.roll(*OF, FIRST, SECOND, [TWO])
    assert minutes.total(*OF) == SECOND
    assert list(minutes.minutes(*OF, "0", ":")) == [bare(ONE), bare(TWO)]
    assert list(minutes.minutes(*OF, "0", ":", newest_first=True)) == [bare(TWO), bare(ONE)]
    assert list(minutes.minutes(*OF, ONE.at, TWO.at)) == [bare(ONE)]
    assert list(minutes.minutes(*OF, TWO.at, ":")) == [bare(TWO)]
    assert dict(minutes.digests(*OF, ONE.at, TWO.at, 9)) == {ONE.at: ONE.digests}


def test_of_what_was_named_the_last_is_read_and_no_more_than_asked_for(minutes: Any) -> None:
    minutes.roll(*OF, Total(), SECOND, [ONE, TWO])
    both = {ONE.at: ONE.digests, TWO.at: TWO.digests}
    assert dict(minutes.digests(*OF, "0", ":", 4)) == both
    assert dict(minutes.digests(*OF, "0", ":", 3)) == {TWO.at: TWO.digests}
    assert dict(minutes.digests(*OF, ONE.at, TWO.at, 1)) == {ONE.at: ONE.digests}


def test_who_counted_from_an_older_total_changes_nothing(minutes: Any) -> None:
    minutes.roll(*OF, Total(), SECOND, [ONE, TWO])
    for before in (Total(), FIRST):
        with pytest.raises(StoreChanged):
            minutes.roll(*OF, before, FIRST, [Minute(ONE.at, Figures(accepted=9))])
    assert minutes.total(*OF) == SECOND
    assert next(iter(minutes.minutes(*OF, "0", ":"))) == bare(ONE)


def test_no_destination_reads_anothers_minutes(minutes: Any) -> None:
    minutes.roll(*OF, Total(), FIRST, [ONE])
    for other in (("ws_bbbbbbbbbbbb", DESTINATION), (WORKSPACE, "dst_bbbbbbbbbbbb")):
        assert minutes.total(*other) == Total()
        assert list(minutes.minutes(*other, "0", ":")) == []
        assert dict(minutes.digests(*other, ONE.at, TWO.at, 9)) == {}


def test_receipts_and_minutes_do_not_take_each_other_for_their_own(tables: None) -> None:
    receipts = ReceiptTable(dynamodb(), RECEIPTS, lambda: NOW, lambda: "id")
    receipt = FanoutReceipt("2026-11-23T16:00:00.000Z", {"r": RecordReceipt(1, 0)})
    receipts.keep_fanout(*OF, receipt)
    minute_table().roll(*OF, Total(), FIRST, [ONE])
    assert list(receipts.read(*OF)) == [receipt]
    assert list(receipts.read(*OF, "2026-11-23T16:00", "2026-11-23T16:01")) == [receipt]
    assert list(receipts.read(*OF, "2026-11-23T16:01")) == []
    assert list(minute_table().minutes(*OF, "0", ":")) == [bare(ONE)]


def test_the_fullest_minute_goes_into_one_transaction(tables: None) -> None:
    full = Minute(ONE.at, FIGURES, digests(MOST_DIGESTS + 5))
    assert not minute_table().fits([full, full])
    minute_table().roll(*OF, Total(), FIRST, [full])
    kept = minute_table().digests(*OF, ONE.at, TWO.at, 2 * MOST_DIGESTS)[ONE.at]
    assert kept == digests(MOST_DIGESTS)
    assert len(kept) > BYTES_PER_ITEM


def test_so_many_quiet_minutes_fit_at_once_and_no_more() -> None:
    quiet = [Minute(ONE.at, Figures(accepted=1), digests(1))] * 60
    table = minute_table(client=object())
    assert table.fits(quiet[:49]) and not table.fits(quiet)


def test_minutes_expire_with_the_receipts_and_the_total_does_not(tables: None) -> None:
    minute_table().roll(*OF, Total(), FIRST, [ONE])
    items = {item["sk"]["S"]: item for item in dynamodb().scan(TableName=RECEIPTS)["Items"]}
    assert "expires_at" not in items["total"]
    assert int(items[f"minute#{ONE.at}"]["expires_at"]["N"]) > NOW + 14 * 86_400


class Failing:
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
        ClientError({"Error": {"Code": "TransactionCanceledException", "Message": ""}}, "TransactWriteItems"),
        EndpointConnectionError(endpoint_url="https://dynamodb"),
    ],
)
def test_a_store_that_does_not_answer_is_unavailable_and_not_changed(trouble: Exception) -> None:
    table = minute_table(Failing(trouble))
    calls = [
        lambda: table.total(*OF),
        lambda: list(table.minutes(*OF, "0", ":")),
        lambda: table.digests(*OF, "0", ":", 1),
        lambda: table.roll(*OF, Total(), FIRST, [ONE]),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert type(caught.value) is StoreUnavailable
