"""The simulator's FIFO queue and a real SQS API keep one contract.

The API is that of the local cloud, started for these tests. Where it differs from AWS, AWS's documentation is the
judge, and the test says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import boto3
import pytest
from botocore.exceptions import ClientError

from penstock.adapters.queue_provision import QueueProvision
from penstock.local import cloud, processes
from penstock.local.home import ACCESS_KEY, REGION, Home
from penstock.local.ports import free_port
from tests.simulation.clock import Clock
from tests.simulation.fifo import ABSORBED, LATE, NEW, Fifo, NotInFlight, ReceiptExpired

VISIBILITY_S = 2


class Got(NamedTuple):
    body: str
    group: str
    receives: int
    receipt: str
    sent_at: float
    first_received_at: float


class Queue(Protocol):
    """A FIFO queue from both of its ends, whose messages come back after two seconds."""

    def send(self, name: str, group: str = "ada") -> None: ...

    def receive(self, most: int = 10) -> list[Got]: ...

    def delete(self, receipt: str) -> None: ...

    def change(self, receipt: str, seconds: int) -> None: ...

    def pass_time(self, seconds: float) -> None: ...


class Simulated:
    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.now = 1_000.0
        self.fifo = Fifo(self.clock, visibility_s=VISIBILITY_S)

    def send(self, name: str, group: str = "ada") -> None:
        self.fifo.take(group, name, f"body of {name}")

    def receive(self, most: int = 10) -> list[Got]:
        return [
            Got(each.body, each.group, each.receives, each.receipt, each.sent_at, each.first_received_at)
            for each in self.fifo.receive(most)
        ]

    def delete(self, receipt: str) -> None:
        self.fifo.delete(receipt)

    def change(self, receipt: str, seconds: int) -> None:
        self.fifo.change_visibility(receipt, seconds)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


class Local:
    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._url = QueueProvision(client, "test", "penstock-test-d-", VISIBILITY_S).create("ws_a", name)

    def send(self, name: str, group: str = "ada") -> None:
        self._client.send_message(
            QueueUrl=self._url, MessageBody=f"body of {name}", MessageGroupId=group, MessageDeduplicationId=name
        )

    def receive(self, most: int = 10) -> list[Got]:
        answer = self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=most, AttributeNames=["All"])
        return [_got(each, each["Attributes"]) for each in answer.get("Messages", [])]

    def delete(self, receipt: str) -> None:
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=receipt)

    def change(self, receipt: str, seconds: int) -> None:
        self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds)

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)


def _got(message: dict[str, Any], attributes: dict[str, str]) -> Got:
    return Got(
        message["Body"],
        attributes["MessageGroupId"],
        int(attributes["ApproximateReceiveCount"]),
        message["ReceiptHandle"],
        int(attributes["SentTimestamp"]) / 1000,
        int(attributes["ApproximateFirstReceiveTimestamp"]) / 1000,
    )


@pytest.fixture(scope="module")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = Home(Path(tmp_path_factory.mktemp("cloud")), cloud_port=free_port())
    running = cloud.start_cloud(home)
    try:
        cloud.wait_until_ready(home, running)
        client = boto3.client(
            "sqs",
            endpoint_url=home.cloud_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=ACCESS_KEY,
        )
        yield client
        client.close()
    finally:
        processes.end(running)


@pytest.fixture(params=["simulated", pytest.param("local", marks=pytest.mark.slow)])
def queue(request: pytest.FixtureRequest) -> Queue:
    if request.param == "simulated":
        return Simulated()
    return Local(request.getfixturevalue("sqs"), f"dst_{abs(hash(request.node.name)) % 10**12:012d}")


def names(got: list[Got]) -> list[str]:
    return [each.body.removeprefix("body of ") for each in got]


def test_a_group_comes_out_in_the_order_in_which_it_went_in_several_of_it_at_once(queue: Queue) -> None:
    for name in ("1", "2", "3"):
        queue.send(name)
    assert names(queue.receive(2)) == ["1", "2"]


def test_a_batch_holds_messages_of_several_groups_each_in_order(queue: Queue) -> None:
    for name, group in (("1", "ada"), ("2", "grace"), ("3", "ada"), ("4", "grace")):
        queue.send(name, group)
    got = queue.receive()
    assert [each.body[-1] for each in got if each.group == "ada"] == ["1", "3"]
    assert [each.body[-1] for each in got if each.group == "grace"] == ["2", "4"]


def test_a_group_is_locked_while_one_of_its_messages_is_in_flight_and_others_are_not(queue: Queue) -> None:
    queue.send("1")
    queue.send("2")
    (first,) = queue.receive(1)
    queue.send("3", "grace")
    assert names(queue.receive()) == ["3"]
    queue.delete(first.receipt)
    assert names(queue.receive()) == ["2"]


def test_a_group_stays_locked_until_the_last_of_its_messages_is_back(queue: Queue) -> None:
    queue.send("1")
    queue.send("2")
    first, _ = queue.receive()
    queue.change(first.receipt, 0)
    assert names(queue.receive()) == []
    queue.pass_time(VISIBILITY_S + 0.1)
    assert names(queue.receive()) == ["1", "2"]


def test_what_was_deleted_leaves_the_rest_of_its_group_locked(queue: Queue) -> None:
    for name in ("1", "2", "3"):
        queue.send(name)
    first, _ = queue.receive(2)
    queue.delete(first.receipt)
    assert names(queue.receive()) == []


def test_a_message_comes_back_after_its_time_out_before_those_behind_it_and_is_counted(queue: Queue) -> None:
    queue.send("1")
    queue.send("2")
    (first,) = queue.receive(1)
    queue.pass_time(VISIBILITY_S + 0.1)
    again, behind = queue.receive()
    assert (names([again, behind]), again.receives, behind.receives) == (["1", "2"], 2, 1)
    assert again.receipt != first.receipt
    assert again.sent_at == first.sent_at
    assert again.first_received_at == first.first_received_at


def test_each_message_has_a_visibility_of_its_own(queue: Queue) -> None:
    queue.send("1")
    queue.send("2", "grace")
    first, second = queue.receive()
    queue.change(first.receipt, 100)
    queue.change(second.receipt, 0)
    assert names(queue.receive()) == ["2"]
    queue.pass_time(VISIBILITY_S + 0.1)
    assert names(queue.receive()) == ["2"]


def test_a_message_sent_again_is_absorbed_in_its_group_even_when_it_was_deleted(queue: Queue) -> None:
    queue.send("1")
    queue.send("1")
    (first,) = queue.receive()
    queue.delete(first.receipt)
    queue.send("1")
    assert names(queue.receive()) == []
    queue.send("1", "grace")
    assert names(queue.receive()) == ["1"]


def test_a_receipt_of_an_earlier_receive_deletes_nothing(queue: Queue) -> None:
    queue.send("1")
    (first,) = queue.receive()
    queue.pass_time(VISIBILITY_S + 0.1)
    (again,) = queue.receive()
    with suppress(ReceiptExpired, ClientError):
        queue.delete(first.receipt)
    queue.change(again.receipt, 0)
    assert names(queue.receive()) == ["1"]


# What AWS documents and the local cloud does not do, or cannot be waited for.


def test_a_receipt_is_no_good_after_the_visibility_time_out() -> None:
    """AWS: "the receipt handle has expired". The local cloud takes the last one for ever."""
    queue = Simulated()
    queue.send("1")
    (got,) = queue.receive()
    queue.pass_time(VISIBILITY_S)
    with pytest.raises(ReceiptExpired):
        queue.delete(got.receipt)
    with pytest.raises(NotInFlight):
        queue.change(got.receipt, 5)
    assert names(queue.receive()) == ["1"]


def test_deleting_twice_is_no_error() -> None:
    """AWS answers 200 for what is deleted already. The local cloud refuses."""
    queue = Simulated()
    queue.send("1")
    (got,) = queue.receive()
    queue.delete(got.receipt)
    queue.delete(got.receipt)


def test_a_receive_takes_as_many_of_one_group_as_it_can() -> None:
    """AWS: "returns as many messages with the same message group ID as possible". The local cloud goes by age alone."""
    queue = Simulated()
    for name, group in (("1", "ada"), ("2", "grace"), ("3", "ada")):
        queue.send(name, group)
    assert names(queue.receive(2)) == ["1", "3"]


def test_deduplication_ends_after_five_minutes() -> None:
    queue = Simulated()
    assert queue.fifo.take("ada", "1", "body") == NEW
    queue.pass_time(299.0)
    assert queue.fifo.take("ada", "1", "body") == ABSORBED
    queue.pass_time(2.0)
    assert queue.fifo.take("ada", "1", "body") == LATE
    assert len(queue.receive()) == 2


def test_only_the_first_messages_are_looked_at() -> None:
    """AWS: "FIFO queues scan the first 120,000 messages to determine available message groups"."""
    queue = Simulated()
    queue.fifo.looked_at = 3
    for number in range(4):
        queue.send(str(number))
    queue.send("other", "grace")
    first, *_ = queue.receive(1)
    assert names(queue.receive()) == []
    queue.delete(first.receipt)
    queue.receive()
    assert names(queue.receive()) == []


def test_no_more_are_handed_out_than_may_be_in_flight() -> None:
    """AWS: at 120,000 in flight SQS returns no more, and no error."""
    queue = Simulated()
    queue.fifo.most_in_flight = 2
    for number in range(4):
        queue.send(str(number), f"user {number}")
    assert len(queue.receive()) == 2
    assert names(queue.receive()) == []


def test_what_was_kept_for_fourteen_days_is_gone() -> None:
    queue = Simulated()
    queue.send("1")
    queue.pass_time(14 * 86_400.0)
    queue.send("2")
    assert names(queue.receive()) == ["2"]
    assert queue.fifo.expired == 1
