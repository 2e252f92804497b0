"""The command line: what it asks of the hub, what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from penstock.local.cli import main
from penstock.local.home import Home
from penstock.local.hub import Hub, State, write_hub, write_state
from penstock.local.ports import free_port
from penstock.local.processes import Background
from penstock.local.sink import sink_app
from tests.local.fake_control import TOKEN, FakeControl
from tests.local.local_servers import served

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path, cloud_port=free_port(), port=free_port(), sink_port=free_port())
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    for variable, port in home.ports.items():
        monkeypatch.setenv(variable, str(port))
    for variable in ("PENSTOCK_URL", "PENSTOCK_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return home


@pytest.fixture
def hub(home: Home, control: FakeControl) -> Iterator[Hub]:
    with served(control.app()) as url, served(sink_app()) as sink:
        hub = Hub(url, TOKEN, "ws_1", "src_1", "key", sink)
        write_hub(home, hub)
        yield hub


@pytest.fixture
def run(home: Home, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; its exit code, what it printed, and what it complained of."""

    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return ran


def test_a_source_is_made_disabled_enabled_and_deleted(hub: Hub, control: FakeControl, run: Run) -> None:
    code, said, _ = run("sources", "create", "Shop", "--json")
    source = json.loads(said)["id"]
    assert (code, control.items["sources"][source]["name"]) == (0, "Shop")
    run("sources", "disable", source)
    assert control.items["sources"][source]["enabled"] is False
    run("sources", "enable", source)
    assert json.loads(run("sources", "show", source, "--json")[1])["enabled"] is True
    assert run("sources", "delete", source)[0] == 0
    assert control.items["sources"] == {}


def test_write_keys_are_added_rotated_switched_and_deleted(hub: Hub, control: FakeControl, run: Run) -> None:
    source = json.loads(run("sources", "create", "Shop", "--json")[1])["id"]
    first = json.loads(run("sources", "keys", source, "--json")[1])[0]["key"]
    second = json.loads(run("sources", "add-key", source, "--json")[1])["key"]
    third = json.loads(run("sources", "rotate-key", source, first, "--json")[1])["key"]
    run("sources", "disable-key", source, first)
    run("sources", "delete-key", source, second)
    keys = control.items["sources"][source]["write_keys"]
    assert [(key["key"], key["enabled"]) for key in keys] == [(first, False), (third, True)]
    run("sources", "enable-key", source, first)
    assert keys[0]["enabled"] is True


def test_a_list_is_shown_whole_however_many_pages_it_has(hub: Hub, run: Run) -> None:
    assert run("sources", "list")[1].strip() == "none"
    for name in ("one", "two", "three"):
        run("sources", "create", name)
    assert [item["name"] for item in json.loads(run("sources", "list", "--json")[1])] == ["one", "two", "three"]
    assert all(name in run("sources", "list")[1] for name in ("one", "two", "three"))
    assert [each["mode"] for each in json.loads(run("sources", "quotas", "--json")[1])] == ["live"] * 3


def test_a_destination_is_made_for_every_source_and_changed_by_what_is_given(
    hub: Hub, control: FakeControl, run: Run
) -> None:
    source = json.loads(run("sources", "create", "Shop", "--json")[1])["id"]
    made = run("destinations", "create", "Hook", "--url", "http://h/x", "--header", "X-Team: a: b", "--json")
    destination = json.loads(made[1])["id"]
    assert control.items["destinations"][destination] == {
        "id": destination,
        "enabled": True,
        "name": "Hook",
        "type": "webhook",
        "source_ids": [source],
        "settings": {"url": "http://h/x", "headers": {"X-Team": "a: b"}},
    }
    run("destinations", "update", destination, "--secret", "s", "--subscription", 'type = "track"')
    changed = control.items["destinations"][destination]
    assert (changed["settings"], changed["subscription"]) == ({"secret": "s"}, 'type = "track"')
    signed = run("destinations", "update", destination, "--signing-secret", "whsec_x")
    assert (signed[0], changed["settings"]) == (0, {"signing_secret": "whsec_x"})
    rotated = run("destinations", "rotate-secret", destination, "--overlap", "60", "--json")
    assert json.loads(rotated[1]) == {"signing_secret": "whsec_new", "overlap_s": 60}
    run("destinations", "disable", destination)
    assert changed["enabled"] is False
    run("destinations", "enable", destination)
    assert changed["enabled"] is True
    assert run("destinations", "delete", destination)[0] == 0


def test_a_destination_is_paused_resumed_and_looked_at(hub: Hub, run: Run) -> None:
    run("destinations", "pause", "dst_1", "--reason", "the shop moves")
    assert json.loads(run("destinations", "gate", "dst_1", "--json")[1]) == {
        "state": "paused",
        "reason": "the shop moves",
    }
    assert json.loads(run("destinations", "resume", "dst_1", "--json")[1]) == {"state": "open"}
    assert json.loads(run("destinations", "pause", "dst_1", "--json")[1]) == {"state": "paused"}


