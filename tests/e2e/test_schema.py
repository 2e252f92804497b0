"""Schemas of a real hub: what a query, the feed, a destination and a person at a terminal are told is one story."""

from __future__ import annotations

from typing import Any

import jsonschema
from segment.analytics import Client

from penstock.local.control_client import Refusal
from tests.e2e.running_hub import Pipe, RunningHub, penstock, send_by_library, track, wait_for_effect
from tests.e2e.waiting import wait_for

Json = dict[str, Any]

STORY = [(1.5, "number"), ("text", "string"), ({"amount": 1}, "object")]
WAIT_S = 8
ROUNDS = 10


def asked(pipe: Pipe, path: str = "", **query: str | int) -> Json:
    """What the API says of the source; nothing as long as it has not seen what is asked for."""
    try:
        return pipe.running.control.get(f"/control/sources/{pipe.source_id}/schema{path}", **query)
    except Refusal as refusal:
        assert refusal.code == "event_not_found"
        return {}


def paths(pipe: Pipe, path: str = "/events/Counted") -> dict[str, Json]:
    return {each["path"]: each for each in asked(pipe, path).get("paths", [])}


def known(pipe: Pipe, path: str) -> Json:
    return paths(pipe).get(path) or {"kinds": [], "count": 0}


def counts(pipe: Pipe) -> dict[str, int]:
    return {each["event"] or each["call"]: each["count"] for each in asked(pipe)["events"]}


def followed_until(pipe: Pipe, kind: str, feed: list[Json], after: str) -> str:
    """Follow the feed until it tells of the kind, as any client would; where to go on."""
    for _ in range(ROUNDS):
        page = asked(pipe, "/changes", after=after, wait=WAIT_S)
        feed += page["changes"]
        after = page["next"]
        if any((each["path"], each["kind"]) == ("properties.total", kind) for each in page["changes"]):
            return after
    raise AssertionError(f"the feed did not tell of {kind}: {feed}")


def is_valid(event: Json, schema: Json) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(event)


def test_number_then_string_then_object_is_one_story_wherever_it_is_told(running: RunningHub) -> None:
    pipe = running.new_pipe(destinations=2)
    told = pipe.paths[1]
    wants = {"schema_changes": True, "subscription": 'type = "none of the clients"'}
    running.control.patch(f"/control/destinations/{pipe.destinations[1]['id']}", wants)
    wait_for_effect()
    feed: list[Json] = []
    after = "0"
    for number, (value, kind) in enumerate(STORY, 1):
        pipe.post(track("ada", number, properties={"total": value}))
        wait_for(f"{kind} in the schema", lambda kind=kind: kind in known(pipe, "properties.total")["kinds"])
        wait_for(f"a count of {number}", lambda number=number: known(pipe, "properties.total")["count"] == number)
        after = followed_until(pipe, kind, feed, after)

    amount = wait_for("the path inside", lambda: paths(pipe).get("properties.total.amount"))
    total = known(pipe, "properties.total")
    assert (amount["kinds"], amount["column"]) == (["integer"], "total_amount")
    assert (total["kinds"], total["type"], total["column"]) == (["number", "object", "string"], "number", "total")
    assert total["variants"] == [{"column": "total__string", "type": "string"}]
    assert (total["conflict"], total["counts"]) == (True, {"number": 1, "object": 1, "string": 1})

    whole = asked(pipe, "/changes", after="0")["changes"]
    assert [each["version"] for each in whole] == list(range(1, len(whole) + 1))
    assert whole[: len(feed)] == feed
    assert [(each["change"], each["kind"]) for each in whole if each["path"] == "properties.total"] == [
        ("added", "number"),
        ("conflict", "string"),
        ("conflict", "object"),
    ]
    assert asked(pipe, "/events/Counted")["version"] == whole[-1]["version"]

    arrived = pipe.wait_for_events(len(whole), told)
    assert [each["properties"] for each in arrived] == whole
    assert [each["messageId"] for each in arrived] == [f"{pipe.source_id}#{each['version']}" for each in whole]
    assert {(each["type"], each["event"]) for each in arrived} == {("schema_change", "Schema Changed")}
    assert [each["properties"]["total"] for each in pipe.wait_for_events(3)] == [value for value, _ in STORY]

    shown = penstock(running.home, "schema", pipe.source_id, "Counted")
    assert shown.code == 0, shown.complaint
    [line] = [line for line in shown.said.splitlines() if line.startswith("properties.total ")]
    assert line.split()[-2:] == ["3", "conflict"]


