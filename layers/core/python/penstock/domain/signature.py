"""Signatures by the Standard Webhooks specification, made by its own library.

Signed are the message's id, the time of the attempt and the body. A secret that was replaced signs beside its successor
until it ends, so that the receiving side can change over whenever it likes within that time.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from standardwebhooks.webhooks import Webhook as Signer

PREFIX = "whsec_"
SHORTEST_KEY, LONGEST_KEY = 24, 64  # bytes
NEW_KEY_LENGTH = 48  # of [a-z0-9]: 248 bits


class SigningSecret(NamedTuple):
    """A secret as its owner knows it; valid before `until` (epoch seconds) where that is given."""

    text: str
    until: float | None = None


def made_of(chance: str) -> str:
    """A new secret, of `NEW_KEY_LENGTH` random characters."""
    return PREFIX + base64.b64encode(chance.encode()).decode()


def is_secret(text: str) -> bool:
    """Whether it is `whsec_` and the base64 of 24 to 64 bytes."""
    encoded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    is_whole = text.startswith(PREFIX) and base64.b64encode(key).decode() == encoded
    return is_whole and SHORTEST_KEY <= len(key) <= LONGEST_KEY


def message_id(idempotency_key: str) -> str:
    """The id in the header: what is signed is divided by full stops, so it may hold none."""
    return idempotency_key.replace(".", "%2E")


def headers(secrets: Sequence[SigningSecret], key: str, at: float, body: bytes) -> dict[str, str]:
    """The headers of one attempt at `at`; none where no secret is valid. Raises `UnicodeDecodeError`."""
    valid = [secret.text for secret in secrets if secret.until is None or at < secret.until]
    if not valid:
        return {}
    name, second, text = message_id(key), int(at), body.decode()
    moment = datetime.fromtimestamp(second, UTC)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(second),
        "webhook-signature": " ".join(Signer(secret).sign(name, moment, text) for secret in valid),
    }
