"""An event as a webhook gets it: one POST with the event's JSON, a key against duplicates and a signature."""

from __future__ import annotations

import hmac
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from penstock.domain.run import Run, whole_event

OURS = {"Content-Type": "application/json", "User-Agent": "Penstock/1.0"}


class Webhook(Struct, frozen=True):
    """A webhook destination, its secrets opened."""

    enabled: bool
    url: str
    headers: dict[str, str]
    secret: str | None


class Request(NamedTuple):
    url: str
    headers: dict[str, str]
    body: bytes


_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode


def request_for(run: Run, event: Raw, webhook: Webhook) -> Request:
    """The POST for one event; the values in it are the client's bytes."""
    fields = whole_event(run, event)
    body = _encode(fields)
    headers = (
        webhook.headers | OURS | {"Idempotency-Key": idempotency_key(run.source, _decode_text(fields["messageId"]))}
    )
    if webhook.secret is not None:
        headers["X-Signature"] = hmac.new(webhook.secret.encode(), body, "sha1").hexdigest()
    return Request(webhook.url, headers, body)


def idempotency_key(source: str, message_id: str) -> str:
    """The same for every try of the same event; safe as a header for any message id."""
    return f"{source}:{quote(message_id, safe='')}"