def test_the_json_schema_of_an_event_is_kept_by_all_that_were_sent_and_delivered(running: RunningHub) -> None:
    pipe = running.new_pipe()
    sent = [
        track("ada", 1, properties={"n": 1, "list": [1, "x", {"c": None}], "a.b": {"": True}}),
        track("ada", 2, properties={"n": 2.5, "list": "text", "when": "2026-11-23T16:00:00Z"}),
        track("bob", 3, properties={"n": None, "list": {}, "when": "soon"}),
        track("bob", 4, properties={"new": [[1], []]}),
    ]
    odd = ({"n": "text"}, {"list": True}, {"list": [False]}, {"when": 1}, {"a.b": {"": "no"}}, {"new": [["text"]]})
    strangers = [track("eve", 5, properties=each) for each in odd]
    for event in sent:
        pipe.post(event)

    def settled() -> Json | None:
        schema = asked(pipe, "/events/Counted", format="jsonschema")
        return None if not schema or any(is_valid(event, schema) for event in strangers) else schema

    schema = wait_for("a schema that knows all that was sent", settled)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for event in [*sent, *pipe.wait_for_events(len(sent))]:
        jsonschema.Draft202012Validator(schema).validate(event)
    assert asked(pipe, "/events", event="Counted", format="jsonschema") == schema


def test_counts_are_of_all_that_the_library_sent_whoever_sent_it(running: RunningHub) -> None:
    pipe = running.new_pipe()
    send_by_library(pipe, users=12, each=10)
    troubles: list[Exception] = []
    client = Client(pipe.write_key, host=running.hub.url, on_error=lambda error, _: troubles.append(error))
    for user in range(5):
        client.identify(f"user-{user}", {"plan": "pro"})
        client.track(f"user-{user}", "Shelf/Viewed", {"shelf": user})
    client.flush()
    client.join()
    assert troubles == []
    expected = {"Counted": 120, "Shelf/Viewed": 5, "identify": 5}
    wait_for("the counts", lambda: counts(pipe) == expected)
    wait_for("the count of one event", lambda: known(pipe, "properties.n")["count"] == 120)
    assert known(pipe, "context.library.name")["counts"] == {"string": 120}
    assert paths(pipe, "/calls/identify")["traits.plan"]["count"] == 5
    assert asked(pipe, "/events", event="Shelf/Viewed")["count"] == 5
    assert len(pipe.wait_for_events(130)) == 130
    assert counts(pipe) == expected


def test_user_ids_as_names_become_one_path_and_every_event_is_delivered(running: RunningHub) -> None:
    pipe = running.new_pipe()
    users = [f"user-{number}" for number in range(150)]
    for first in range(0, len(users), 10):
        pipe.post(*[track(user, 1, properties={"by": {user: 1}}) for user in users[first : first + 10]])
    star = "properties.by.*"
    wait_for("the count of all values", lambda: known(pipe, star)["count"] == len(users), within_s=120)
    wait_for("no name being a path", lambda: not any(user in path for path in paths(pipe) for user in users))
    view = asked(pipe, "/events/Counted")
    assert [(each["guard"], each["path"], each["limit"]) for each in view["guards"]] == [("key_explosion", star, 100)]
    assert (view["count"], known(pipe, "properties.by")["count"]) == (len(users), len(users))
    arrived = pipe.wait_for_events(len(users))
    assert sorted(each["userId"] for each in arrived) == sorted(users)
