"""An event as a webhook gets it: one POST with the event's JSON, a key against duplicates and signatures."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from penstock.domain import signature
from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy
from penstock.domain.run import Run, whole_event
from penstock.domain.signature import SigningSecret

OURS = {"Content-Type": "application/json", "User-Agent": "Penstock/1.0"}
_SET_PER_EVENT = ("idempotency-key", "webhook-id", "webhook-signature", "webhook-timestamp", "x-signature")
_RESERVED = frozenset([*(name.lower() for name in OURS), *_SET_PER_EVENT])


class Webhook(Struct, frozen=True):
    """A webhook destination, its secrets opened."""

    enabled: bool
    url: str
    headers: dict[str, str]
    secret: str | None
    policy: DeliveryPolicy = STANDARD
    signing_secrets: tuple[SigningSecret, ...] = ()


class Request(NamedTuple):
    url: str
    headers: dict[str, str]
    body: bytes


_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def request_for(run: Run, event: Raw, webhook: Webhook, at: float) -> Request | None:
    """The POST for one event, tried at `at` (epoch seconds); the values in it are the client's bytes.

    None for an event that is no JSON object.
    """
    try:
        fields = whole_event(run, event)
        body = _encode(fields)
        key = idempotency_key(run.source, _message_id(fields.get("messageId"), event))
        signed = signature.headers(webhook.signing_secrets, key, at, body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    headers = {name: value for name, value in webhook.headers.items() if name.lower() not in _RESERVED} | OURS | signed
    headers["Idempotency-Key"] = key
    if webhook.secret is not None:
        headers["X-Signature"] = hmac.digest(webhook.secret.encode(), body, "sha1").hex()
    return Request(webhook.url, headers, body)


def idempotency_key(source: str, message_id: str) -> str:
    """The same for every try of the same event; safe as a header for any message id."""
    return f"{source}:{quote(message_id, safe='')}"


def message_id_of(event: Raw) -> str:
    """The event's own id, or what stands for one."""
    try:
        return _message_id(_decode_fields(event).get("messageId"), event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _message_id(None, event)


def _message_id(given: Raw | None, event: Raw) -> str:
    """The event's own id; what cannot be read as one is replaced by a digest of the event."""
    try:
        return _decode_text(given or b"null")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return hashlib.sha256(event).hexdigest()
