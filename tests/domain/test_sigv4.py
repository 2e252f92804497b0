"""Our signature is the one that AWS's own library makes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sigv4 import Signer

WORD = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+=", min_size=1, max_size=40)
HOSTS = st.sampled_from(
    ["kinesis.us-east-1.amazonaws.com", "127.0.0.1:4566", "localhost:80", "dynamodb.eu-west-1.api.aws"]
)
SERVICES = st.sampled_from(["kinesis", "dynamodb"])
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


class AtMoment(SigV4Auth):
    """AWS's signer for a time of ours: it asks the clock itself."""

    def __init__(self, credentials: Credentials, service: str, region: str, timestamp: str) -> None:
        super().__init__(credentials, service, region)
        self.timestamp = timestamp

    def signature_of(self, request: AWSRequest) -> str:
        request.context["timestamp"] = self.timestamp
        self._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(text, request))
        return request.headers["Authorization"]


def as_aws_signs(signer: Signer, headers: dict[str, str], body: bytes, timestamp: str) -> str:
    given_headers = {name: value for name, value in headers.items() if name in ("content-type", "x-amz-target", "host")}
    request = AWSRequest("POST", f"http://{headers['host']}/", given_headers, body)
    credentials = Credentials(signer.access_key, signer.secret_key, signer.session_token)
    return AtMoment(credentials, signer.service, signer.region, timestamp).signature_of(request)


@given(WORD, WORD, st.none() | WORD, SERVICES, HOSTS, WORD, st.binary(max_size=100), MOMENTS)
def test_every_request_is_signed_as_aws_signs_it(
    access: str, secret: str, token: str | None, service: str, host: str, target: str, body: bytes, moment: datetime
) -> None:
    signer = Signer(access, secret, token, "eu-west-1", service)
    timestamp = moment.strftime("%Y%m%dT%H%M%SZ")
    headers = signer.headers(host, target, body, timestamp)
    assert headers["authorization"] == as_aws_signs(signer, headers, body, timestamp)
    assert headers.get("x-amz-security-token") == token
    assert headers["x-amz-date"] == timestamp


@pytest.mark.parametrize(("service", "version"), [("kinesis", "1.1"), ("dynamodb", "1.0")])
def test_each_service_is_spoken_to_in_its_own_json(service: str, version: str) -> None:
    headers = Signer("a", "s", None, "us-east-1", service).headers("h", "T.Op", b"{}", "20261123T160000Z")
    assert headers["content-type"] == f"application/x-amz-json-{version}"
    assert "x-amz-security-token" not in headers


def test_another_body_target_or_second_is_another_signature() -> None:
    signer = Signer("a", "s", "t", "us-east-1", "kinesis")
    asked = [("T.Op", b"{}", "20261123T160000Z"), ("T.Op", b"{} ", "20261123T160000Z")]
    asked += [("T.Other", b"{}", "20261123T160000Z"), ("T.Op", b"{}", "20261123T160001Z")]
    assert len({signer.headers("h", *each)["authorization"] for each in asked}) == 4
