"""From the stream to a tool through the real handlers and their wiring, on moto, with events as Lambda sends them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from functions.deliver.handler import handler as deliver
from functions.fanout.handler import ReplayBatch
from functions.fanout.handler import handler as fan_out
from penstock.adapters.receipts import ReceiptTable
from penstock.domain.books import Books, add_up
from penstock.domain.run import Run, encode_run
from penstock.wiring import deliver as deliver_wiring
from penstock.wiring import fanout as fanout_wiring
from tests.builders_pipeline import SHARD, event, run_of
from tests.control_api import REGION, Json, Tenant, control_cloud, tenant
from tests.moto_server import moto_cloud

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/penstock-test-events"
ENVIRONMENT = {
    "AWS_REGION": REGION,
    "PENSTOCK_STREAM_ARN": STREAM,
    "PENSTOCK_BULK_STREAM_ARN": STREAM.replace("-events", "-bulk"),
    "PENSTOCK_RECEIPTS_TABLE": "penstock-test-receipts",
    "PENSTOCK_PROGRESS_TABLE": "penstock-test-progress",
    "PENSTOCK_DEDUP_TABLE": "penstock-test-dedup",
    "PENSTOCK_FAILURE_BUCKET": "penstock-test-failures",
    "PENSTOCK_ALLOW_LOOPBACK": "true",
    "PENSTOCK_CACHE_FRESH_S": "0",
    "PENSTOCK_CACHE_STALE_S": "0",
}


class Tool:
    """A webhook on loopback that answers as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[tuple[dict[str, str], bytes]] = []
        tool = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                tool.received.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(tool.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def numbers(self) -> list[int]:
        return [json.loads(body)["properties"]["n"] for _, body in self.received]


class Context:
    """What Lambda hands to a handler beside the event."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


def forget_wiring() -> None:
    for wiring in (fanout_wiring, deliver_wiring):
        wiring.given.cache_clear()
        wiring.ports.cache_clear()


@dataclass
class Cloud:
    """A workspace with a source and a webhook, made by the control API."""

    tool: Tool
    tenant: Tenant
    source: str
    destination: str
    sqs: Any = field(default_factory=lambda: boto3.client("sqs", region_name=REGION))

    @property
    def queue_url(self) -> str:
        url: str = self.sqs.get_queue_url(QueueName=f"penstock-test-d-{self.destination}.fifo")["QueueUrl"]
        return url

    def run(self, *numbers: int, key: str = "ada") -> Run:
        return run_of(*[event(n, userId=key) for n in numbers], workspace=self.tenant.id, source=self.source, key=key)

    def received(self) -> list[Json]:
        """The queue's messages as the poller hands them over."""
        answer = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, AttributeNames=["All"])
        return [sqs_record(message, self.queue_url) for message in answer.get("Messages", [])]

    def deliver(self, records: list[Json], seconds: float = 60.0) -> list[str]:
        """The messages that are handed out again; the others are deleted, as the poller does."""
        answer = deliver({"Records": records}, Context(seconds))
        failed = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
        for record in records:
            if record["messageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=record["receiptHandle"])
        return failed

    @property
    def books(self) -> Books:
        table = ReceiptTable(boto3.client("dynamodb", region_name=REGION), "penstock-test-receipts", float, str)
        return add_up(table.read(self.tenant.id, self.destination))


def kinesis_event(*runs: Run | bytes, first: int = 1) -> Json:
    return {"Records": [kinesis_record(run, number) for number, run in enumerate(runs, first)]}


def kinesis_record(run: Run | bytes, number: int) -> Json:
    data = run if isinstance(run, bytes) else encode_run(run)
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "5c6ffbdd40d9556b73a21e63c3e0e904",
            "sequenceNumber": f"{number:056d}",
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": 1795449600.123,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{SHARD}:{number:056d}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/fanout",
        "awsRegion": REGION,
        "eventSourceARN": STREAM,
    }


def sqs_record(message: Json, queue_url: str) -> Json:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:{queue_url.rpartition('/')[2]}",
        "awsRegion": REGION,
    }


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_of_its_own() as made:
        yield made


@contextmanager
def cloud_of_its_own() -> Iterator[Cloud]:
    tool = Tool()
    with control_cloud() as client, moto_cloud() as served:  # for what speaks to DynamoDB without botocore
        os.environ.update(ENVIRONMENT | {"AWS_ENDPOINT_URL_DYNAMODB": served.url})
        client("s3").create_bucket(Bucket=ENVIRONMENT["PENSTOCK_FAILURE_BUCKET"])
        forget_wiring()
        owner = tenant()
        source = owner.source()["id"]
        settings = {"url": tool.url, "headers": {"Authorization": "Bearer x"}, "secret": "s3cret"}
        made = owner.destination(source_ids=[source], settings=settings)
        stop_polling(client("lambda"))
        try:
            yield Cloud(tool, owner, source, made["id"])
        finally:
            forget_wiring()
            tool.close()


