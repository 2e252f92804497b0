"""The command line on what a destination did not take: what it asks of the hub, what it prints, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from penstock.local import cli_letters
from penstock.local.cli import main
from penstock.local.home import Home
from penstock.local.hub import Hub, write_hub
from penstock.local.ports import free_port
from tests.local.fake_control import TOKEN, FakeControl
from tests.local.local_servers import served

Run = Callable[..., tuple[int, str, str]]
LETTER = {
    "id": "bGV0dGVy",
    "at": "2026-11-23T16:00:00.000Z",
    "kind": "discarded",
    "reason": "http_404",
    "user": "ada\x1b[31m",
    "event": "Bought",
    "message_id": "m-1",
    "attempts": 1,
    "replayed_at": None,
}
REPLAY = {
    "id": "rpl_1",
    "to": "dst_1",
    "total": None,
    "sent": 0,
    "missing": 0,
    "skipped": 0,
    "reason": None,
    "filter": {},
}


class FakeLetters(FakeControl):
    """Three letters on pages of one, an empty page among them; a replay goes through `states`, one a look."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any]] = []
        self.states = [{"state": "running", "total": 3, "sent": 1}, {"state": "done", "total": 3, "sent": 3}]

    def app(self) -> web.Application:
        app = super().app()
        one = "/control/destinations/{id}"
        app.router.add_get(f"{one}/letters", self.letters)
        app.router.add_get(f"{one}/letters/{{letter}}", self.letter)
        app.router.add_post(f"{one}/letters/{{letter}}/replay", self.begin)
        app.router.add_post(f"{one}/replays", self.begin)
        app.router.add_get(f"{one}/replays", self.replays)
        app.router.add_get(f"{one}/replays/{{replay}}", self.look)
        app.router.add_post(f"{one}/replays/{{replay}}/cancel", self.cancel)
        return app

    async def letters(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        page = int(query.pop("next", "0"))
        self.asked.append((request.path, query))
        shown = [] if page == 1 else [{**LETTER, "message_id": f"m-{page}"}]
        return web.json_response({"letters": shown, "next": str(page + 1) if page < 3 else None})

    async def letter(self, request: web.Request) -> web.Response:
        return web.json_response({**LETTER, "content": {"type": "track"}})

    async def begin(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, await request.json()))
        return web.json_response({**REPLAY, "state": "pending"}, status=201)

    async def look(self, request: web.Request) -> web.Response:
        return web.json_response({**REPLAY, **(self.states.pop(0) if len(self.states) > 1 else self.states[0])})

    async def replays(self, request: web.Request) -> web.Response:
        return web.json_response({"replays": [{**REPLAY, "state": "done", "created_at": "now"}], "next": None})

    async def cancel(self, request: web.Request) -> web.Response:
        return web.json_response({**REPLAY, "state": "cancelled"})


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLetters]:
    home = Home(tmp_path, cloud_port=free_port(), port=free_port(), sink_port=free_port())
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for variable in ("PENSTOCK_URL", "PENSTOCK_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(cli_letters, "LOOK_EVERY_S", 0.0)
    fake = FakeLetters()
    with served(fake.app()) as url:
        write_hub(home, Hub(url, TOKEN, "ws_1", "src_1", "key", "http://127.0.0.1:1"))
        yield fake


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(("destinations", *arguments))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return ran


def test_letters_are_listed_over_pages_by_filter_and_no_name_commands_the_terminal(
    control: FakeLetters, run: Run
) -> None:
    code, said, _ = run("dead", "dst_1", "--reason", "http_404", "--kind", "discarded")
    assert (code, control.asked[0][1]) == (0, {"reason": "http_404", "kind": "discarded", "limit": "100"})
    assert all(message in said for message in ("m-0", "m-2", "m-3"))
    assert "\x1b[31m" not in said
    assert len(json.loads(run("dead", "dst_1", "--limit", "2", "--json")[1])) == 2


def test_one_letter_is_shown_whole(control: FakeLetters, run: Run) -> None:
    assert json.loads(run("dead", "dst_1", "bGV0dGVy")[1])["content"] == {"type": "track"}


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["--all"], "replays", {"filter": {"include_replayed": False}, "to": None}),
        (["bGV0dGVy", "--to", "dst_2"], "letters/bGV0dGVy/replay", {"to": "dst_2"}),
        (
            ["--reason", "timeout", "--since", "2026-11-23T16:00:00Z", "--again"],
            "replays",
            {"filter": {"reason": "timeout", "from": "2026-11-23T16:00:00Z", "include_replayed": True}, "to": None},
        ),
    ],
)
def test_a_replay_is_begun_and_followed_to_its_end(
    control: FakeLetters, run: Run, arguments: list[str], path: str, body: Any
) -> None:
    code, said, _ = run("replay", "dst_1", *arguments)
    assert control.asked == [(f"/control/destinations/dst_1/{path}", body)]
    assert (code, said.strip()) == (0, "rpl_1 is done: 3 of 3 sent to dst_1")


def test_nobody_has_to_wait_for_a_replay(control: FakeLetters, run: Run) -> None:
    assert json.loads(run("replay", "dst_1", "--all", "--no-wait", "--json")[1])["state"] == "pending"


def test_a_replay_that_fails_ends_with_1_and_says_why(control: FakeLetters, run: Run) -> None:
    control.states = [
        {"state": "failed", "total": 3, "sent": 1, "missing": 1, "skipped": 0, "reason": "destination_disabled"}
    ]
    code, said, _ = run("replay", "dst_1", "--all")
    assert code == 1
    assert said.strip() == "rpl_1 is failed (destination_disabled): 1 of 3 sent to dst_1, 1 gone"


@pytest.mark.parametrize("arguments", [[], ["bGV0dGVy", "--all"], ["--all", "--reason", "x"], ["--again"]])
def test_what_to_replay_is_said_in_one_way(control: FakeLetters, run: Run, arguments: list[str]) -> None:
    code, _, complaint = run("replay", "dst_1", *arguments)
    assert (code, control.asked) == (1, [])
    assert "--all" in complaint


def test_replays_are_listed_and_cancelled(control: FakeLetters, run: Run) -> None:
    assert "rpl_1" in run("replays", "dst_1")[1]
    assert json.loads(run("replays", "dst_1", "--cancel", "rpl_1", "--json")[1])["state"] == "cancelled"
