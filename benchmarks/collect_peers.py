"""What others would write: a batch checked by pydantic or by hand on orjson, gathered into runs, boto3 as it comes.

Each makes what we make: one record per ordering key, in which the request's time and address stand once.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import NoneType
from typing import Any

import boto3
import orjson
from botocore.awsrequest import AWSResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

TYPES = frozenset({"identify", "track", "page", "screen", "group", "alias"})
TEXTS = ("messageId", "userId", "anonymousId", "event", "groupId", "previousId")
OBJECTS = ("context", "integrations", "properties", "traits")
TIMES = ("timestamp", "originalTimestamp", "sentAt")
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


class PydanticContext(_Model):
    model_config = ConfigDict(extra="allow")
    ip: str | None = None


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
    context: PydanticContext | None = None
    integrations: dict[str, Any] | None = None

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


class PydanticRun(_Model):
    key: str
    received_at: datetime
    context: dict[str, Any]
    events: list[PydanticEvent]


def with_pydantic(envelope: dict[str, Any]) -> list[Record]:
    now = datetime.now(UTC)
    request = PydanticBatch.model_validate_json(envelope["body"])
    shared = _shared(envelope)
    runs: dict[str, list[PydanticEvent]] = {}
    for event in request.batch:
        event.timestamp = event.timestamp or now
        runs.setdefault(event.anonymous_id or event.user_id or "", []).append(event)
    made = [
        PydanticRun.model_construct(key=key, received_at=now, context=shared, events=events)
        for key, events in runs.items()
    ]
    return [(run.key, run.model_dump_json(exclude_none=True, by_alias=True).encode()) for run in made]


def with_orjson(envelope: dict[str, Any]) -> list[Record]:
    now = datetime.now(UTC).isoformat()
    request = orjson.loads(envelope["body"])
    shared = _shared(envelope)
    runs: dict[str, list[dict[str, Any]]] = {}
    for event in request["batch"]:
        runs.setdefault(_checked(event, now), []).append(event)
    return [
        (key, orjson.dumps({"key": key, "receivedAt": now, "context": shared, "events": events}))
        for key, events in runs.items()
    ]


def _shared(envelope: dict[str, Any]) -> dict[str, Any]:
    return {"ip": envelope["requestContext"]["http"]["sourceIp"]}


def _checked(event: dict[str, Any], now: str) -> str:
    """The ordering key of an event that has all it needs."""
    kind, key = event.get("type"), event.get("anonymousId") or event.get("userId")
    if kind not in TYPES or not key or (kind in NEEDED and not event.get(NEEDED[kind])):
        raise ValueError("an event needs a known type, an identifier, and what its type needs")
    for name in TEXTS:
        if name in event and not isinstance(event[name], (str, NoneType)):
            raise ValueError(f"`{name}` must be a string")
    for name in OBJECTS:
        if name in event and not isinstance(event[name], (dict, NoneType)):
            raise ValueError(f"`{name}` must be an object")
    for name in TIMES:
        if name in event:
            datetime.fromisoformat(event[name])
    if len(event.get("messageId") or event.setdefault("messageId", new_id())) > 99:
        raise ValueError("`messageId` is too long")
    event.setdefault("timestamp", now)
    return str(key)


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
        answered: Any = self._answered
        self._client.meta.events.register("before-send.kinesis.PutRecords", answered)

    def put(self, records: Sequence[Record]) -> None:
        self._records = len(records)
        entries: Any = [{"Data": data, "PartitionKey": key} for key, data in records]
        answer = self._client.put_records(StreamARN=self._stream, Records=entries)
        assert answer["FailedRecordCount"] == 0

    def _answered(self, request: Any, **_: Any) -> AWSResponse:
        headers: Any = {"content-type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, 200, headers, _Raw(answer_to(self._records)))


class _Raw(io.BytesIO):
    """What botocore reads an answer's body from."""

    def stream(self, **_: Any) -> Any:
        yield self.read()
