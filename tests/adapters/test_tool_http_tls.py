"""TLS to customers' endpoints: certificates, names, and handshakes that hang."""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from penstock.domain.delivery import Answer, Trouble
from tests.tool_servers import BODY, OK, Caller, Server, answering, dribbling, resolving, timed, tool

# TLS


def certificate(folder: Path, name: str, days: int = 1) -> tuple[ssl.SSLContext, str]:
    """(the server's side, path of the certificate) for a certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{abs(hash((name, days)))}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    side.load_cert_chain(path)
    return side, str(path)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def trusting(path: str) -> Callable[[], ssl.SSLContext]:
    return lambda: ssl.create_default_context(cafile=path)


def test_tls_is_verified_by_name_though_an_address_is_called(serve: Callable[..., Server], tmp_path: Path) -> None:
    side, path = certificate(tmp_path, "tool.example.com")
    names: list[str | None] = []
    side.sni_callback = lambda _, name, __: names.append(name)
    server = serve(answering(OK), tls=side)
    http = tool(resolve=resolving(["127.0.0.1"]), tls=trusting(path))
    url = f"https://tool.example.com:{server.port}/hook"
    assert [http.post(url, {}, BODY) for _ in range(3)] == [Answer(200)] * 3
    assert (len(server.callers), names) == (1, ["tool.example.com"])


@pytest.mark.parametrize(
    ("name", "days", "trusts"),
    [("other.example.com", 1, True), ("tool.example.com", -1, True), ("tool.example.com", 1, False)],
)
def test_a_certificate_that_does_not_hold_ends_the_request(
    serve: Callable[..., Server], tmp_path: Path, name: str, days: int, trusts: bool
) -> None:
    side, path = certificate(tmp_path, name, days)
    server = serve(answering(OK), tls=side)
    given = {"tls": trusting(path)} if trusts else {}
    http = tool(resolve=resolving(["127.0.0.1"]), **given)
    answer = http.post(f"https://tool.example.com:{server.port}/", {}, BODY)
    assert answer == Answer(None, trouble=Trouble.TLS)
    assert server.requests == []


def test_a_server_that_speaks_no_tls_is_a_trouble_of_tls(serve: Callable[..., Server]) -> None:
    def talk(caller: Caller) -> None:
        caller.sock.recv(100)
        caller.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = serve(talk)
    assert tool().post(f"https://127.0.0.1:{server.port}/", {}, BODY) == Answer(None, trouble=Trouble.TLS)


def test_a_handshake_that_hangs_is_left_in_time(serve: Callable[..., Server]) -> None:
    server = serve(lambda caller: time.sleep(20))
    answer, seconds = timed(lambda: tool(0.4).post(f"https://127.0.0.1:{server.port}/", {}, BODY))
    assert answer == Answer(None, trouble=Trouble.TIMEOUT)
    assert seconds < 3


def test_a_tool_that_dribbles_over_tls_is_left_in_time(serve: Callable[..., Server], tmp_path: Path) -> None:
    side, path = certificate(tmp_path, "127.0.0.1")
    server = serve(dribbling(b"HTTP/1.1 2", b"0"), tls=side)
    answer, seconds = timed(lambda: tool(0.6, tls=trusting(path)).post(f"https://127.0.0.1:{server.port}/", {}, BODY))
    assert answer.status is None
    assert seconds < 3


@pytest.mark.parametrize("farewell", ["close", "reset"])
def test_a_kept_tls_connection_that_was_closed_meanwhile_costs_no_attempt(
    serve: Callable[..., Server], tmp_path: Path, farewell: str
) -> None:
    def talk(caller: Caller) -> None:
        while caller.hear():
            if caller.number == 0 and len(caller.requests) == 2:
                return caller.reset() if farewell == "reset" else caller.sock.close()
            caller.say(OK)
        return None

    side, path = certificate(tmp_path, "127.0.0.1")
    server, http = serve(talk, tls=side), tool(tls=trusting(path))
    url = f"https://127.0.0.1:{server.port}/"
    assert [http.post(url, {}, BODY).status for _ in range(3)] == [200, 200, 200]
    assert len(server.callers) == 2
