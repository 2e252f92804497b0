"""What others would write: batches checked by pydantic or by hand on orjson, a record per event, boto3 as it comes."""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import boto3
import orjson
from botocore.awsrequest import AWSResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

TYPES = frozenset({"identify", "track", "page", "screen", "group", "alias"})
NEEDED = {"track": "event", "group": "groupId", "alias": "previousId"}

Record = tuple[str, bytes]


def new_id() -> str:
    return str(uuid.uuid4())


@lru_cache
def answer_to(records: int) -> bytes:
    entry = {"SequenceNumber": "49546986683135544286507457936321625675700192471156785154", "ShardId": "shardId-0"}
    return json.dumps({"FailedRecordCount": 0, "Records": [entry] * records}).encode()


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class PydanticEvent(_Model):
    type: str
    message_id: str = Field(default_factory=new_id, max_length=99)
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    event: str | None = None
    name: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    integrations: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> PydanticEvent:
        if self.type not in TYPES or not (self.anonymous_id or self.user_id):
            raise ValueError("an event needs a known type and an identifier")
        given = {"track": self.event, "group": self.group_id, "alias": self.previous_id}
        if not given.get(self.type, True):
            raise ValueError(f"a {self.type} call lacks what it needs")
        return self


class PydanticBatch(_Model):
    batch: list[PydanticEvent] = Field(max_length=2_500)
    sent_at: datetime | None = None
    write_key: str | None = None


def with_pydantic(envelope: dict[str, Any]) -> list[Record]:
    """One record per event of a request."""
    now = datetime.now(UTC)
    request = PydanticBatch.model_validate_json(envelope["body"])
    ip = envelope["requestContext"]["http"]["sourceIp"]
    records = []
    for event in request.batch:
        event.timestamp = event.timestamp or now
        event.context.setdefault("ip", ip)
        text = event.model_dump_json(exclude_none=True, by_alias=True)
        records.append((event.anonymous_id or event.user_id or "", text.encode()))
    return records


def with_orjson(envelope: dict[str, Any]) -> list[Record]:
    """One record per event of a request."""
    return [(key, orjson.dumps(event)) for key, event in _checked(envelope)]


def with_orjson_in_runs(envelope: dict[str, Any]) -> list[Record]:
    """One record per ordering key of a request."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for key, event in _checked(envelope):
        runs.setdefault(key, []).append(event)
    return [(key, orjson.dumps({"key": key, "events": events})) for key, events in runs.items()]


def _checked(envelope: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each event, whole, with its ordering key."""
    now = datetime.now(UTC).isoformat()
    request = orjson.loads(envelope["body"])
    ip = envelope["requestContext"]["http"]["sourceIp"]
    for event in request["batch"]:
        kind, key = event.get("type"), event.get("anonymousId") or event.get("userId")
        if kind not in TYPES or not isinstance(key, str) or (kind in NEEDED and not event.get(NEEDED[kind])):
            raise ValueError("an event needs a known type, an identifier, and what its type needs")
        if len(event.setdefault("messageId", "") or new_id()) > 99:
            raise ValueError("`messageId` is too long")
        event.setdefault("timestamp", now)
        event.setdefault("context", {}).setdefault("ip", ip)
        yield key, event


class Boto3:
    """boto3's Kinesis client, stopped where it would open a connection."""

    def __init__(self, stream: str) -> None:
        os.environ.pop("AWS_ENDPOINT_URL", None)
        self._stream = stream
        self._records = 0
        self._client = boto3.client(
            "kinesis",
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
            aws_session_token="token" * 40,
        )
        self._client.meta.events.register("before-send.kinesis.PutRecords", self._answered)

    def put(self, records: Sequence[Record]) -> None:
        self._records = len(records)
        entries = [{"Data": data, "PartitionKey": key} for key, data in records]
        answer = self._client.put_records(StreamARN=self._stream, Records=entries)
        assert answer["FailedRecordCount"] == 0

    def _answered(self, request: Any, **_: Any) -> AWSResponse:
        headers = {"content-type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, 200, headers, _Raw(answer_to(self._records)))


class _Raw(io.BytesIO):
    """What botocore reads an answer's body from."""

    def stream(self, **_: Any) -> Any:
        yield self.read()