def stop_polling(lambdas: Any) -> None:
    """Moto would answer for the poller, with Docker; here the tests do."""
    for mapping in lambdas.list_event_source_mappings()["EventSourceMappings"]:
        lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


def test_an_event_goes_from_the_stream_to_the_tool(cloud: Cloud) -> None:
    assert fan_out(kinesis_event(cloud.run(1, 2), cloud.run(3, key="grace")), Context()) == {"batchItemFailures": []}
    assert cloud.deliver(cloud.received()) == []
    assert sorted(cloud.tool.numbers) == [1, 2, 3]
    headers, body = cloud.tool.received[0]
    assert headers["X-Signature"] == hmac.new(b"s3cret", body, hashlib.sha1).hexdigest()
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer x", "application/json")
    assert headers["Idempotency-Key"].startswith(f"{cloud.source}:m-")
    assert cloud.books == Books(accepted=3, delivered=3)
    assert cloud.received() == []


def test_a_failing_tool_gets_its_events_again_in_order_and_none_twice(cloud: Cloud) -> None:
    fan_out(kinesis_event(cloud.run(1, 2), cloud.run(3)), Context())
    records = cloud.received()
    cloud.tool.status = 503
    assert cloud.deliver(records) == [record["messageId"] for record in records]
    assert cloud.tool.numbers == [1]
    cloud.tool.status = 200
    for record in records:
        record["attributes"] = record["attributes"] | {"ApproximateReceiveCount": "2"}
    assert cloud.deliver(records) == []
    assert cloud.tool.numbers == [1, 1, 2, 3]
    assert cloud.books == Books(accepted=3, delivered=3)


def test_a_job_that_sqs_will_forget_soon_is_kept_untried(cloud: Cloud) -> None:
    fan_out(kinesis_event(cloud.run(1, 2)), Context())
    (record,) = cloud.received()
    record["attributes"] |= {"SentTimestamp": str(int(record["attributes"]["SentTimestamp"]) - 1000 * 1_188_000)}
    assert cloud.deliver([record]) == []
    assert (cloud.tool.numbers, cloud.books) == ([], Books(accepted=2, dead={"too_old": 2}))


