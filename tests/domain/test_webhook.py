"""What a webhook receives."""

from __future__ import annotations

import hashlib
import hmac
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.signature import SigningSecret
from penstock.domain.webhook import Request, idempotency_key, request_for
from tests.builders_pipeline import SOURCE, event, run_of, webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_764_000_000.0


def posted(*given: object, **shared: object) -> Request:
    run = run_of(*given, **shared)
    request = request_for(run, run.events[0], webhook(secret="s3cret"), NOW)
    assert request is not None
    return request


def test_the_body_is_the_whole_event_and_its_values_are_the_clients_bytes() -> None:
    own = b'{"type":"track","messageId":"m","properties":{"big":12345678901234567890,"one":1.0,"x": [1e5]}}'
    body = posted(own, context={"ip": "203.0.113.9"}).body
    assert b'{"big":12345678901234567890,"one":1.0,"x": [1e5]}' in body
    found = json.loads(body)
    assert found["context"] == {"ip": "203.0.113.9"}
    assert (found["receivedAt"], found["messageId"]) == ("2026-11-23T16:00:00.123Z", "m")


def test_a_request_is_signed_where_there_is_a_secret() -> None:
    request = posted(event())
    assert request.headers["X-Signature"] == hmac.new(b"s3cret", request.body, hashlib.sha1).hexdigest()
    run = run_of(event())
    unsigned = request_for(run, run.events[0], webhook(), NOW)
    assert unsigned is not None
    assert "X-Signature" not in unsigned.headers


def test_headers_of_the_settings_are_sent_and_replace_none_of_ours() -> None:
    run = run_of(event())
    theirs = {"Authorization": "Bearer x", "content-type": "text/plain", "IDEMPOTENCY-KEY": "1", "x-signature": "no"}
    request = request_for(run, run.events[0], webhook(headers=theirs), NOW)
    assert request is not None
    assert request.headers == {
        "Authorization": "Bearer x",
        "Content-Type": "application/json",
        "User-Agent": "Penstock/1.0",
        "Idempotency-Key": f"{SOURCE}:m-1",
    }


def test_the_same_event_has_the_same_key_and_another_has_another() -> None:
    assert posted(event(1)).headers["Idempotency-Key"] == posted(event(1)).headers["Idempotency-Key"]
    assert posted(event(1)).headers["Idempotency-Key"] != posted(event(2)).headers["Idempotency-Key"]


@given(one=st.text(max_size=99), other=st.text(max_size=99))
def test_any_message_id_makes_a_header_of_its_own(one: str, other: str) -> None:
    first, second = (posted(event(messageId=each)).headers["Idempotency-Key"] for each in (one, other))
    assert re.fullmatch(r"[!-~]+", first)
    assert (first == second) is (one == other)
    assert first == idempotency_key(SOURCE, one)


@pytest.mark.parametrize("message_id", [b"5", b"null", b"[]", b'"\xff"'])
def test_an_id_that_cannot_be_read_is_replaced_by_a_stable_one(message_id: bytes) -> None:
    odd = b'{"type":"track","messageId":' + message_id + b"}"
    assert posted(odd).headers == posted(odd).headers
    assert re.fullmatch(SOURCE + ":[0-9a-f]{64}", posted(odd).headers["Idempotency-Key"])


@pytest.mark.parametrize("odd", [b"5", b"[]", b"null", b'"x"', b"{", b"", b'{"a":"\\ud800"}'])
def test_what_is_no_event_makes_no_request(odd: bytes) -> None:
    run = run_of(event())
    run.events = [type(run.events[0])(odd)]
    assert request_for(run, run.events[0], webhook(signing_secrets=(SigningSecret(SECRET),)), NOW) is None


def test_every_try_of_an_event_has_the_same_id_and_its_own_time() -> None:
    run, signed = run_of(event(messageId="a.b c")), webhook(signing_secrets=(SigningSecret(SECRET),))
    tries = [request_for(run, run.events[0], signed, NOW + wait) for wait in (0, 60)]
    first, second = [request.headers for request in tries if request]
    assert first["webhook-id"] == second["webhook-id"] == f"{SOURCE}:a%2Eb%20c"
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1764000000", "1764000060")
    assert first["webhook-signature"] != second["webhook-signature"]


def test_headers_of_the_settings_replace_no_signature() -> None:
    run = run_of(event())
    theirs = {"Webhook-Id": "1", "WEBHOOK-SIGNATURE": "v1,no", "webhook-timestamp": "0"}
    request = request_for(run, run.events[0], webhook(headers=theirs), NOW)
    assert request is not None
    assert not {name.lower() for name in request.headers} & {name.lower() for name in theirs}
