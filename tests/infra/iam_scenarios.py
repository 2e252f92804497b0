"""Every function does all that it ever does, against a moto server, in a process of its own.

`python -m tests.infra.iam_scenarios TEMPLATES.json` prints what was called and how moto named what it chose itself.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)

import boto3
from moto.server import ThreadedMotoServer

from penstock import tables
from tests.infra import iam_bulk, iam_deletion, iam_gates, iam_insight, iam_letters, iam_overflow, iam_schema
from tests.infra.iam_calls import ACCOUNT, REGION, CallRecorder
from tests.infra.iam_policy import Rights

OPERATOR_TOKEN = "o" * 48
CODE = {"fanout_bulk": "fanout", "deliver_slow": "deliver"}  # whose code a function runs that has none of its own
Json = dict[str, Any]


class Context:
    """What Lambda hands to a handler beside the event."""

    function_name = "function"
    memory_limit_in_mb = 512
    aws_request_id = "00000000-0000-4000-8000-000000000000"
    invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Tool:
    """A destination on loopback whose answers the test sets."""

    def __init__(self) -> None:
        self.status = 200
        tool = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(tool.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"


class Listener:
    """Takes the answer that a custom resource sends, as CloudFormation would."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/answer"


class Wiretap:
    """Stands between our own client, which no botocore hook hears, and moto's server; notes what passes."""

    def __init__(self, recorder: CallRecorder, server: str) -> None:
        tap = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service = "kinesis" if self.headers["X-Amz-Target"].startswith("Kinesis") else "dynamodb"
                recorder.note(service, self.headers["X-Amz-Target"].rpartition(".")[2], json.loads(body))
                with tap.forwarded(body, dict(self.headers)) as reply:
                    status, answer = reply.status, reply.read()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._target = server
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def forwarded(self, body: bytes, headers: dict[str, str]) -> Any:
        try:
            return urllib.request.urlopen(urllib.request.Request(self._target, body, headers), timeout=30)
        except urllib.error.HTTPError as refusal:
            return refusal  # a condition that does not hold, and what else is an answer


def http_event(method: str, path: str, route: str, body: Any = None, token: str | None = None, **query: str) -> Json:
    """A payload-2.0 event as API Gateway's HTTP API sends it; `route` is the path with its `{parameters}`."""
    headers = {"content-type": "application/json"} | ({"authorization": token} if token else {})
    names = [part[1:-1] for part in route.split("/") if part.startswith("{")]
    values = [have for have, want in zip(path.split("/"), route.split("/"), strict=True) if want.startswith("{")]
    return {
        "version": "2.0",
        "routeKey": f"{method} {route}",
        "rawPath": path,
        "rawQueryString": "&".join(f"{name}={value}" for name, value in query.items()),
        "headers": headers,
        "queryStringParameters": query or None,
        "pathParameters": dict(zip(names, values, strict=True)),
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "203.0.113.9", "userAgent": "test"},
            "stage": "$default",
            "requestId": "request-1",
            "domainName": "api.example.com",
        },
        "body": json.dumps(body) if body is not None else None,
        "isBase64Encoded": False,
    }