def test_without_time_left_everything_comes_back_at_once(cloud: Cloud) -> None:
    fan_out(kinesis_event(cloud.run(1)), Context())
    assert len(cloud.deliver(cloud.received(), seconds=12.0)) == 1
    assert cloud.tool.numbers == []
    again = cloud.received()
    assert again[0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert cloud.deliver(again) == []
    assert cloud.tool.numbers == [1]


def test_a_replayed_record_is_absorbed(cloud: Cloud) -> None:
    for _ in range(3):
        fan_out(kinesis_event(cloud.run(1, 2)), Context())
    cloud.deliver(cloud.received())
    assert cloud.received() == []
    assert cloud.tool.numbers == [1, 2]
    assert cloud.books == Books(accepted=2, delivered=2)


def test_what_a_client_sends_again_the_next_day_is_left_out_and_counted(cloud: Cloud) -> None:
    fan_out(kinesis_event(cloud.run(1), cloud.run(1, key="grace")), Context())
    again = kinesis_event(cloud.run(1, 2), first=3)
    again["Records"][0]["kinesis"]["approximateArrivalTimestamp"] += 9 * 3600
    for _ in range(2):
        assert fan_out(again, Context()) == {"batchItemFailures": []}
    bodies = [json.loads(record["body"])["run"] for record in cloud.received()]
    sent = [(body["key"], each["properties"]["n"]) for body in bodies for each in body["events"]]
    assert sorted(sent) == [("ada", 1), ("ada", 2), ("grace", 1)]
    assert cloud.books == Books(accepted=3, duplicates=1)


def test_a_deleted_destination_takes_nothing_more_and_stops_nobody(cloud: Cloud) -> None:
    fan_out(kinesis_event(cloud.run(1)), Context())
    records = cloud.received()
    path = f"/control/destinations/{cloud.destination}"
    assert cloud.tenant.call("DELETE", path).status == 204
    assert cloud.deliver(records) == [records[0]["messageId"]]
    assert fan_out(kinesis_event(cloud.run(2), first=2), Context()) == {"batchItemFailures": []}
    assert cloud.tool.numbers == []
    assert cloud.books == Books(accepted=1)


def test_a_queue_that_vanished_before_its_destination_did_stops_nobody(cloud: Cloud) -> None:
    other = cloud.tenant.destination(name="Other", source_ids=[cloud.source], settings={"url": cloud.tool.url})
    stop_polling(boto3.client("lambda", region_name=REGION))
    cloud.sqs.delete_queue(QueueUrl=cloud.queue_url)
    assert fan_out(kinesis_event(cloud.run(1)), Context()) == {"batchItemFailures": []}
    cloud.destination = other["id"]
    assert len(cloud.received()) == 1


def test_a_record_that_nobody_can_read_is_parked_in_the_bucket(cloud: Cloud) -> None:
    assert fan_out(kinesis_event(b"\xff odd", cloud.run(1)), Context()) == {"batchItemFailures": []}
    s3 = boto3.client("s3", region_name=REGION)
    key = f"unreadable/{SHARD}-{1:056d}"
    assert s3.get_object(Bucket=ENVIRONMENT["PENSTOCK_FAILURE_BUCKET"], Key=key)["Body"].read() == b"\xff odd"
    assert len(cloud.received()) == 1


def test_a_job_that_nobody_can_read_is_kept_aside_and_the_next_is_sent(cloud: Cloud) -> None:
    cloud.sqs.send_message(
        QueueUrl=cloud.queue_url, MessageBody="odd", MessageGroupId="g", MessageDeduplicationId="odd"
    )
    fan_out(kinesis_event(cloud.run(1)), Context())
    assert cloud.deliver(cloud.received()) == []
    assert cloud.tool.numbers == [1]
    items = boto3.client("dynamodb", region_name=REGION).scan(TableName="penstock-test-receipts")["Items"]
    assert [item["body"]["B"] for item in items if "body" in item] == [b"odd"]


@contextmanager
def sqs_down() -> Iterator[None]:
    """A while in which SQS answers nothing but 503."""
    down = Tool()
    down.status = 503
    os.environ["AWS_ENDPOINT_URL_SQS"] = down.url.removesuffix("/hook")
    forget_wiring()
    try:
        yield
    finally:
        del os.environ["AWS_ENDPOINT_URL_SQS"]
        forget_wiring()
        down.close()


def sent_nowhere(cloud: Cloud, number: int) -> Run:
    """A run whose event asks for no destination."""
    nowhere = event(number, integrations={"All": False})
    return run_of(nowhere, workspace=cloud.tenant.id, source=cloud.source, key="edsger")


def test_the_first_record_that_failed_is_the_one_to_replay_from(cloud: Cloud) -> None:
    event_ = kinesis_event(sent_nowhere(cloud, 1), cloud.run(2), sent_nowhere(cloud, 3), cloud.run(4, key="grace"))
    with sqs_down():
        assert fan_out(event_, Context()) == {"batchItemFailures": [{"itemIdentifier": f"{2:056d}"}]}
    assert cloud.books == Books(accepted=2, filtered=2)
    assert fan_out({"Records": event_["Records"][1:]}, Context()) == {"batchItemFailures": []}
    cloud.deliver(cloud.received())
    assert cloud.books == Books(accepted=4, filtered=2, delivered=2)


def test_where_the_poller_takes_no_partial_answer_the_whole_batch_is_replayed(cloud: Cloud) -> None:
    os.environ["PENSTOCK_STREAM_PARTIAL_FAILURES"] = "false"
    event_ = kinesis_event(cloud.run(1), cloud.run(2, key="grace"))
    with sqs_down(), pytest.raises(ReplayBatch):
        fan_out(event_, Context())
    assert fan_out(event_, Context()) == {"batchItemFailures": []}
    cloud.deliver(cloud.received())
    assert sorted(cloud.tool.numbers) == [1, 2]


def test_logs_carry_ids_and_verdicts_and_nothing_of_the_events(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    secret = run_of(
        event(1, properties={"n": 1, "card": "4111-1111"}, traits={"email": "ada@example.com"}),
        workspace=cloud.tenant.id,
        source=cloud.source,
        key="ada-the-key",
    )
    cloud.tool.status = 422
    fan_out(kinesis_event(secret), Context())
    cloud.deliver(cloud.received())
    logged = "".join(str(vars(record)) for record in caplog.records if record.name in ("fanout", "deliver"))
    assert "http_422" in logged
    assert cloud.destination in logged
    for private in ("4111-1111", "ada@example.com", "ada-the-key", "s3cret", "Bearer x"):
        assert private not in logged