def test_a_token_is_made_with_its_scopes_and_deleted(hub: Hub, control: FakeControl, run: Run) -> None:
    made = run("tokens", "create", "CI", "--scope", "sources:read", "--scope", "audit:read", "--json")
    token = json.loads(made[1])["id"]
    assert control.items["tokens"][token]["scopes"] == ["sources:read", "audit:read"]
    assert run("tokens", "delete", token)[0] == 0
    assert run("tokens", "list")[1].strip() == "none"


def seen(event: str | None, call: str = "track", **more: Any) -> dict[str, Any]:
    """What the API answers of an event."""
    times = {"first_seen": "2026-01-01T00:00:00.000Z", "last_seen": "2026-01-02T00:00:00.000Z"}
    known = {"call": call, "event": event, "table": "orders", "version": 3, "count": 7, **times}
    return {**known, "paths": [], "guards": [], **more}


def path_seen(path: str, *kinds: str, **more: Any) -> dict[str, Any]:
    known = {"path": path, "kinds": list(kinds), "type": kinds[0], "column": "a_column", "variants": [], "count": 5}
    return {**known, "conflict": False, "counts": {}, "first_seen": "", "last_seen": "", **more}


def change(version: int, event: str | None = "Ordered", call: str = "track") -> dict[str, Any]:
    """What the feed tells of a property that was text and is a number."""
    what = {"change": "conflict", "path": "properties.total", "kind": "number", "kinds": ["number", "string"]}
    column = {"type": "number", "column": "total__number"}
    return {"version": version, **what, "call": call, "event": event, **column, "at": "2026-01-01T00:00:00.000Z"}


@pytest.fixture
def watched(control: FakeControl, run: Run) -> Iterator[Callable[..., tuple[int, list[str]]]]:
    """Watch while things happen, one at each wait, and then interrupt: the exit code and the lines.

    Whoever starts tests in the background may have them ignore interruptions.
    """

    def watch(*arguments: str, while_: Callable[[], None] = lambda: None) -> tuple[int, list[str]]:
        happenings = iter([while_, interrupt])
        control.meanwhile = lambda: next(happenings)()
        code, said, complaint = run("schema", *arguments, "--watch")
        assert complaint == ""
        return code, said.splitlines()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield watch
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_a_sources_events_are_listed_with_their_counts(hub: Hub, control: FakeControl, run: Run) -> None:
    control.schemas = [seen(None, "identify", count=2), seen("Ordered"), seen("Shipped/\x1b[31mlate")]
    code, said, _ = run("schema", "src_1")
    assert code == 0
    assert [line.split()[:3] for line in said.splitlines()[1:]] == [
        ["identify", "2", "2026-01-01T00:00:00.000Z"],
        ["track", "Ordered", "7"],
        ["track", "Shipped/\\x1b[31mlate", "7"],
    ]
    assert [each["event"] for each in json.loads(run("schema", "src_1", "--json")[1])] == [
        None,
        "Ordered",
        "Shipped/\x1b[31mlate",
    ]


def test_an_events_paths_are_shown_with_what_contradicts_itself_and_what_guards_it(
    hub: Hub, control: FakeControl, run: Run
) -> None:
    variants = [{"column": "total__string", "type": "string"}]
    conflict = path_seen("properties.total", "number", "string", column="total", variants=variants, conflict=True)
    guard = {"guard": "key_explosion", "path": "properties.by.*", "limit": 100, "message": "so many are keys"}
    found = seen("Ordered/late", paths=[conflict, path_seen("properties.by.*", "integer")], guards=[guard])
    control.schemas = [found]
    code, said, _ = run("schema", "src_1", "Ordered/late")
    assert code == 0
    head, _, total, by, guarded = said.splitlines()
    assert head.startswith("track Ordered/late: 7 from 2026-01-01T00:00:00.000Z to 2026-01-02")
    assert " ".join(total.split()) == "properties.total number, string number total, total__string (string) 5 conflict"
    assert " ".join(by.split()) == "properties.by.* integer integer a_column 5"
    assert guarded == "guard key_explosion at properties.by.*: so many are keys (past 100)"
    assert json.loads(run("schema", "src_1", "Ordered/late", "--json")[1]) == found


def test_a_call_without_a_name_has_a_schema_too(hub: Hub, control: FakeControl, run: Run) -> None:
    control.schemas = [seen(None, "identify")]
    assert run("schema", "src_1", "--call", "identify")[1].startswith("identify: 7 from")
    assert run("schema", "src_1", "identify")[2] == "penstock: no such call has been seen [404 event_not_found]\n"
    assert run("schema", "src_1", "Ordered", "--call", "identify")[2].startswith("penstock: either EVENT or --call")


def test_a_source_goes_by_its_name_where_it_is_the_only_one(hub: Hub, control: FakeControl, run: Run) -> None:
    control.schemas = [seen("Ordered")]
    for name in ("Shop", "Other", "Twin", "Twin"):
        run("sources", "create", name)
    assert "Ordered" in run("schema", "Shop")[1]
    assert run("schema", "Nobody")[2] == "penstock: no source has the name 'Nobody'\n"
    assert run("schema", "Twin")[2].startswith("penstock: 2 sources have the name 'Twin': give one of sou_")