class Cloud:
    """What the deploy would have made, in moto, under the names of the templates."""

    def __init__(self, templates: Mapping[str, Any]) -> None:
        self.physical: dict[str, str] = {}
        self.rights = Rights(templates, self.physical)
        boto3.setup_default_session(region_name=REGION)
        self._make_tables()
        self._make_stream()
        self._make_secrets()
        self._make_deliver()
        self._make_queues()
        self.places_stream, self.changes_stream = (
            f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/penstock-dev-{name}/stream/2026-11-23T16:00:00.000"
            for name in ("places", "changes")
        )
        self.bucket = self.environment_of("fanout")["PENSTOCK_FAILURE_BUCKET"]
        self.letter_bucket = self.environment_of("deliver")["PENSTOCK_LETTER_BUCKET"]
        for name in (self.bucket, self.letter_bucket):
            boto3.client("s3").create_bucket(Bucket=name)
        boto3.client("events").create_event_bus(Name=self.environment_of("schema_changes")["PENSTOCK_EVENT_BUS"])

    def environment_of(self, function: str) -> dict[str, str]:
        return self.rights.environment_of(function)

    def _make_tables(self) -> None:
        for table in tables.ALL:
            keys = [(table.partition_key, "HASH"), (table.sort_key, "RANGE")]
            indexed = [(table.index.partition_key, "HASH"), (table.index.sort_key, "RANGE")] if table.index else []
            boto3.client("dynamodb").create_table(
                TableName=f"penstock-dev-{table.name}",
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in dict(keys + indexed)],
                KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
                **({"GlobalSecondaryIndexes": [index_of(table)]} if table.index else {}),
            )

    def _make_stream(self) -> None:
        environment = self.environment_of("collect")
        self.stream_arn = environment["PENSTOCK_STREAM_ARN"]
        for arn in (self.stream_arn, environment["PENSTOCK_BULK_STREAM_ARN"]):
            boto3.client("kinesis").create_stream(StreamName=arn.rsplit("/", 1)[-1], ShardCount=1)

    def _make_secrets(self) -> None:
        key = boto3.client("kms").create_key()["KeyMetadata"]
        self.physical["AWS::KMS::Key"] = key["Arn"]
        secret = boto3.client("secretsmanager").create_secret(Name="operator", SecretString=OPERATOR_TOKEN)
        self.physical["AWS::SecretsManager::Secret"] = secret["ARN"]

    def _make_deliver(self) -> None:
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        role = boto3.client("iam").create_role(RoleName="deliver", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as code:
            code.writestr("handler.py", "def handler(event, context): return None\n")
        environment = self.environment_of("gatekeeper")
        for name in ("PENSTOCK_DELIVER_FUNCTION_ARN", "PENSTOCK_DELIVER_SLOW_FUNCTION_ARN"):
            boto3.client("lambda").create_function(
                FunctionName=environment[name].rsplit(":", 1)[-1],
                Runtime="python3.13",
                Role=role,
                Handler="handler.handler",
                Code={"ZipFile": archive.getvalue()},
            )

    def _make_queues(self) -> None:
        environment = self.environment_of("control")
        for name in ("PENSTOCK_CHORES_QUEUE_ARN", "PENSTOCK_REPLAYS_QUEUE_ARN"):
            boto3.client("sqs").create_queue(QueueName=environment[name].rsplit(":", 1)[-1])


def index_of(table: tables.Table) -> Json:
    assert table.index is not None
    keys = [(table.index.partition_key, "HASH"), (table.index.sort_key, "RANGE")]
    return {
        "IndexName": table.index.name,
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(table.index.carries)},
    }


class Functions:
    """Calls handlers as Lambda does, each with the environment that the template gives it."""

    def __init__(self, cloud: Cloud, recorder: CallRecorder) -> None:
        self._cloud = cloud
        self._recorder = recorder

    def call(self, function: str, event: Json, **environment: str) -> Any:
        for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
            del os.environ[name]
        os.environ.update(self._cloud.environment_of(function) | environment)
        code = CODE.get(function, function)
        handler: Callable[[Json, Any], Any] = importlib.import_module(f"functions.{code}.handler").handler
        self._recorder.during(function)
        try:
            return handler(event, Context())
        finally:
            self._recorder.during(None)

    def control(self, method: str, route: str, token: str, body: Any = None, **ids: str) -> Json:
        """One control call that must succeed; `ids` fill the route's parameters, the rest is the query."""
        path = route
        for name, value in ids.items():
            path = path.replace("{" + name + "}", value)
        query = {name: value for name, value in ids.items() if "{" + name + "}" not in route}
        event = http_event(method, path, route, body, f"Bearer {token}", **query)
        answer = self.call("control", event, PENSTOCK_ALLOW_LOOPBACK="true")
        assert answer["statusCode"] < 300, (method, path, answer)
        return json.loads(answer["body"]) if answer.get("body") else {}


