"""What a client of the tracking API sends, as small builders with overrides."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Raw

from penstock.domain.batch import Origin
from penstock.domain.event import Accepted, Arrival, Rejected, admit

NOW = datetime(2026, 11, 23, 16, 0, 0, 123_456, tzinfo=UTC)
NOW_TEXT = "2026-11-23T16:00:00.123Z"
IP = "203.0.113.9"
WORKSPACE, SOURCE = "ws_" + "a" * 12, "src_" + "b" * 12
WRITE_KEY = "a" * 12 + "k" * 24


def ids() -> Callable[[], str]:
    """Message ids in order: made-1, made-2, …"""
    count = itertools.count(1)
    return lambda: f"made-{next(count)}"


def track(**overrides: Any) -> dict[str, Any]:
    """A whole track call; a field given as `...` is left out."""
    given = {
        "type": "track",
        "event": "Signed Up",
        "userId": "u-1",
        "messageId": "m-1",
        "timestamp": "2026-11-23T15:59:59.000Z",
        "properties": {"plan": "pro"},
    }
    return {name: value for name, value in (given | overrides).items() if value is not ...}


def packed(event: Any) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def batch_of(*events: Any, **around: Any) -> bytes:
    """The body of a batch; events given as bytes stand as they are."""
    texts = b",".join(each if isinstance(each, bytes) else packed(each) for each in events)
    rest = b"".join(b"," + packed(name) + b":" + packed(value) for name, value in around.items())
    return b'{"batch":[' + texts + b"]" + rest + b"}"


def arrival(**overrides: Any) -> Arrival:
    return Arrival(**({"received_at": NOW, "new_id": ids()} | overrides))


def origin(**overrides: Any) -> Origin:
    given = {"workspace": WORKSPACE, "source": SOURCE, "received_at": NOW, "ip": IP, "new_id": ids()}
    return Origin(**given | overrides)


def admitted(event: Any, **overrides: Any) -> bytes:
    """The event's bytes as they enter the stream; an event given as bytes stands as it is."""
    found = admit(Raw(event if isinstance(event, bytes) else packed(event)), 0, arrival(**overrides))
    assert isinstance(found, Accepted), found
    return bytes(found.event)


def refused(event: Any, **overrides: Any) -> Rejected:
    found = admit(Raw(event if isinstance(event, bytes) else packed(event)), 7, arrival(**overrides))
    assert isinstance(found, Rejected), found
    return found


UNFIT: dict[str, bytes] = {
    "not_an_object": b"[1]",
    "missing_type": packed(track(type=...)),
    "unknown_type": packed(track(type="trakc")),
    "invalid_type": packed(track(properties=[])),
    "missing_identifier": packed(track(userId=...)),
    "missing_event": packed(track(event="")),
    "missing_group_id": packed(track(type="group")),
    "missing_previous_id": packed(track(type="alias")),
    "message_id_too_long": packed(track(messageId="é" * 100)),
    "invalid_timestamp": packed(track(timestamp="yesterday")),
    "event_too_large": packed(track(properties={"a": "x" * 33_000})),
    "nested_too_deep": packed(track(properties=...))[:-1] + b',"properties":{"a":' + b"[" * 2000 + b"]" * 2000 + b"}}",
    "invalid_number": packed(track(properties=...))[:-1] + b',"properties":{"a":' + b"7" * 400 + b"}}",
    "invalid_unicode": packed(track(properties={"a": "<>"})).replace(b"<>", rb"\ud800"),
}
"""One event for every reason to refuse one."""