def test_what_is_new_is_watched_until_an_interruption(hub: Hub, control: FakeControl, watched: Any) -> None:
    control.changes = [change(version) for version in range(1, 6)]
    code, lines = watched("src_1", while_=lambda: control.changes.extend([change(6), change(7, None, "identify")]))
    assert code == 130
    assert lines == [
        f"{named} properties.total number (kinds number, string; type number, column total__number)"
        for named in (
            "6 2026-01-01T00:00:00.000Z conflict track Ordered",
            "7 2026-01-01T00:00:00.000Z conflict identify",
        )
    ]


def test_one_event_or_one_call_is_watched_alone_and_from_the_start(
    hub: Hub, control: FakeControl, watched: Any
) -> None:
    control.changes = [change(1), change(2, "Shipped"), change(3, None, "identify"), change(4)]
    for subject, versions in ((["Ordered"], [1, 4]), (["--call", "identify"], [3]), ([], [1, 2, 3, 4])):
        lines = watched("src_1", *subject, "--from-start", "--json")[1]
        assert [json.loads(line)["version"] for line in lines] == versions


def test_who_is_about_to_delete_a_destination_is_told_that_what_waits_is_kept(run: Run) -> None:
    code, said, _ = run("destinations", "delete", "--help")
    assert (code, "dead letters" in " ".join(said.split())) == (0, True)


def test_a_refusal_is_one_clear_line_and_a_one(hub: Hub, run: Run) -> None:
    code, said, complaint = run("sources", "create", "")
    assert (code, said) == (1, "")
    assert complaint == "penstock: name must not be empty (field name) [400 invalid_name]\n"
    assert run("sources", "show", "src_9")[2] == "penstock: no such thing [404 not_found]\n"
    assert run("destinations", "update", "dst_1")[2] == "penstock: nothing to change was given\n"


def test_without_a_hub_it_is_said_how_to_get_one(run: Run) -> None:
    for arguments in (["sources", "list"], ["tail"], ["send", "x.jsonl"]):
        code, _, complaint = run(*arguments)
        assert code == 1
        assert complaint.startswith("penstock: no hub is running here")
        assert complaint.count("\n") == 1
    assert run("tail", "--source", "src_1")[2].startswith("penstock: no hub is running here")


def test_a_hub_in_the_cloud_is_named_by_the_environment(
    control: FakeControl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(control.app()) as url:
        monkeypatch.setenv("PENSTOCK_URL", url + "/")
        assert run("sources", "list")[2] == "penstock: PENSTOCK_URL is set and PENSTOCK_TOKEN is not\n"
        monkeypatch.setenv("PENSTOCK_TOKEN", TOKEN)
        assert run("sources", "list")[0] == 0
        monkeypatch.setenv("PENSTOCK_TOKEN", "another")
        assert run("sources", "list")[2] == "penstock: the token is unknown [401 unknown_token]\n"
    assert "does not answer" in run("sources", "list")[2]


def test_tail_shows_what_the_sink_received(hub: Hub, run: Run) -> None:
    for n in range(3):
        requests.post(f"{hub.sink_url}/{'a' if n < 2 else 'b'}", data=f"body {n}", timeout=5)
    said = run("tail", "--from-start", "--path", "/a", "--count", "2", "--json")[1]
    assert [json.loads(line)["body"] for line in said.splitlines()] == ["body 0", "body 1"]
    assert "/b 200 body 2" in run("tail", "--from-start", "--count", "3")[1]
    requests.post(f"{hub.sink_url}/c", data="\x1b[2J\x9b2J".encode(), timeout=5)
    assert r"\x1b[2J\x9b2J" in run("tail", "--from-start", "--count", "4")[1]
    assert r"\u001b[2J\u009b2J" in run("tail", "--from-start", "--count", "4", "--json")[1]


def test_a_file_that_cannot_be_read_is_one_clear_line(hub: Hub, tmp_path: Path, run: Run) -> None:
    assert run("send", str(tmp_path / "absent.jsonl"))[2].endswith("cannot be read: No such file or directory\n")


def test_a_taken_port_is_one_clear_line(home: Home, run: Run) -> None:
    with socket.create_server(("127.0.0.1", home.sink_port)):
        code, _, complaint = run("up", "--no-env")
    assert code == 1
    assert complaint.startswith(f"penstock: port {home.sink_port} is taken by another program")
    assert complaint.count("\n") == 1
    assert not home.hub_file.exists()


def test_down_without_a_hub_says_so_and_succeeds(run: Run) -> None:
    code, said, _ = run("down", "--no-env")
    assert (code, said) == (0, "No hub is running; nothing to do.\n")


def test_a_hub_whose_processes_died_is_seen_and_cleared_away(home: Home, hub: Hub, run: Run) -> None:
    write_state(home, State(ports=home.ports, processes={"cloud": Background(pid=2**22 - 1, born="long ago")}))
    code, said, _ = run("status")
    assert code == 1
    assert "ended" in said
    assert json.loads(run("status", "--json")[1])["running"] is False
    code, said, _ = run("down", "--no-env")
    assert code == 0
    assert "Nothing is left" in said
    assert not home.hub_file.exists()
    assert not home.state_file.exists()
