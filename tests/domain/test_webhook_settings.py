"""What may stand in a webhook's settings, and that its secrets never come out."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain import webhook_settings as ws
from penstock.domain.signature import SigningSecret, made_of
from penstock.domain.webhook_settings import MASK, Secrets, WebhookSettings, WebhookSettingsChange
from penstock.errors import Invalid

URL = "https://example.com/hook"
NEW = made_of("n" * 48)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC = [
    URL,
    "http://example.com:8080/a?b=c",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]/",
    "https://xn--bcher-kva.example/",
]
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True) | st.sampled_from(
    ["Authorization", "X-Api-Key", "Cookie", "X-Team", "X-Auth-Token", "Accept"]
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).filter(lambda text: text != MASK)
SETTINGS = st.builds(
    WebhookSettings,
    st.just(URL),
    st.dictionaries(NAMES, VALUES, max_size=8).map(lambda found: {k.lower(): v for k, v in found.items()}),
    st.none() | VALUES.filter(bool),
    st.none() | st.just(SECRET),
)


@given(SETTINGS)
def test_what_is_split_for_storing_joins_to_what_it_was(settings: WebhookSettings) -> None:
    joined = ws.joined(*ws.split(settings))
    assert joined == settings


@given(SETTINGS)
def test_sending_back_what_was_shown_changes_nothing(settings: WebhookSettings) -> None:
    plain, secrets = ws.split(settings)
    shown = ws.view(plain, ws.names(secrets))
    change = WebhookSettingsChange(shown.url, shown.headers, shown.secret, shown.signing_secret)
    assert ws.split(ws.changed(settings, change)) == (plain, secrets)


@given(SETTINGS)
def test_no_secret_is_shown_or_stored_in_the_clear(settings: WebhookSettings) -> None:
    plain, secrets = ws.split(settings)
    shown = ws.view(plain, ws.names(secrets))
    assert all(shown.headers[name] == MASK for name in secrets.headers)
    assert not set(plain.headers) & set(secrets.headers)
    assert shown.secret == (MASK if settings.secret is not None else None)
    assert shown.signing_secret == (MASK if settings.signing_secret is not None else None)


@given(SETTINGS)
def test_packed_secrets_open_to_what_they_were(settings: WebhookSettings) -> None:
    _, secrets = ws.split(settings)
    assert ws.unpacked(ws.packed(secrets)) == secrets


@pytest.mark.parametrize(
    "name", ["Authorization", "X-Api-Key", "Cookie", "x-auth-token", "My-Password", "X-Signature-256"]
)
def test_a_header_that_sounds_secret_is_one(name: str) -> None:
    assert ws.split(WebhookSettings(URL, {name: "v"}))[0].headers == {}


@pytest.mark.parametrize("name", ["X-Team", "Accept", "X-Request-Source"])
def test_a_header_that_does_not_is_not(name: str) -> None:
    assert ws.split(WebhookSettings(URL, {name: "v"}))[0].headers == {name: "v"}


def test_a_rotated_secret_signs_on_beside_the_new_one_and_beside_no_other() -> None:
    before = Secrets("x", {"Cookie": "c"}, SECRET)
    after = ws.rotated(before, NEW, 1000.0, 60)
    assert ws.signing_secrets(after) == (SigningSecret(NEW), SigningSecret(SECRET, 1060.0))
    assert (after.secret, after.headers) == ("x", {"Cookie": "c"})
    assert ws.unpacked(ws.packed(after)) == after
    assert ws.followed(Secrets("y", {}, NEW), after).previous == SigningSecret(SECRET, 1060.0)
    for other in (SECRET, None):
        assert ws.followed(Secrets("x", {}, other), after).previous is None


def test_a_rotation_without_overlap_ends_the_secret_before_at_once() -> None:
    assert ws.signing_secrets(ws.rotated(Secrets(signing_secret=SECRET), NEW, 1000.0, 0)) == (SigningSecret(NEW),)
    assert ws.signing_secrets(ws.rotated(Secrets(), NEW, 1000.0, 60)) == (SigningSecret(NEW),)


@pytest.mark.parametrize("secret", ["s3cret", SECRET + "=", "whsec_c2hvcnQ="])
def test_a_signing_secret_that_is_none_is_refused(secret: str) -> None:
    refused = refusal(WebhookSettings(URL, {}, None, secret))
    assert (refused.code, refused.field) == ("invalid_signing_secret", "settings.signing_secret")
    ws.check(WebhookSettings(URL, {}, None, SECRET), allow_loopback=False)


def refusal(settings: WebhookSettings, allow_loopback: bool = False) -> Invalid:
    with pytest.raises(Invalid) as refused:
        ws.check(settings, allow_loopback)
    return refused.value


@pytest.mark.parametrize(
    "url",
    [
        "https://user:pass@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com/#",
        "https://",
        "https:///path",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\u00fc",
        "https://example.com/\r\nX: y",
        "https://[::1/",
        "https://-bad-.example.com/",
        "https://a..b/",
        "http://127.0.0.1/",
        "http://127.1.2.3:8080/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://100.64.0.1/",
    ],
)
def test_a_url_that_no_webhook_may_have_is_refused(url: str) -> None:
    assert refusal(WebhookSettings(url)).field == "settings.url"


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_is_taken(url: str) -> None:
    ws.check(WebhookSettings(url), allow_loopback=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://localhost:9/", "http://[::1]:9/"])
def test_the_local_hub_alone_takes_this_machine(url: str) -> None:
    ws.check(WebhookSettings(url), allow_loopback=True)
    assert refusal(WebhookSettings(url)).code == "invalid_url"


def test_the_local_hub_takes_no_other_private_address() -> None:
    assert refusal(WebhookSettings("http://10.0.0.1/"), allow_loopback=True).code == "invalid_url"


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Idempotency-Key", "X-Signature", "Webhook-Id", "Proxy-Authorization"]
)
def test_headers_that_the_hub_sets_itself_are_refused(name: str) -> None:
    refused = refusal(WebhookSettings(URL, {name: "x"}))
    assert (refused.code, refused.field) == ("reserved_header", f"settings.headers.{name}")


def test_a_header_given_twice_in_different_case_is_refused() -> None:
    assert refusal(WebhookSettings(URL, {"X-A": "1", "x-a": "2"})).code == "duplicate_header"


def test_a_mask_of_nothing_is_refused() -> None:
    assert refusal(WebhookSettings(URL, {}, MASK)).field == "settings.secret"
    assert refusal(WebhookSettings(URL, {}, None, MASK)).code == "masked_secret"
    assert refusal(WebhookSettings(URL, {"Authorization": MASK})).field == "settings.headers.Authorization"
    masked = ws.changed(WebhookSettings(URL), WebhookSettingsChange(headers={"X-Token": MASK}))
    assert refusal(masked).code == "masked_secret"


def test_more_secrets_than_kms_takes_at_once_are_refused() -> None:
    headers = {f"X-Token-{number}": "x" * 1000 for number in range(5)}
    with pytest.raises(Invalid) as refused:
        ws.packed(ws.split(WebhookSettings(URL, headers))[1])
    assert refused.value.code == "secrets_too_long"


def taken(headers: dict[str, str]) -> None:
    """Raises where either the schema or the check behind it refuses."""
    ws.check(msgspec.convert({"url": URL, "headers": headers}, WebhookSettings), allow_loopback=False)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\n", "a\r", "\n", "\u00e9", "x" * 1001, "\x00"])
def test_header_values_are_printable_ascii_of_one_line(value: str) -> None:
    with pytest.raises((msgspec.ValidationError, Invalid)):
        taken({"X-A": value})


@pytest.mark.parametrize("name", ["", "a b", "a:b", "\u00e9", "x" * 101, "a\n"])
def test_header_names_are_tokens(name: str) -> None:
    with pytest.raises((msgspec.ValidationError, Invalid)):
        taken({name: "x"})


@pytest.mark.parametrize(("name", "value"), [("X-A", ""), ("x!#$%&'*+.^_`|~", "a: b, c; d"), ("X", "x" * 1000)])
def test_any_token_and_any_printable_line_are_taken(name: str, value: str) -> None:
    taken({name: value})