def customer(functions: Functions, tool: Tool) -> Json:
    """A workspace with a source and two destinations, through every call of the control API but the deletions."""
    control = functions.control
    workspace = control("POST", "/control/workspaces", OPERATOR_TOKEN, {"name": "Acme"})
    control("GET", "/control/workspaces", OPERATOR_TOKEN)
    control("GET", "/control/workspaces/{workspace_id}", OPERATOR_TOKEN, workspace_id=workspace["id"])
    token = workspace["token"]["token"]
    source = control("POST", "/control/sources", token, {"name": "Web"})
    settings = {"url": tool.url, "headers": {"Authorization": "Bearer x"}, "secret": "s"}
    made = {"name": "Hook", "type": "webhook", "source_ids": [source["id"]], "settings": settings}
    destination = control("POST", "/control/destinations", token, made)
    doomed = control("POST", "/control/destinations", token, made | {"name": "Other"})
    return {"token": token, "source": source, "destination": destination, "doomed": doomed}


def changes(functions: Functions, made: Json, tool: Tool) -> None:
    control, token, source_id = functions.control, made["token"], made["source"]["id"]
    control("GET", "/control/sources", token, limit="1")
    control("GET", "/control/sources/{source_id}", token, source_id=source_id)
    control("PATCH", "/control/sources/{source_id}", token, {"name": "Site"}, source_id=source_id)
    control("PATCH", "/control/sources/{source_id}", token, {"enabled": True}, source_id=source_id)
    key = control("POST", "/control/sources/{source_id}/write-keys", token, source_id=source_id)["key"]
    route = "/control/sources/{source_id}/write-keys/{key}"
    control("PATCH", route, token, {"enabled": False}, source_id=source_id, key=key)
    rotated = control("POST", route + "/rotate", token, source_id=source_id, key=key)
    control("DELETE", route, token, source_id=source_id, key=rotated["key"])
    destination_id = made["destination"]["id"]
    control("GET", "/control/destinations", token)
    control("GET", "/control/destinations/{destination_id}", token, destination_id=destination_id)
    for change in ({"name": "Hook 2"}, {"settings": {"url": tool.url, "headers": {}, "secret": "t"}}):
        control("PATCH", "/control/destinations/{destination_id}", token, change, destination_id=destination_id)
    extra = control("POST", "/control/tokens", token, {"name": "ci", "scopes": ["sources:read"]})
    control("GET", "/control/tokens", token)
    control("GET", "/control/tokens/{token_id}", token, token_id=extra["id"])
    control("DELETE", "/control/tokens/{token_id}", token, token_id=extra["id"])
    control("GET", "/control/audit", token)


def collected(functions: Functions, write_key: str, tap: Wiretap) -> list[Json]:
    """Two events of two users through the tracking API; the stream's records as Lambda gets them."""
    batch = {
        "batch": [
            {"type": "track", "event": "Signed Up", "userId": user, "messageId": f"m-{user}", "properties": {}}
            for user in ("ada", "grace")
        ],
        "writeKey": write_key,
    }
    tapped = {"AWS_ENDPOINT_URL_KINESIS": tap.url, "AWS_ENDPOINT_URL_DYNAMODB": tap.url}
    answer = functions.call("collect", http_event("POST", "/v1/batch", "/v1/batch", batch), **tapped)
    functions.call("collect", http_event("POST", "/v1/import", "/v1/import", batch), **tapped)
    for name in tapped:
        del os.environ[name]
    assert answer["statusCode"] == 200, answer
    kinesis = boto3.client("kinesis")
    arn = os.environ["PENSTOCK_STREAM_ARN"]
    shard = kinesis.list_shards(StreamARN=arn)["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(StreamARN=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": base64.b64encode(record["Data"]).decode(),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "awsRegion": REGION,
            "eventSourceARN": arn,
        }
        for record in kinesis.get_records(StreamARN=arn, ShardIterator=iterator["ShardIterator"])["Records"]
    ]


def received(queue_url: str) -> list[Json]:
    """The queue's messages as the poller hands them to a Lambda for the second time."""
    answer = boto3.client("sqs").receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, AttributeNames=["All"])
    name = queue_url.rsplit("/", 1)[-1]
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"] | {"ApproximateReceiveCount": "2"},
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
            "awsRegion": REGION,
        }
        for message in answer["Messages"]
    ]


