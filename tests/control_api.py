"""The control API as a client sees it: its real handler and wiring, on moto, through payload-2.0 events."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import boto3
from moto import mock_aws

from functions.control.handler import app, handler
from penstock import tables
from penstock.wiring import control

OPERATOR_TOKEN = "operator-token-of-the-tests"
REGION = "us-east-1"
Json = dict[str, Any]


class Context:
    """What Lambda hands to a handler beside the event."""

    function_name = "control"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:control"
    aws_request_id = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> Json:
        return self.body["error"]


def route_of(path: str, method: str) -> tuple[str, dict[str, str]]:
    """What API Gateway finds for a path: the route key, and the parameters in it; `$default` for none."""
    for pattern, methods in app.routes.items():
        found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", pattern), path)
        if found and method in methods:
            return f"{method} {pattern}", found.groupdict()
    return "$default", {}


def event(method: str, path: str, body: str | bytes | None, headers: dict[str, str], query: str = "") -> Json:
    key, ids = route_of(path, method)
    raw = isinstance(body, bytes)
    return {
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "pathParameters": ids,
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "203.0.113.9", "userAgent": "test"},
            "stage": "$default",
            "requestId": "request-1",
            "domainName": "api.example.com",
        },
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": raw,
    }


def call(
    method: str, path: str, body: Any = None, token: str | None = None, raw: str | bytes | None = None, **query: Any
) -> Answer:
    """One request; `body` is sent as JSON, `raw` as it is."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    sent = raw if raw is not None else None if body is None else json.dumps(body)
    answer = handler(event(method, path, sent, headers, urlencode(query)), Context())
    return Answer(answer["statusCode"], answer["headers"], answer["body"])


def made(method: str, path: str, body: Any = None, token: str | None = None) -> Json:
    """What a creation answers, which must succeed."""
    answer = call(method, path, body, token)
    assert answer.status == 201, answer
    return answer.body


@dataclass(frozen=True)
class Tenant:
    """A workspace and a token that can do everything in it."""

    id: str
    token: str

    def call(self, method: str, path: str, body: Any = None, **rest: Any) -> Answer:
        return call(method, path, body, self.token, **rest)

    def made(self, path: str, body: Any = None) -> Json:
        return made("POST", path, body, self.token)

    def source(self, name: str = "Web") -> Json:
        return self.made("/control/sources", {"name": name})

    def destination(self, **overrides: Any) -> Json:
        return self.made("/control/destinations", webhook(**overrides))


def webhook(**overrides: Any) -> Json:
    return {"name": "Hook", "type": "webhook", "settings": {"url": "https://example.com/hook"}} | overrides


def tenant(name: str = "Acme") -> Tenant:
    body = made("POST", "/control/workspaces", {"name": name}, OPERATOR_TOKEN)
    return Tenant(body["id"], body["token"]["token"])


def make_tables(stage: str = "test") -> None:
    for table in tables.ALL:
        keys = [(table.partition_key, "HASH"), (table.sort_key, "RANGE")]
        indexed = [(table.index.partition_key, "HASH"), (table.index.sort_key, "RANGE")] if table.index else []
        boto3.client("dynamodb", region_name=REGION).create_table(
            TableName=f"penstock-{stage}-{table.name}",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in dict(keys + indexed)],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            **({"GlobalSecondaryIndexes": [_index(table.index, indexed)]} if table.index else {}),
        )


def _index(index: tables.Index, keys: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "IndexName": index.name,
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.carries)},
    }


def make_deliver(name: str = "deliver") -> str:
    """The ARN of a function for mappings to point at."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam = boto3.client("iam", region_name=REGION)
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("handler.py", "def handler(event, context): return None\n")
    return boto3.client("lambda", region_name=REGION).create_function(
        FunctionName=f"penstock-test-{name}",
        Runtime="python3.13",
        Role=role,
        Handler="handler.handler",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]


def make_letter_bucket() -> str:
    boto3.client("s3", region_name=REGION).create_bucket(Bucket="penstock-test-letters")
    return "penstock-test-letters"


def make_queue(name: str) -> str:
    """The ARN of a standard queue."""
    sqs = boto3.client("sqs", region_name=REGION)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


def environment() -> dict[str, str]:
    """What the deploy gives the function, with all that it names made in moto."""
    make_tables()
    secret = boto3.client("secretsmanager", region_name=REGION).create_secret(
        Name="operator", SecretString=OPERATOR_TOKEN
    )
    key = boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["Arn"]
    return {
        "PENSTOCK_STAGE": "test",
        "PENSTOCK_CONFIG_TABLE": "penstock-test-config",
        "PENSTOCK_AUDIT_TABLE": "penstock-test-audit",
        "PENSTOCK_SCHEMAS_TABLE": "penstock-test-schemas",
        "PENSTOCK_CHANGES_TABLE": "penstock-test-changes",
        "PENSTOCK_LONGEST_WAIT_S": "0.3",
        "PENSTOCK_OPERATOR_SECRET_ARN": secret["ARN"],
        "PENSTOCK_SECRETS_KEY_ARN": key,
        "PENSTOCK_DELIVER_FUNCTION_ARN": make_deliver(),
        "PENSTOCK_GATES_TABLE": "penstock-test-gates",
        "PENSTOCK_OVERFLOW_TABLE": "penstock-test-overflow",
        "PENSTOCK_LETTERS_TABLE": "penstock-test-letters",
        "PENSTOCK_LETTER_BUCKET": make_letter_bucket(),
        "PENSTOCK_REPLAYS_QUEUE_ARN": make_queue("penstock-test-replays"),
        "PENSTOCK_RECEIPTS_TABLE": "penstock-test-receipts",
        "PENSTOCK_PROGRESS_TABLE": "penstock-test-progress",
        "PENSTOCK_DEDUP_TABLE": "penstock-test-dedup",
        "PENSTOCK_QUOTAS_TABLE": "penstock-test-quotas",
        "PENSTOCK_ALERT_TOPICS": f"arn:aws:sns:{REGION}:123456789012:penstock-test-alerts-",
        "PENSTOCK_CHORES_QUEUE_ARN": make_queue("penstock-test-chores"),
    }


@contextmanager
def control_cloud() -> Iterator[Callable[..., Any]]:
    """The control function's world; it gives a maker of moto clients."""
    before = dict(os.environ)
    with mock_aws():
        os.environ.update(environment())
        control.ports.cache_clear()
        try:
            yield lambda service: boto3.client(service, region_name=REGION)
        finally:
            control.ports.cache_clear()
            os.environ.clear()
            os.environ.update(before)
