"""The front door: every API of the hub under one address, requests and answers passed on as they came."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from aiohttp import web

from penstock.local.front_door import Doors, api_of, front_door_app, is_text
from tests.local.local_servers import served


def cloud_app() -> web.Application:
    """Stands for the local cloud: says what it was asked."""

    async def echo(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/v1/slow"):
            await asyncio.sleep(1)
        if request.path.endswith("/v1/cut"):
            answer = web.StreamResponse(headers={"Content-Length": "1000"})
            await answer.prepare(request)
            await answer.write(b"only this")
            assert request.transport is not None
            request.transport.abort()
            return answer
        if request.path.endswith("/v1/large"):
            return web.Response(body=b"x" * 3_000_000)
        if request.path.endswith("/v1/moved"):
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        said = {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[name.decode(), value.decode()] for name, value in request.raw_headers],
            "body": base64.b64encode(await request.read()).decode(),
        }
        answer = web.json_response(said, status=201, headers={"X-From": "cloud"})
        answer.headers.add("Set-Cookie", "a=1")
        answer.headers.add("Set-Cookie", "b=2")
        return answer

    app = web.Application(client_max_size=20_000_000)
    app.router.add_route("*", "/{path:.*}", echo)
    return app


def state_file(folder: Path, cloud: str) -> Path:
    file = folder / "state.json"
    apis = {"collect": f"{cloud}/_aws/execute-api/c1/$default", "control": f"{cloud}/_aws/execute-api/c2/$default"}
    file.write_text(json.dumps({"apis": apis}))
    return file


@pytest.fixture
def door(tmp_path: Path) -> Iterator[str]:
    with served(cloud_app()) as cloud, served(front_door_app(Doors(state_file(tmp_path, cloud)))) as url:
        yield url


def ask(door: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict:
    """One request exactly as written: no library tidies the target or the headers."""
    where = urlsplit(door)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if body:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert answer.status == 201
    assert answer.getheader("X-From") == "cloud"
    return said


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/batch", "collect"),
        ("/v1/projects/k/settings", "collect"),
        ("/control/sources", "control"),
        ("/openapi.json", "control"),
        ("/v2/batch", None),
        ("/controls", None),
        ("/favicon.ico", None),
    ],
)
def test_each_path_belongs_to_one_api(path: str, api: str | None) -> None:
    assert api_of(path) == api


def test_path_query_and_body_are_passed_on_as_they_came(door: str) -> None:
    target = "/v1/pixel/track?data=a%2Bb+c==&x&x=1&y=%zz"
    said = ask(door, "POST", target, b'{"a": "\xc3\xa9"}', {"Content-Type": "text/plain", "X-Twice": "1"})
    assert said["method"] == "POST"
    assert said["target"] == "/_aws/execute-api/c1/$default" + target
    assert base64.b64decode(said["body"]) == b'{"a": "\xc3\xa9"}'
    assert ["Content-Type", "text/plain"] in said["headers"]


def test_the_control_api_gets_its_own_paths(door: str) -> None:
    for path in ("/control/sources/src_1?limit=2", "/openapi.json"):
        assert ask(door, "GET", path)["target"] == "/_aws/execute-api/c2/$default" + path


def test_only_what_a_client_said_is_passed_on_and_where_it_is(door: str) -> None:
    said = ask(door, "GET", "/v1/x", headers={"Authorization": "Basic a2V5Og==", "X-Forwarded-For": "203.0.113.9"})
    headers = {name.lower(): value for name, value in said["headers"]}
    assert headers["authorization"] == "Basic a2V5Og=="
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-host"] == door.removeprefix("http://")
    assert headers.keys().isdisjoint({"user-agent", "accept", "content-type"})


def test_a_preflight_is_the_clouds_to_answer(door: str) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert ask(door, "OPTIONS", "/v1/batch", headers=asked)["method"] == "OPTIONS"


def test_answers_keep_their_status_and_each_of_their_headers(door: str) -> None:
    answer = requests.get(f"{door}/v1/x", timeout=5)
    assert answer.status_code == 201
    assert answer.raw.headers.getlist("Set-Cookie") == ["a=1", "b=2"]


def test_a_redirect_is_not_followed_but_passed_back(door: str) -> None:
    assert requests.get(f"{door}/v1/moved", timeout=5, allow_redirects=False).headers["Location"] == "/elsewhere"


def test_a_large_answer_arrives_whole(door: str) -> None:
    assert len(requests.get(f"{door}/v1/large", timeout=10).content) == 3_000_000


def test_an_answer_that_breaks_off_is_not_taken_for_whole(door: str) -> None:
    with pytest.raises(requests.RequestException):
        requests.get(f"{door}/v1/cut", timeout=5)


def test_a_compressed_body_stays_compressed_and_is_marked_as_binary(door: str) -> None:
    packed = gzip.compress(b'{"batch": []}')
    said = ask(door, "POST", "/v1/batch", packed, {"Content-Type": "application/json", "Content-Encoding": "gzip"})
    assert base64.b64decode(said["body"]) == packed
    headers = {name.lower(): value for name, value in said["headers"]}
    assert headers["content-encoding"] == "gzip"
    assert headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"", True), (b"{}", True), ("é".encode(), True), (b"\xff", False), (gzip.compress(b"{}", mtime=0), False)],
)
def test_what_is_utf8_is_text(body: bytes, text: bool) -> None:
    assert is_text(body) is text


def test_a_body_too_large_for_an_http_api_is_refused(door: str) -> None:
    assert requests.post(f"{door}/v1/batch", data=b"x" * 10_500_000, timeout=10).status_code == 413


def test_an_unknown_path_is_said_to_be_unknown(door: str) -> None:
    answer = requests.get(f"{door}/v9/x", timeout=5)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert "/v1/batch" in requests.get(door, timeout=5).text


def test_before_the_deploy_clients_are_asked_to_come_back(tmp_path: Path) -> None:
    with served(front_door_app(Doors(tmp_path / "state.json"))) as door:
        answer = requests.post(f"{door}/v1/batch", timeout=5)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert requests.get(f"{door}/health", timeout=5).json() == {"status": "ok", "apis": []}
        with served(cloud_app()) as cloud:
            state_file(tmp_path, cloud)
            assert requests.post(f"{door}/v1/batch", timeout=5).status_code == 201
            assert requests.get(f"{door}/health", timeout=5).json()["apis"] == ["collect", "control"]


def test_while_the_cloud_is_down_clients_are_asked_to_come_back(tmp_path: Path) -> None:
    with served(cloud_app()) as cloud:
        file = state_file(tmp_path, cloud)
    with served(front_door_app(Doors(file))) as door:
        answer = requests.post(f"{door}/v1/batch", data=b"{}", timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json()["error"]["code"] == "cloud_unavailable"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_cloud_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with served(cloud_app()) as cloud:
        doors = Doors(state_file(tmp_path, cloud))
        with served(front_door_app(doors, timeout_s=0.2)) as door:
            assert requests.get(f"{door}/v1/slow", timeout=5).status_code == 504


def test_what_is_more_than_can_be_in_hand_is_asked_to_come_back(tmp_path: Path) -> None:
    with served(cloud_app()) as cloud:
        doors = Doors(state_file(tmp_path, cloud))
        with served(front_door_app(doors, max_in_hand=0)) as door:
            answer = requests.get(f"{door}/v1/x", timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
