"""The destinations' queues: the fake and moto keep one contract, where moto is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from penstock.adapters.destination_queue import DestinationQueues, queue_url_of
from penstock.adapters.queue_provision import QueueProvision
from penstock.errors import QueueGone, QueueUnavailable
from penstock.steps.deliver import Message as Received
from penstock.steps.fan_out import Message
from tests.builders_pipeline import DESTINATION, url_of
from tests.fakes_pipeline import Clock, Fifo, MemoryQueues

REGION = "us-east-1"


class Lane(Protocol):
    """A queue from both of its ends."""

    queues: Any
    url: str

    def receive(self) -> list[Received]: ...

    def delete(self, message: Received) -> None: ...


class MemoryLane:
    def __init__(self) -> None:
        self.queues, self.url = MemoryQueues(Clock()), url_of(DESTINATION)
        self._queue: Fifo = self.queues.make(self.url)

    def receive(self) -> list[Received]:
        return self._queue.receive()

    def delete(self, message: Received) -> None:
        self._queue.delete(message.receipt)


class MotoLane:
    def __init__(self) -> None:
        self._client = boto3.client("sqs", region_name=REGION)
        self.queues = DestinationQueues(self._client)
        self.url = QueueProvision(self._client, "test", "penstock-test-d-", 360).create("ws_a", DESTINATION)

    def receive(self) -> list[Received]:
        answer = self._client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, AttributeNames=["All"])
        return [
            Received(
                each["MessageId"],
                each["ReceiptHandle"],
                each["Attributes"]["MessageGroupId"],
                each["Body"],
                int(each["Attributes"]["ApproximateReceiveCount"]),
                int(each["Attributes"]["SentTimestamp"]) / 1000,
            )
            for each in answer.get("Messages", [])
        ]

    def delete(self, message: Received) -> None:
        self._client.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)


@pytest.fixture(params=["memory", "sqs"])
def lane(request: pytest.FixtureRequest) -> Iterator[Lane]:
    if request.param == "memory":
        yield MemoryLane()
        return
    with mock_aws():
        yield MotoLane()


def job(id_: str, group: str = "ada") -> Message:
    return Message(id_, group, f"body of {id_}")


def bodies(lane: Lane) -> list[str]:
    return [message.body for message in lane.receive()]


def test_jobs_come_out_in_the_order_in_which_they_went_in(lane: Lane) -> None:
    for id_ in ("1", "2", "3"):
        assert lane.queues.send(lane.url, [job(id_)]) == set()
    assert bodies(lane) == ["body of 1", "body of 2", "body of 3"]


def test_a_job_sent_again_is_absorbed(lane: Lane) -> None:
    for _ in range(3):
        lane.queues.send(lane.url, [job("1"), job("2", "grace")])
    assert sorted(bodies(lane)) == ["body of 1", "body of 2"]


def test_a_job_that_was_delivered_is_absorbed_too_which_moto_does_not_do() -> None:
    lane = MemoryLane()
    lane.queues.send(lane.url, [job("1")])
    lane.delete(lane.receive()[0])
    lane.queues.send(lane.url, [job("1")])
    assert bodies(lane) == []


def test_while_a_job_is_out_no_other_of_its_group_is_handed_out(lane: Lane) -> None:
    lane.queues.send(lane.url, [job("1")])
    (out,) = lane.receive()
    lane.queues.send(lane.url, [job("2"), job("3", "grace")])
    assert bodies(lane) == ["body of 3"]
    lane.delete(out)
    assert bodies(lane) == ["body of 2"]


def test_a_hidden_job_holds_back_its_group_and_shown_again_comes_first(lane: Lane) -> None:
    lane.queues.send(lane.url, [job("1")])
    lane.queues.send(lane.url, [job("2")])
    first, second = lane.receive()
    lane.queues.hide(lane.url, [(first.receipt, 100), (second.receipt, 100)])
    assert bodies(lane) == []
    lane.queues.hide(lane.url, [(first.receipt, 0), (second.receipt, 0)])
    again = lane.receive()
    assert [(each.body, each.receives) for each in again] == [("body of 1", 2), ("body of 2", 2)]


def test_jobs_wait_in_a_queue_whether_they_can_be_seen_or_not(lane: Lane) -> None:
    assert lane.queues.waiting(lane.url) == 0
    lane.queues.send(lane.url, [job("1"), job("2", "grace")])
    (first, _) = lane.receive()
    lane.queues.send(lane.url, [job("3")])
    assert lane.queues.waiting(lane.url) == 3
    lane.delete(first)
    assert lane.queues.waiting(lane.url) == 2


def test_a_queue_that_is_not_there_is_gone(lane: Lane) -> None:
    nowhere = url_of("dst_nowhere00000")
    with pytest.raises(QueueGone):
        lane.queues.waiting(nowhere)
    with pytest.raises(QueueGone):
        lane.queues.send(nowhere, [job("1")])
    with pytest.raises(QueueGone):
        lane.queues.hide(nowhere, [("receipt", 0)])


@mock_aws
def test_no_character_of_an_event_is_refused_by_sqs() -> None:
    lane = MotoLane()
    body = "\t\n\r \x7f\x80é\ud7ff\ue000\ufffd😀\U0010ffff"
    assert lane.queues.send(lane.url, [Message("1", "ada", body)]) == set()
    assert bodies(lane) == [body]


class Sqs:
    """SQS's answers where moto has none of its own."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self._answer = answer
        self.asked: list[dict[str, Any]] = []

    def send_message_batch(self, **given: Any) -> dict[str, Any]:
        self.asked.append(given)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    change_message_visibility_batch = get_queue_attributes = send_message_batch


def test_entries_that_were_not_taken_are_named() -> None:
    service = Sqs({"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "Code": "ServiceUnavailable"}]})
    assert DestinationQueues(service).send("url", [job("a"), job("b", "grace")]) == {"b"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "SendMessageBatch"),
        ReadTimeoutError(endpoint_url="https://sqs"),
    ],
)
def test_a_call_without_a_good_answer_is_unavailable(trouble: Exception) -> None:
    queues = DestinationQueues(Sqs(trouble))  # type: ignore[arg-type]
    with pytest.raises(QueueUnavailable):
        queues.send("url", [job("a")])
    with pytest.raises(QueueUnavailable):
        queues.hide("url", [("receipt", 1)])
    with pytest.raises(QueueUnavailable):
        queues.waiting("url")


def test_nothing_is_hidden_longer_than_sqs_allows() -> None:
    service = Sqs({})
    DestinationQueues(service).hide("url", [("receipt", 99_999)])  # type: ignore[arg-type]
    assert service.asked[0]["Entries"][0]["VisibilityTimeout"] == 43_200


def test_a_queue_url_follows_from_what_the_poller_names() -> None:
    arn = "arn:aws:sqs:eu-central-1:42:penstock-dev-d-dst_x.fifo"
    assert queue_url_of(arn, "http://127.0.0.1:4566") == "http://127.0.0.1:4566/42/penstock-dev-d-dst_x.fifo"
