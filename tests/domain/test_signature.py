"""Webhooks are signed by the Standard Webhooks specification, by every secret that is valid."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from penstock.domain.signature import NEW_KEY_LENGTH, SigningSecret, headers, is_secret, made_of, message_id

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = made_of("x" * NEW_KEY_LENGTH)
BODY = b'{"type":"track","event":"Gr\xc3\xbc\xc3\x9fe"}'
NOW = 1_764_080_000.75


def test_the_example_of_the_specifications_own_tests_is_signed_alike() -> None:
    signed = headers([SigningSecret(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(
    key=st.binary(min_size=24, max_size=64),
    name=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    at=st.floats(0, 4e9),
    body=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_signature_is_the_hmac_of_id_time_and_body(key: bytes, name: str, at: float, body: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    signed = headers([SigningSecret(secret)], name, at, body.encode())
    content = f"{signed['webhook-id']}.{signed['webhook-timestamp']}.{body}".encode()
    expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    assert signed["webhook-signature"] == f"v1,{expected}"
    assert signed["webhook-timestamp"] == str(int(at))


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_while_two_secrets_are_valid_either_verifies(secret: str) -> None:
    now = time.time()
    signed = headers([SigningSecret(OTHER), SigningSecret(SECRET, now + 1)], "src:m", now, BODY)
    assert len(signed["webhook-signature"].split(" ")) == 2
    Webhook(secret).verify(BODY, signed)
    for wrong in (BODY + b" ", b"{}"):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(wrong, signed)


def test_a_secret_signs_no_more_once_it_has_ended() -> None:
    secrets = [SigningSecret(OTHER), SigningSecret(SECRET, NOW)]
    assert headers(secrets, "m", NOW, BODY) == headers(secrets[:1], "m", NOW, BODY)
    assert headers(secrets, "m", NOW - 1, BODY) != headers(secrets[:1], "m", NOW - 1, BODY)


def test_nothing_is_signed_without_a_secret() -> None:
    assert headers([], "m", NOW, BODY) == {}
    assert headers([SigningSecret(SECRET, NOW - 1)], "m", NOW, BODY) == {}


@given(one=st.text(max_size=30), other=st.text(max_size=30))
def test_an_id_holds_no_full_stop_and_two_keys_no_common_id(one: str, other: str) -> None:
    keys = [text.replace("%", "%25") for text in (one, other)]  # as a percent-encoded key has it
    assert "." not in message_id(keys[0])
    assert (message_id(keys[0]) == message_id(keys[1])) is (one == other)


def encoded(length: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * length).decode()


@pytest.mark.parametrize("secret", [SECRET, OTHER, encoded(24), encoded(64)])
def test_a_secret_is_the_base64_of_24_to_64_bytes(secret: str) -> None:
    assert is_secret(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        encoded(23),
        encoded(65),
        SECRET.removeprefix("whsec_"),
        SECRET + "!",
        "whsec_" + "a" * 33,
        "whsec_" + "\u00e9" * 32,
        "WHSEC_" + SECRET.removeprefix("whsec_"),
        "whsec_" + SECRET,
    ],
)
def test_anything_else_is_none(secret: str) -> None:
    assert not is_secret(secret)


def test_a_new_secret_is_made_of_what_chance_gives() -> None:
    assert base64.b64decode(made_of("a1" * 24).removeprefix("whsec_")) == b"a1" * 24
    assert is_secret(made_of("a" * NEW_KEY_LENGTH))
