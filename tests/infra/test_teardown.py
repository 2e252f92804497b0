"""The guard of a destroy: it lets CloudFormation go on only when nothing made at run time is left."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from moto import mock_aws

from functions.teardown.handler import handler
from infra.account import MakeClient
from tests.infra.moto_stage import DEV, destination, function, moto_clients, queue

BUCKET, LETTERS = "penstock-dev-failures", "penstock-dev-letters"


class CloudFormation:
    """Asks the guard, and hears what it answers at the URL that it was given."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        answers = self.answers

        class Answers(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def asks(self, kind: str, **overrides: Any) -> dict[str, Any]:
        event = {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{self.server.server_port}/answer?signed=yes",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "NothingLeft",
            "PhysicalResourceId": "penstock-teardown",
            "ResourceProperties": {"Buckets": [BUCKET, LETTERS], "QueuePrefix": DEV.queue_prefix},
            **overrides,
        }
        handler(event, None)
        (answer,) = self.answers
        return answer


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    made = CloudFormation()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def client() -> Iterator[MakeClient]:
    with mock_aws():
        client = moto_clients()
        for name in (BUCKET, LETTERS):
            client("s3").create_bucket(Bucket=name)
        yield client


def objects(client: MakeClient) -> list[str]:
    found = client("s3").list_object_versions(Bucket=BUCKET)
    return [each["Key"] for each in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]]


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_deploy_is_let_through_and_empties_nothing(
    kind: str, client: MakeClient, cloudformation: CloudFormation
) -> None:
    client("s3").put_object(Bucket=BUCKET, Key="parked", Body=b"{}")
    queue(client, f"{DEV.queue_prefix}dst_1")
    assert cloudformation.asks(kind)["Status"] == "SUCCESS"
    assert objects(client) == ["parked"]


def test_a_destroy_empties_the_bucket_versions_and_delete_markers_included(
    client: MakeClient, cloudformation: CloudFormation
) -> None:
    s3 = client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3.put_object(Bucket=BUCKET, Key=f"parked-{number}", Body=b"{}")
    s3.put_object(Bucket=BUCKET, Key="parked-0", Body=b"[]")
    s3.delete_object(Bucket=BUCKET, Key="parked-1")
    s3.put_object(Bucket=LETTERS, Key="r30/letter", Body=b"{}")
    assert cloudformation.asks("Delete")["Status"] == "SUCCESS"
    assert objects(client) == []
    assert "Contents" not in s3.list_objects_v2(Bucket=LETTERS)


def test_a_destroy_is_refused_while_queues_and_mappings_are_left(
    client: MakeClient, cloudformation: CloudFormation
) -> None:
    client("s3").put_object(Bucket=BUCKET, Key="parked", Body=b"{}")
    _, mapping = destination(client, DEV, "dst_1", function(client, "penstock-dev-deliver"))
    answer = cloudformation.asks("Delete")
    assert answer["Status"] == "FAILED"
    for told in ("penstock-dev-d-dst_1.fifo", mapping, "make destroy"):
        assert told in answer["Reason"]
    assert objects(client) == ["parked"]


def test_a_mapping_alone_is_reason_enough(client: MakeClient, cloudformation: CloudFormation) -> None:
    url, mapping = destination(client, DEV, "dst_1", function(client, "penstock-dev-deliver"))
    client("sqs").delete_queue(QueueUrl=url)
    answer = cloudformation.asks("Delete")
    assert answer["Status"] == "FAILED"
    assert mapping in answer["Reason"]


def test_another_stage_is_no_reason(client: MakeClient, cloudformation: CloudFormation) -> None:
    queue(client, "penstock-dev2-d-dst_1")
    assert cloudformation.asks("Delete")["Status"] == "SUCCESS"


def test_cloudformation_is_answered_even_when_the_guard_itself_fails(
    client: MakeClient, cloudformation: CloudFormation
) -> None:
    nowhere = {"Buckets": ["penstock-dev-nowhere"], "QueuePrefix": DEV.queue_prefix}
    answer = cloudformation.asks("Delete", ResourceProperties=nowhere)
    assert answer["Status"] == "FAILED"
    assert "NoSuchBucket" in answer["Reason"]


def test_the_answer_names_what_was_asked(client: MakeClient, cloudformation: CloudFormation) -> None:
    answer = cloudformation.asks("Update", StackId="this-stack", RequestId="this-request", PhysicalResourceId="this")
    assert (answer["StackId"], answer["RequestId"]) == ("this-stack", "this-request")
    assert (answer["PhysicalResourceId"], answer["LogicalResourceId"]) == ("this", "NothingLeft")