def delivered(functions: Functions, destination_id: str, tool: Tool) -> None:
    """One failure, so that progress is noted and visibility changed; then success."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=f"penstock-dev-d-{destination_id}.fifo")["QueueUrl"]
    records = received(url)
    assert len(records) == 2, records
    for tool.status in (503, 200):
        answer = functions.call("deliver", {"Records": records}, PENSTOCK_ALLOW_LOOPBACK="true")
        assert bool(answer["batchItemFailures"]) is (tool.status == 503), answer


def deletions(functions: Functions, made: Json) -> None:
    for destination in functions.control("GET", "/control/destinations", made["token"], limit="100")["destinations"]:
        route = "/control/destinations/{destination_id}"
        functions.control("DELETE", route, made["token"], destination_id=destination["id"])
    functions.control("DELETE", "/control/sources/{source_id}", made["token"], source_id=made["source"]["id"])
    sqs = boto3.client("sqs")
    for url in sqs.list_queues(QueueNamePrefix="penstock-dev-d-").get("QueueUrls", []):
        sqs.delete_queue(QueueUrl=url)  # as a destroy sweeps what is not buried yet


def unreadable(record: Json) -> Json:
    """A record that is no run."""
    return record | {"kinesis": record["kinesis"] | {"data": base64.b64encode(b"garbage").decode()}}


def fanned_out(functions: Functions, records: list[Json], tap: Wiretap) -> None:
    """Events, a record that nobody can read, and a key that fills its day of claims."""
    sent = {"type": "track", "event": "Crowd", "integrations": {"All": False}}
    crowd = iam_schema.with_events(records[0], 9, *[sent | {"messageId": f"crowd-{n}"} for n in range(501)])
    tapped = {"AWS_ENDPOINT_URL_KINESIS": tap.url, "AWS_ENDPOINT_URL_DYNAMODB": tap.url}
    answer = functions.call("fanout", {"Records": [*records, unreadable(records[0]), crowd]}, **tapped)
    for name in tapped:
        del os.environ[name]
    assert answer == {"batchItemFailures": []}, answer


def torn_down(functions: Functions, cloud: Cloud) -> None:
    """The custom resource's last call, on buckets with versions of an object in them."""
    s3 = boto3.client("s3")
    for bucket in (cloud.bucket, cloud.letter_bucket):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket=bucket, Key="a-version", Body=b"")
    event = {
        "RequestType": "Delete",
        "ResponseURL": Listener().url,
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "NothingLeft",
        "ResourceProperties": {"Buckets": [cloud.bucket, cloud.letter_bucket], "QueuePrefix": "penstock-dev-d-"},
    }
    functions.call("teardown", event)
    assert "Contents" not in s3.list_objects_v2(Bucket=cloud.bucket)


def run(templates: Mapping[str, Any], recorder: CallRecorder) -> Cloud:
    cloud = Cloud(templates)
    recorder.kms_key_of = lambda: cloud.physical["AWS::KMS::Key"]
    functions, tool = Functions(cloud, recorder), Tool()
    made = customer(functions, tool)
    changes(functions, made, tool)
    tap = Wiretap(recorder, os.environ["AWS_ENDPOINT_URL"])
    records = collected(functions, made["source"]["write_keys"][0]["key"], tap)
    fanned_out(functions, records, tap)
    delivered(functions, made["destination"]["id"], tool)
    iam_schema.schemas(functions.call, functions.control, made, records[0], cloud, tap.url)
    iam_insight.insight(functions.call, functions.control, made)
    iam_gates.gates(functions.call, functions.control, made, tool)
    iam_letters.letters(functions.call, functions.control, made)
    iam_bulk.bulk(functions.call, functions.control, made, records[0], tap.url)
    iam_overflow.overflows(functions.call, functions.control, made, records[0], tap.url)
    iam_deletion.deletion(functions.call, functions.control, made, tool)
    deletions(functions, made)
    torn_down(functions, cloud)
    return cloud


def main() -> None:
    recorder = CallRecorder()
    templates = json.loads(Path(sys.argv[1]).read_text())
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    cloud = run(templates, recorder)
    calls = sorted((call.function, call.action, call.resource) for call in recorder.calls)
    print(json.dumps({"calls": calls, "physical": cloud.physical}))  # noqa: T201 - what the test reads
    server.stop()


if __name__ == "__main__":
    main()
