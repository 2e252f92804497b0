"""Every AWS call that a function makes, as the IAM action and resource that AWS would check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import botocore.handlers

REGION = "us-east-1"
ACCOUNT = "123456789012"
Params = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Call:
    """One check that AWS would make: may `function` do `action` on `resource` (an ARN, or `*`)?"""

    function: str
    action: str
    resource: str


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


def table(params: Params) -> str:
    name = params["TableName"]
    return name if name.startswith("arn:") else arn("dynamodb", f"table/{name}")


def queue(params: Params) -> str:
    name = params["QueueName"] if "QueueName" in params else params["QueueUrl"].rsplit("/", 1)[-1]
    return arn("sqs", name)


def mapping(params: Params) -> str:
    return arn("lambda", f"event-source-mapping:{params.get('UUID', '*')}")


TRANSACTION = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def dynamodb_checks(operation: str, params: Params) -> Iterator[tuple[str, str]]:
    if operation in ("TransactWriteItems", "TransactGetItems"):
        for item in params["TransactItems"]:
            (kind, inner), *_ = item.items()
            yield TRANSACTION.get(kind, "GetItem"), table(inner)
    elif operation in ("BatchWriteItem", "BatchGetItem"):
        for name in params["RequestItems"]:
            yield operation, table({"TableName": name})
    elif "IndexName" in params:
        yield operation, f"{table(params)}/index/{params['IndexName']}"
    else:
        yield operation, table(params)


def events_checks(operation: str, params: Params) -> Iterator[tuple[str, str]]:
    for entry in params["Entries"]:
        yield operation, arn("events", f"event-bus/{entry['EventBusName']}")


def sqs_checks(operation: str, params: Params) -> Iterator[tuple[str, str]]:
    if operation == "ListQueues":
        yield operation, "*"
        return
    yield operation.removesuffix("Batch"), queue(params)
    if operation == "CreateQueue" and params.get("tags"):
        yield "TagQueue", queue(params)


def lambda_checks(operation: str, params: Params) -> Iterator[tuple[str, str]]:
    if operation in ("CreateEventSourceMapping", "ListEventSourceMappings"):
        yield operation, "*"
        if params.get("Tags"):
            yield "TagResource", mapping({})
    elif "UUID" in params:
        yield operation, mapping(params)
    elif "FunctionName" in params:
        yield operation, arn("lambda", f"function:{params['FunctionName'].rsplit(':', 1)[-1]}")
    else:
        yield operation, "*"


S3_BUCKET_ACTIONS = {"ListObjectVersions": "ListBucketVersions", "ListObjectsV2": "ListBucket"}


def s3_checks(operation: str, params: Params) -> Iterator[tuple[str, str]]:
    bucket = f"arn:aws:s3:::{params['Bucket']}"
    if operation in S3_BUCKET_ACTIONS:
        yield S3_BUCKET_ACTIONS[operation], bucket
    elif operation == "DeleteObjects":
        for entry in params["Delete"]["Objects"]:
            yield ("DeleteObjectVersion" if "VersionId" in entry else "DeleteObject"), f"{bucket}/{entry['Key']}"
    else:
        yield operation, f"{bucket}/{params['Key']}" if "Key" in params else bucket


def other_checks(service: str, operation: str, params: Params) -> Iterator[tuple[str, str]]:
    resource = {
        "kinesis": params.get("StreamARN"),
        "kms": params.get("KeyId"),
        "secretsmanager": params.get("SecretId"),
        "sns": params.get("TopicArn"),
    }.get(service)
    yield operation, resource or "*"


CHECKS: dict[str, Callable[[str, Params], Iterator[tuple[str, str]]]] = {
    "dynamodb": dynamodb_checks,
    "events": events_checks,
    "sqs": sqs_checks,
    "lambda": lambda_checks,
    "s3": s3_checks,
}


class CallRecorder:
    """Hears every call of every botocore client made in this process, and what `collect`'s own client says."""

    def __init__(self) -> None:
        self.calls: set[Call] = set()
        self._function: str | None = None
        self.kms_key_of: Callable[[], str] | None = None
        botocore.handlers.BUILTIN_HANDLERS.append(("before-parameter-build", self._heard))

    def during(self, function: str | None) -> None:
        """From here on, calls are made by `function`; by the test itself where None."""
        self._function = function

    def note(self, service: str, operation: str, params: Params) -> None:
        if self._function is None:
            return
        if service == "kms" and "KeyId" not in params and self.kms_key_of:
            params = {**params, "KeyId": self.kms_key_of()}  # Decrypt finds its key in the ciphertext
        checks = CHECKS.get(service)
        found = checks(operation, params) if checks else other_checks(service, operation, params)
        self.calls.update(Call(self._function, f"{service}:{action}", resource) for action, resource in found)

    def _heard(self, params: Params, model: Any, **_: Any) -> None:
        self.note(model.service_model.endpoint_prefix.replace("monitoring", "cloudwatch"), model.name, params)
