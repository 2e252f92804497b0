"""`penstock destinations health` and `penstock trace`: what they ask, and what a person reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.local import cli_health
from penstock.local.cli_health import bars, milliseconds, span
from penstock.local.hub import Hub
from tests.local.fake_control import FakeControl
from tests.local.test_cli import Run, control, home, hub, run

__all__ = ["control", "home", "hub", "run"]  # fixtures

COUNTS = dict.fromkeys(cli_health.COUNTS, 0)


def healthy(**fields: Any) -> dict[str, Any]:
    window = COUNTS | {"delivered": 7, "delivered_share": 0.5, "discarded_by": {}, "dead_by": {}}
    plain = {
        "since": "2026-11-23T16:00:00.000Z",
        "counted_to": "2026-11-25T16:00:00.000Z",
        "queued": 3,
        "oldest_age_s": 90.0,
        "gate": {"state": "closed", "reason": "failing", "since": "2026-11-25T15:59:00.000Z"},
        "rate": {"requests_per_s": 5.0, "concurrency": 2, "paused_until": None},
        "p50_ms": 120.0,
        "p95_ms": None,
        "errors": [
            {"cause": "http_503", "count": 4, "sample": {"message_id": "m-1", "status": 503, "body": "[later]"}}
        ],
        "window": window,
        "per_minute": [{"at": "2026-11-25T15:59:00.000Z", **COUNTS, "delivered": 7}],
    }
    return COUNTS | plain | {"accepted": 4711} | fields


def test_health_is_a_table_of_what_became_of_events(hub: Hub, control: FakeControl, run: Run) -> None:
    control.healths = [healthy()]
    code, said, _ = run("destinations", "health", "dst_1", "--minutes", "15")
    assert code == 0
    for text in ("closed (failing)", "3 jobs, the oldest 1.5 min", "120 ms", "5 requests/s, 2 at once", "last 15 min"):
        assert text in said
    assert "4711" in said and "http_503" in said and "[later]" in said


def test_what_is_not_counted_up_to_now_is_asked_again(hub: Hub, control: FakeControl, run: Run) -> None:
    control.healths = [healthy(accepted=1), healthy(accepted=2), healthy(accepted=3)]
    found = json.loads(run("destinations", "health", "dst_1", "--json")[1])
    assert (found["accepted"], found["is_complete"]) == (3, True)


def test_an_answer_that_stays_incomplete_says_so(
    hub: Hub, control: FakeControl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_health, "MOST_ROUNDS", 2)
    control.healths = [healthy()] * 5
    assert "there was more to count" in run("destinations", "health", "dst_1")[1]


def test_watching_asks_again_until_it_is_interrupted(
    hub: Hub, control: FakeControl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.healths = [healthy()]
    asked, rounds = cli_health.health_of, iter(range(2))

    def counted(*given: Any) -> dict[str, Any]:
        if next(rounds, None) is None:
            raise KeyboardInterrupt
        found = asked(*given)
        control.healths = [healthy(queued=99)]
        return found

    monkeypatch.setattr(cli_health, "health_of", counted)
    monkeypatch.setattr(cli_health, "EVERY_S", 0.0)
    code, said, _ = run("destinations", "health", "dst_1", "--watch")
    assert code == 130
    assert "99 jobs" in said


def test_a_trace_tells_every_destinations_verdict(hub: Hub, control: FakeControl, run: Run) -> None:
    last = {"status": 404, "trouble": None, "body": "no such [thing]"}
    destinations = [
        {"id": "dst_1", "name": "Hook", "verdict": "discarded", "reason": "http_404", "attempts": 1, "at": "then"},
        {"id": "dst_2", "name": "Other", "verdict": "filtered", "reason": None, "attempts": None, "at": None},
    ]
    control.trace = {
        "unasked_sources": ["src_2", "src_3"],
        "events": [
            {
                "source": "src_1",
                "day": "2026-11-25",
                "record": "shard-7",
                "index": 3,
                "accepted_at": "2026-11-25T15:59:00.000Z",
                "destinations": [destinations[0] | {"last": last}, destinations[1] | {"last": None}],
            }
        ],
    }
    code, said, _ = run("trace", "a/b?c", "--user", "ada", "--source", "src_1")
    assert (code, control.asked) == (0, [{"message_id": "a/b?c", "user": "ada", "source": "src_1"}])
    for text in (
        "src_1 accepted it 2026-11-25T15:59:00.000Z",
        "discarded",
        "404 no such [thing]",
        "filtered",
        "src_2, src_3",
    ):
        assert text in said
    assert json.loads(run("trace", "m", "--user", "ada", "--json")[1]) == control.trace


ORDERS = "\x1b]0;yours\x07 \x1b[2J \x9b2J \r\n ok"
WRITTEN_OUT = "\\x1b]0;yours\\x07 \\x1b[2J \\x9b2J \\r\\n ok"


def commands_in(said: str) -> set[str]:
    return {character for character in said if not character.isprintable()} - {"\n"}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_in_a_destinations_health_commands_the_terminal(
    hub: Hub, control: FakeControl, run: Run, options: list[str]
) -> None:
    sample = {"message_id": ORDERS, "status": 503, "body": ORDERS}
    gate = {"state": "paused", "reason": ORDERS, "since": None}
    found = healthy(errors=[{"cause": "http_503", "count": 4, "sample": sample}], gate=gate)
    control.healths = [found]
    code, said, _ = run("destinations", "health", "dst_1", *options)
    assert (code, commands_in(said)) == (0, set())
    if options:
        assert json.loads(said)["errors"] == found["errors"]
    else:
        assert f"paused ({WRITTEN_OUT})" in said


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_in_a_trace_commands_the_terminal(hub: Hub, control: FakeControl, run: Run, options: list[str]) -> None:
    last = {"status": 404, "trouble": None, "body": ORDERS}
    told = {"id": "dst_1", "name": ORDERS, "verdict": "dead", "reason": "http_404", "attempts": 1, "at": "then"}
    event = {"source": "src_1", "day": "2026-11-25", "record": "shard-7", "index": 3, "accepted_at": None}
    control.trace["events"] = [event | {"destinations": [told | {"last": last}]}]
    code, said, _ = run("trace", "m", "--user", "ada", *options)
    assert (code, commands_in(said)) == (0, set())
    assert json.loads(said) == control.trace if options else "yours" in said


def test_nothing_that_a_person_named_or_a_hub_complains_of_commands_the_terminal(
    hub: Hub, control: FakeControl, run: Run
) -> None:
    run("sources", "create", ORDERS)
    for arguments in (["sources", "list"], ["sources", "show", "sou_1"], ["sources", "show", "sou_1", "--json"]):
        code, said, _ = run(*arguments)
        assert (code, commands_in(said)) == (0, set())
        assert "yours" in said
    code, _, complaint = run("send", ORDERS)
    assert (code, commands_in(complaint)) == (1, set())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "none"), (0.4, "just now"), (59, "59 s"), (90, "1.5 min"), (7_200, "2 h"), (90_000, "1.04 d")],
)
def test_a_span_of_time_is_told_in_one_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_times_and_bars_are_short() -> None:
    assert [milliseconds(value) for value in (None, 7.4, 9_999.0, 60_000.0)] == ["–", "7 ms", "9999 ms", "1 min"]
    assert bars([0, 1, 8, -3]) == "▁▂█▁"
    assert len(bars(list(range(500)))) == 60
