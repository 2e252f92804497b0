"""What browsers and beacons find at the front door of a real hub."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.e2e.running_hub import RunningHub, numbers, penstock, track


def test_a_browser_of_any_origin_may_send(running: RunningHub) -> None:
    pipe = running.new_pipe()
    origin = {"Origin": "https://shop.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = requests.options(f"{running.hub.url}/v1/t", headers={**origin, **asked}, timeout=10)
    assert preflight.ok
    assert preflight.headers["Access-Control-Allow-Origin"] in ("*", "https://shop.example")
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert {"authorization", "content-type"} <= set(
        preflight.headers["Access-Control-Allow-Headers"].lower().split(",")
    )
    assert int(preflight.headers["Access-Control-Max-Age"]) > 0
    body = json.dumps({**track("ada", 1), "writeKey": pipe.write_key})
    sent = requests.post(
        f"{running.hub.url}/v1/t", data=body, headers={**origin, "Content-Type": "text/plain"}, timeout=30
    )
    assert sent.status_code == 200
    assert sent.headers["Access-Control-Allow-Origin"] in ("*", "https://shop.example")
    assert numbers(pipe.wait_for_events(1)) == [1]


def test_a_pixel_counts(running: RunningHub) -> None:
    pipe = running.new_pipe()
    data = base64.b64encode(json.dumps({**track("ada", 1), "writeKey": pipe.write_key}).encode()).decode()
    answer = requests.get(f"{running.hub.url}/v1/pixel/track", params={"data": data}, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/gif"
    assert answer.content.startswith(b"GIF8")
    assert numbers(pipe.wait_for_events(1)) == [1]


def test_the_browser_library_finds_its_settings(running: RunningHub) -> None:
    pipe = running.new_pipe()
    answer = requests.get(f"{running.hub.url}/v1/projects/{pipe.write_key}/settings", timeout=30)
    assert answer.status_code == 200
    assert answer.json()["integrations"]["Segment.io"]["apiKey"] == pipe.write_key


def test_bytes_that_are_no_text_are_refused(running: RunningHub) -> None:
    pipe = running.new_pipe()
    for body in (b'{"batch": ["\xff"]}', b"\x1f\x8bno gzip"):
        answer = requests.post(
            f"{running.hub.url}/v1/batch",
            data=body,
            auth=(pipe.write_key, ""),
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert answer.status_code == 400


def test_the_control_api_describes_itself(running: RunningHub) -> None:
    answer = requests.get(f"{running.hub.url}/openapi.json", timeout=30)
    assert answer.status_code == 200
    assert "/control/sources" in answer.json()["paths"]


def test_the_control_api_lets_nobody_in_without_a_token(running: RunningHub) -> None:
    answer = requests.get(f"{running.hub.url}/control/sources", timeout=30)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"]


def test_a_file_of_events_is_sent_in_its_order(running: RunningHub, tmp_path: Path) -> None:
    pipe = running.new_pipe()
    file = tmp_path / "events.jsonl"
    lines = [json.dumps(track("ada", number)) for number in range(700)]
    file.write_text("\n".join([*lines[:3], '{"type": "track", "event": "Nobody\'s"}', *lines[3:]]))
    sent = penstock(running.home, "send", str(file), "--write-key", pipe.write_key, "--json")
    assert sent.code == 1
    report = json.loads(sent.said)
    assert report["accepted"] == 700
    assert [(one["line"], one["code"]) for one in report["rejected"]] == [(4, "missing_identifier")]
    assert numbers(pipe.wait_for_events(700)) == list(range(700))


def test_what_a_source_receives_can_be_watched(running: RunningHub) -> None:
    pipe, other = running.new_pipe(), running.new_pipe()
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(penstock, running.home, "tail", "--source", pipe.source_id, "--count", "1", "--json")
        while not watched.done():
            other.post(track("bob", 1))
            pipe.post(track("ada", 2))
            time.sleep(0.2)
    assert watched.result().code == 0
    assert json.loads(watched.result().said)["event"]["userId"] == "ada"
