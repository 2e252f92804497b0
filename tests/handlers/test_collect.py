"""The tracking API, request by request: what each answers, what is in the stream then, and what the log says."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import segment.analytics as segment

from functions.collect.handler import GIF, SHORT_NAMES, app
from penstock.domain.event import TYPES
from tests.builders_collect import IP, SOURCE, UNFIT, WORKSPACE, WRITE_KEY, batch_of, packed, track
from tests.collect_api import HOST, basic, collecting, door, get, post, put_key
from tests.moto_server import BULK_STREAM, STREAM, Cloud, environment, moto_cloud


@pytest.fixture(scope="module")
def server() -> Iterator[Cloud]:
    with moto_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(server: Cloud) -> Iterator[Cloud]:
    with collecting(server) as ready:
        yield ready


def event_of(kind: str, **overrides: Any) -> dict[str, Any]:
    return track(type=..., event="E", groupId="g", previousId="p", **overrides)


@pytest.mark.parametrize("name", sorted(TYPES | SHORT_NAMES.keys()))
def test_every_call_has_a_route_and_a_short_form(cloud: Cloud, name: str) -> None:
    answer = post(f"/v1/{name}", packed(event_of(name)))
    assert (answer.status, answer.body) == (200, {"success": True})
    assert [each["type"] for each in cloud.events()] == [SHORT_NAMES.get(name, name)]


@pytest.mark.parametrize("name", ["batch", "b", "import"])
def test_a_batch_is_taken_event_by_event(cloud: Cloud, name: str) -> None:
    answer = post(f"/v1/{name}", batch_of(track(), UNFIT["missing_event"], track(messageId="m-2")))
    assert (answer.status, answer.body["success"], answer.body["accepted"]) == (200, True, 2)
    assert [(each["index"], each["code"]) for each in answer.body["rejected"]] == [(1, "missing_event")]
    found = cloud.events(BULK_STREAM if name == "import" else STREAM)
    assert [each["messageId"] for each in found] == ["m-1", "m-2"]
    assert [each["_run"].get("bulk", False) for each in found] == [name == "import"] * 2


def test_there_is_no_route_besides() -> None:
    posts = {f"/v1/{name}" for name in {*TYPES, *SHORT_NAMES, "batch", "b", "import", "m"}}
    assert app.routes.keys() == posts | {"/v1/pixel/{kind}", "/v1/projects/{write_key}/settings"}


def test_what_analytics_js_measures_of_itself_is_taken_and_dropped(cloud: Cloud) -> None:
    assert (post("/v1/m", b'{"series":[]}', {}).status, cloud.records()) == (200, [])


@pytest.mark.parametrize(
    ("headers", "query", "inside"),
    [
        (basic(), "", {}),
        ({"authorization": basic()["authorization"].replace("Basic", "basic")}, "", {}),
        ({}, f"writeKey={WRITE_KEY}", {}),
        ({}, "", {"writeKey": WRITE_KEY}),
        (basic(), "writeKey=other", {"writeKey": "other"}),
        ({"authorization": "Bearer x"}, "", {"writeKey": WRITE_KEY}),
        ({"authorization": "Basic ???"}, "", {"writeKey": WRITE_KEY}),
        ({"authorization": "Basic \u00e9"}, "", {"writeKey": WRITE_KEY}),
        ({"authorization": "Basic " + base64.b64encode(b":").decode()}, "", {"writeKey": WRITE_KEY}),
    ],
)
def test_the_write_key_is_basics_else_the_querys_else_the_bodys(
    cloud: Cloud, headers: dict[str, str], query: str, inside: dict[str, str]
) -> None:
    assert post("/v1/track", packed(track(**inside)), headers, query).status == 200
    assert post("/v1/batch", batch_of(track(), **inside), headers, query).status == 200
    assert WRITE_KEY not in json.dumps(cloud.events()) and len(cloud.records()) == 2


@pytest.mark.parametrize("key", ["", "nonsense", "a" * 36, "\u00e9", WRITE_KEY[::-1]])
def test_an_unknown_or_missing_key_is_401(cloud: Cloud, key: str) -> None:
    for answer in (
        post("/v1/track", packed(track(writeKey=key)), {}),
        post("/v1/batch", batch_of(track()), {}, urlencode({"writeKey": key})),
        post("/v1/batch", batch_of(track()), basic(key)),
    ):
        assert (answer.status, answer.body["success"], answer.body["field"]) == (401, False, "writeKey")
        assert answer.body["code"] in ("missing_write_key", "unknown_write_key")
    assert cloud.records() == []


@pytest.mark.parametrize("flags", [{"enabled": False}, {"source_enabled": False}])
def test_a_disabled_key_or_source_is_403(cloud: Cloud, flags: dict[str, bool]) -> None:
    put_key(cloud, **flags)
    answer = post("/v1/track", packed(track()))
    assert (answer.status, answer.body["code"], cloud.records()) == (403, "disabled", [])
    assert get(f"/v1/projects/{WRITE_KEY}/settings").status == 403


def test_a_body_that_is_too_large_is_413(cloud: Cloud) -> None:
    for body, code in (
        (b" " * 512_001, "body_too_large"),
        (gzip.compress(b" " * 5_000_000), "body_too_large"),
        (batch_of(*[b"1"] * 2_501), "too_many_events"),
    ):
        answer = post("/v1/batch", body)
        assert (answer.status, answer.body["code"], answer.body["rejected"]) == (413, code, [])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"\x1f\x8bx", b"{}", b'{"batch":5}'])
def test_a_body_that_cannot_be_read_is_400_and_says_why(cloud: Cloud, body: bytes) -> None:
    answer = post("/v1/batch", body)
    assert (answer.status, answer.body["success"], answer.body["rejected"]) == (400, False, [])
    assert answer.body["code"] and answer.body["message"]


@pytest.mark.parametrize("code", sorted(UNFIT.keys() - {"not_an_object", "missing_type", "unknown_type"}))
def test_a_single_event_that_cannot_be_taken_is_400_with_its_reason(cloud: Cloud, code: str) -> None:
    path = {"missing_group_id": "/v1/group", "missing_previous_id": "/v1/alias"}.get(code, "/v1/track")
    answer = post(path, UNFIT[code])
    assert (answer.status, answer.body["success"], answer.body["accepted"]) == (400, False, 0)
    assert [each["code"] for each in answer.body["rejected"]] == [code]


@pytest.mark.parametrize("type_", ["application/json", "text/plain", "text/plain;charset=UTF-8", "", "x/y"])
@pytest.mark.parametrize("squeezed", [False, True])
def test_any_content_type_is_json_and_gzip_is_told_by_its_bytes(cloud: Cloud, type_: str, squeezed: bool) -> None:
    body = batch_of(track(properties={"é": "😀"}), writeKey=WRITE_KEY)
    headers = {"content-type": type_} | ({"content-encoding": "gzip"} if squeezed else {})
    assert post("/v1/b", gzip.compress(body) if squeezed else body, headers).status == 200
    assert cloud.events()[0]["properties"] == {"é": "😀"}


def test_a_run_carries_the_callers_address_and_the_keys_source(cloud: Cloud) -> None:
    post("/v1/batch", batch_of(track(), context={"app": "a"}))
    [run] = [each["_run"] for each in cloud.events()]
    assert (run["context"], run["workspace"], run["source"]) == ({"app": "a", "ip": IP}, WORKSPACE, SOURCE)


def test_an_event_as_deep_as_may_be_goes_through_to_the_stream(cloud: Cloud) -> None:
    deep = b"[" * 639 + b"7" * 308 + b"]" * 639
    answer = post("/v1/batch", batch_of(track(), packed(track(properties=...))[:-1] + b',"a":' + deep + b"}"))
    assert (answer.status, answer.body["accepted"]) == (200, 2)
    assert deep in b"".join(each["Data"] for each in cloud.records())


def encodings(text: bytes) -> list[str]:
    plain, url = base64.b64encode(text).decode(), base64.urlsafe_b64encode(text).decode()
    return [quote(plain), quote(plain).rstrip("%3D"), url, url.rstrip("="), plain]


@pytest.mark.parametrize("form", range(5), ids=["quoted", "unpadded", "url-safe", "url-safe unpadded", "+ as spaces"])
def test_a_pixel_takes_base64_in_any_form_and_answers_an_image(cloud: Cloud, form: int) -> None:
    event = track(properties={"odd": "ÿþ?>~~~ü"}, writeKey=WRITE_KEY)
    assert any(sign in base64.b64encode(packed(event)) for sign in b"+/")
    answer = get("/v1/pixel/t", f"data={encodings(packed(event))[form]}")
    assert (answer.status, answer.headers["content-type"], answer.data) == (200, "image/gif", GIF)
    assert answer.headers["cache-control"] == "no-store"
    assert cloud.events()[0]["properties"] == event["properties"]


def test_a_pixel_may_name_its_key_in_the_query(cloud: Cloud) -> None:
    data = base64.b64encode(packed(event_of("page"))).decode()
    assert get("/v1/pixel/page", urlencode({"data": data, "writeKey": WRITE_KEY})).status == 200
    assert cloud.events()[0]["type"] == "page"


@pytest.mark.parametrize(
    ("kind", "query", "status", "code"),
    [
        ("track", "", 400, "empty_body"),
        ("track", "data=", 400, "empty_body"),
        ("track", "data=!", 400, "invalid_encoding"),
        ("track", "data=%C3%A9", 400, "invalid_encoding"),
        ("track", "data=A", 400, "invalid_encoding"),
        ("track", "data=e30", 401, "missing_write_key"),
        ("track", f"data=Ww&writeKey={WRITE_KEY}", 400, "invalid_json"),
        ("other", f"data=e30&writeKey={WRITE_KEY}", 400, "unknown_type"),
    ],
)
def test_a_pixel_that_cannot_be_taken_answers_json(cloud: Cloud, kind: str, query: str, status: int, code: str) -> None:
    answer = get(f"/v1/pixel/{kind}", query)
    assert (answer.status, answer.headers["content-type"], answer.body["code"]) == (status, "application/json", code)


def test_a_pixels_event_that_is_refused_is_json_with_its_reason(cloud: Cloud) -> None:
    answer = get("/v1/pixel/track", f"data=e30&writeKey={WRITE_KEY}")
    assert (answer.status, answer.body["rejected"][0]["code"]) == (400, "missing_identifier")


def test_analytics_js_is_told_to_send_here_and_to_load_nothing_else(cloud: Cloud) -> None:
    answer = get(f"/v1/projects/{WRITE_KEY}/settings")
    assert answer.status == 200
    assert answer.body["integrations"] == {
        "Segment.io": {"apiKey": WRITE_KEY, "apiHost": f"{HOST}/v1", "protocol": "https"}
    }
    assert (answer.body["edgeFunction"], set(answer.body)) == ({}, {"integrations", "plan", "edgeFunction"})
    assert get(f"/v1/projects/{'a' * 36}/settings").status == 401


def without_stream(cloud: Cloud) -> None:
    cloud.client("kinesis").delete_stream(StreamName=STREAM)


def without_table(cloud: Cloud) -> None:
    cloud.client("dynamodb").delete_table(TableName="penstock-test-config")


@pytest.mark.parametrize("broken", [without_stream, without_table])
def test_what_is_not_durable_is_503_and_to_be_sent_again(cloud: Cloud, broken: Callable[[Cloud], None]) -> None:
    broken(cloud)
    answer = post("/v1/batch", batch_of(track()))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert (answer.body["success"], answer.body["code"]) == (False, "unavailable")


def test_a_cloud_that_does_not_answer_at_all_is_503(cloud: Cloud) -> None:
    with environment(AWS_ENDPOINT_URL="http://127.0.0.1:1"):
        assert post("/v1/track", packed(track())).status == 503


def lines(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_the_log_says_where_to_and_how_many_and_never_what(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "secret-value-of-a-customer"
    told = {"properties": {"a": secret}, "context": {"b": secret}, "userId": secret, "messageId": secret}
    post("/v1/batch", batch_of(track(**told), track(**told, event=""), track(**told, type=secret), context={secret: 1}))
    post("/v1/track", packed(track(**told, timestamp=secret)))
    post("/v1/track", b'{"' + secret.encode())
    post("/v1/track", packed(track(**told)), basic(secret))
    get("/v1/pixel/track", f"data={secret}!")
    without_stream(cloud)
    post("/v1/track", packed(track(**told)))
    said = capsys.readouterr()
    assert secret not in said.err + said.out
    found = lines(said.err)
    assert [each["status"] for each in found] == [200, 400, 400, 401, 400, 503]
    assert found[0] == {
        "message": "request",
        "route": "POST /v1/batch",
        "status": 200,
        "source": SOURCE,
        "accepted": 1,
        "rejected": {"missing_event": 1, "unknown_type": 1},
    }
    assert [each.get("code") for each in found[2:]] == [
        "invalid_json",
        "unknown_write_key",
        "invalid_encoding",
        "unavailable",
    ]


@pytest.mark.parametrize("squeezed", [False, True])
def test_segments_python_library_works_as_it_is(cloud: Cloud, squeezed: bool) -> None:
    troubles: list[Any] = []
    with door() as url:
        client = segment.Client(
            WRITE_KEY, host=url, gzip=squeezed, on_error=lambda error, items: troubles.append(error), max_retries=1
        )
        client.identify("u-1", {"email": "a@example.com"})
        client.track("u-1", "Signed Up", {"plan": "pro"}, context={"ip": "192.0.2.1"})
        client.page("u-1", "Docs", "Python")
        client.screen("u-1", "Docs", "Python")
        client.group("u-1", "g-1", {"name": "Acme"})
        client.alias("anonymous-1", "u-1")
        client.flush()
        client.join()
    assert troubles == []
    found = cloud.events()
    assert [each["type"] for each in found] == ["identify", "track", "page", "screen", "group", "alias"]
    assert {each["_run"]["key"] for each in found} == {"u-1"}
    assert found[1]["properties"] == {"plan": "pro"} and found[1]["context"]["ip"] == "192.0.2.1"
    assert all(len(each["messageId"]) > 10 and each["timestamp"] for each in found)


def test_segments_python_library_is_told_when_it_is_refused(cloud: Cloud) -> None:
    troubles: list[Any] = []
    with door() as url:
        client = segment.Client("a" * 36, host=url, on_error=lambda error, items: troubles.append(error), max_retries=0)
        client.track("u-1", "Signed Up")
        client.flush()
        client.join()
    assert ["401" in str(each) or getattr(each, "status", None) == 401 for each in troubles] == [True]
