"""A webhook destination's settings: what may stand in them, and which parts of them are secrets.

Secret are `secret` and `signing_secret` and the value of every header whose name sounds like it. They are stored
encrypted, apart from the rest, and the API shows `********` in their place; a change that sends this mask keeps what is
stored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.domain import addresses, signature
from penstock.domain.audit import iso
from penstock.domain.names import END
from penstock.domain.signature import SigningSecret
from penstock.errors import Invalid

MASK = "********"
MOST_HEADERS = 20
MOST_SECRET_BYTES = 4096  # what KMS encrypts in one call
LONGEST_OVERLAP_S = 30 * 86_400

_SECRET_NAME = re.compile(r"auth|cookie|token|key|secret|passw|signature|credential", re.IGNORECASE)
_OURS = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "expect", "host", "idempotency-key",
    "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "webhook-id",
    "webhook-signature", "webhook-timestamp", "x-signature",
})  # fmt: skip
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]*")
_URL_TEXT = re.compile(r"[!-~]+")

Url = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^https?://",
        description="http or https, a public host, no user, no fragment",
        examples=["https://example.com/hook"],
    ),
]
HeaderName = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}" + END)]
HeaderValue = Annotated[str, Meta(pattern=r"^[ -~]{0,1000}" + END)]
Headers = Annotated[
    dict[HeaderName, HeaderValue],
    Meta(max_length=MOST_HEADERS, description="Sent with every request; values that sound secret are shown masked"),
]
Secret = Annotated[str, Meta(min_length=1, max_length=256, description="Signs every request (X-Signature)")]
SecretToSign = Annotated[
    str,
    Meta(
        max_length=100,
        description="Signs every request by the Standard Webhooks specification: whsec_ and 24 to 64 bytes in base64",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    ),
]
Overlap = Annotated[
    int, Meta(ge=0, le=LONGEST_OVERLAP_S, description="Seconds for which the secret before signs too", examples=[86400])
]


class WebhookSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a webhook goes and with what."""

    url: Url
    headers: Headers = {}
    secret: Secret | None = None
    signing_secret: SecretToSign | None = None


class WebhookSettingsChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a webhook's settings changes; what is absent stays. `headers` are replaced as a whole."""

    url: Url | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    secret: Secret | UnsetType | None = UNSET
    signing_secret: SecretToSign | UnsetType | None = UNSET


class WebhookSettingsView(Struct, frozen=True):
    """A webhook's settings with every secret masked."""

    url: str
    headers: dict[str, str]
    secret: str | None
    signing_secret: str | None


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How a signing secret is replaced."""

    overlap_s: Overlap = 86_400


class NewSecret(Struct, frozen=True):
    """A signing secret, shown this once; `previous_until` is when the one before it ends."""

    signing_secret: str
    previous_until: str | None


class Plain(Struct, frozen=True):
    """The settings without secrets, as they are stored."""

    url: str
    headers: dict[str, str] = {}


class Secrets(Struct, frozen=True, omit_defaults=True):
    """The secrets of the settings, as they are encrypted; `previous` is the signing secret that was replaced."""

    secret: str | None = None
    headers: dict[str, str] = {}
    signing_secret: str | None = None
    previous: SigningSecret | None = None

    def __bool__(self) -> bool:
        return self != Secrets()


def sounds_secret(name: str) -> bool:
    """Whether a header of this name has to be expected to hold a secret."""
    return _SECRET_NAME.search(name) is not None


def split(settings: WebhookSettings) -> tuple[Plain, Secrets]:
    """What is stored in the clear and what is stored encrypted."""
    hidden = {name: value for name, value in settings.headers.items() if _SECRET_NAME.search(name)}
    shown = {name: value for name, value in settings.headers.items() if name not in hidden}
    return Plain(settings.url, shown), Secrets(settings.secret, hidden, settings.signing_secret)


def joined(plain: Plain, secrets: Secrets) -> WebhookSettings:
    return WebhookSettings(plain.url, {**plain.headers, **secrets.headers}, secrets.secret, secrets.signing_secret)


def changed(settings: WebhookSettings, change: WebhookSettingsChange) -> WebhookSettings:
    """The settings after a change, masks standing for what was there. Raises `Invalid` for a mask of nothing."""
    return WebhookSettings(
        settings.url if change.url is UNSET else change.url,
        settings.headers if change.headers is UNSET else _unmasked(change.headers, settings.headers),
        settings.secret if change.secret is UNSET or change.secret == MASK else change.secret,
        settings.signing_secret if change.signing_secret in (UNSET, MASK) else change.signing_secret,
    )


def followed(secrets: Secrets, before: Secrets) -> Secrets:
    """The secrets after a change: what a rotation left signs on beside the same secret, and beside no other."""
    is_same = secrets.signing_secret is not None and secrets.signing_secret == before.signing_secret
    return msgspec.structs.replace(secrets, previous=before.previous if is_same else None)


def rotated(secrets: Secrets, new: str, now: float, overlap_s: int) -> Secrets:
    """With a new signing secret; the one before it, where there was one, is valid for `overlap_s` more seconds."""
    old = secrets.signing_secret
    previous = SigningSecret(old, now + overlap_s) if old is not None and overlap_s else None
    return msgspec.structs.replace(secrets, signing_secret=new, previous=previous)


def shown_once(secrets: Secrets) -> NewSecret:
    """What the owner is told of a rotation."""
    ends = secrets.previous.until if secrets.previous is not None else None
    return NewSecret(secrets.signing_secret or "", iso(ends) if ends is not None else None)


def signing_secrets(secrets: Secrets) -> tuple[SigningSecret, ...]:
    """The newest first."""
    current = (SigningSecret(secrets.signing_secret),) if secrets.signing_secret is not None else ()
    return current + ((secrets.previous,) if secrets.previous is not None else ())


def _unmasked(wanted: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    known = {name.lower(): value for name, value in stored.items() if _SECRET_NAME.search(name)}
    return {name: known.get(name.lower(), MASK) if value == MASK else value for name, value in wanted.items()}


def check(settings: WebhookSettings, allow_loopback: bool) -> None:
    """Raises `Invalid` naming the field for what no webhook may have."""
    _check_url(settings.url, allow_loopback)
    _check_headers(settings.headers)
    if settings.secret == MASK:
        raise Invalid("masked_secret", "the mask stands for a secret, and none is stored", "settings.secret")
    _check_signing_secret(settings.signing_secret)


def packed(secrets: Secrets) -> bytes:
    """The secrets as they are encrypted. Raises `Invalid` past what can be encrypted in one piece."""
    data = msgspec.json.encode(secrets)
    if len(data) > MOST_SECRET_BYTES:
        message = f"secret and secret header values take {len(data)} bytes together, at most {MOST_SECRET_BYTES}"
        raise Invalid("secrets_too_long", message, "settings.headers")
    return data


def unpacked(data: bytes) -> Secrets:
    return msgspec.json.decode(data, type=Secrets)


def names(secrets: Secrets) -> tuple[str, ...]:
    """Which secrets there are: `secret`, `headers.Authorization`."""
    given = {"secret": secrets.secret, "signing_secret": secrets.signing_secret}
    own = tuple(name for name, value in given.items() if value is not None)
    return own + tuple(f"headers.{name}" for name in secrets.headers)


def view(plain: Plain, secret_names: tuple[str, ...]) -> WebhookSettingsView:
    hidden = {name.removeprefix("headers."): MASK for name in secret_names if name.startswith("headers.")}
    own = [MASK if name in secret_names else None for name in ("secret", "signing_secret")]
    return WebhookSettingsView(plain.url, {**plain.headers, **hidden}, *own)


def _check_signing_secret(secret: str | None) -> None:
    if secret == MASK:
        raise Invalid("masked_secret", "the mask stands for a secret, and none is stored", "settings.signing_secret")
    if secret is not None and not signature.is_secret(secret):
        message = "a signing secret is whsec_ and the base64 of 24 to 64 bytes"
        raise Invalid("invalid_signing_secret", message, "settings.signing_secret")


def _check_headers(headers: Mapping[str, str]) -> None:
    seen = set()
    for name, value in headers.items():
        lower, field = name.lower(), f"settings.headers.{name}"
        if not _FIELD.fullmatch(f"{name}: {value}"):
            raise Invalid("invalid_header", "a header is a token and one line of printable ASCII", field.strip())
        if lower in _OURS or lower.startswith("proxy-"):
            raise Invalid("reserved_header", f"{name} is set by the hub itself", field)
        if lower in seen:
            raise Invalid("duplicate_header", f"{name} is given twice", field)
        if value == MASK and _SECRET_NAME.search(name):
            raise Invalid("masked_secret", "the mask stands for a secret, and none is stored", field)
        seen.add(lower)


def _check_url(url: str, allow_loopback: bool) -> None:
    reason = _wrong_with(url, allow_loopback)
    if reason:
        raise Invalid("invalid_url", reason, "settings.url")


def _wrong_with(url: str, allow_loopback: bool) -> str | None:
    if not _URL_TEXT.fullmatch(url):
        return "the URL has a space, a control character or one outside ASCII"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is no URL"
    if parts.username is not None or parts.password is not None:
        return "the URL holds a user or password: use a header"
    if "#" in url:
        return "the URL has a fragment"
    if port == 0 or not parts.hostname:
        return "the URL has no host" if port != 0 else "0 is no port"
    return _wrong_with_host(parts, allow_loopback)


def _wrong_with_host(parts: SplitResult, allow_loopback: bool) -> str | None:
    host = (parts.hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
        if local and not allow_loopback:
            return "the host is this machine itself"
        return None if _HOST_NAME.fullmatch(host) else "the host is no name and no address"
    return None if addresses.is_allowed(str(address), allow_loopback) else "the address is not public"
