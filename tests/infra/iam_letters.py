"""What the control API and `replay` do for letters, all of it; deliver's part is to have some."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3

Json = dict[str, Any]
Call = Callable[..., Any]
ONE = "/control/destinations/{destination_id}"


def letters(call: Call, control: Call, made: Json) -> None:
    """An event that a destination refused is opened, and sent to another one; all are, and that is called off."""
    token, target = made["token"], made["destination"]["id"]
    refusing = refused(control, token)
    for days in (7, 30):
        control("PATCH", "/control/workspace", token, {"letters_retention_days": days})
    control("GET", "/control/workspace", token)
    letter = control("GET", f"{ONE}/letters", token, destination_id=refusing)["letters"][0]["id"]
    control("GET", f"{ONE}/letters/{{letter_id}}", token, destination_id=refusing, letter_id=letter)
    body = {"to": target}
    replay = control(
        "POST", f"{ONE}/letters/{{letter_id}}/replay", token, body, destination_id=refusing, letter_id=letter
    )
    every = control("POST", f"{ONE}/replays", token, {"filter": {}, "to": target}, destination_id=refusing)
    for each in tickets():
        assert call("replay", {"Records": [each]}) == {"batchItemFailures": []}
    early = {"workspace": token.split(".")[1], "destination": refusing, "replay": "rpl_notthereyet0"}
    assert call("replay", {"Records": [{"messageId": "-", "body": json.dumps(early)}]}) == {"batchItemFailures": []}
    for begun in (replay, every):
        done = control("GET", f"{ONE}/replays/{{replay_id}}", token, destination_id=refusing, replay_id=begun["id"])
        assert (done["state"], done["sent"] > 0) == ("done", True), done
    last = control("POST", f"{ONE}/replays", token, {"filter": {}, "to": target}, destination_id=refusing)["id"]
    control("POST", f"{ONE}/replays/{{replay_id}}/cancel", token, destination_id=refusing, replay_id=last)
    assert len(control("GET", f"{ONE}/replays", token, destination_id=refusing)["replays"]) == 3


def refused(control: Call, token: str) -> str:
    """The id of a destination that has letters."""
    for each in control("GET", "/control/destinations", token)["destinations"]:
        if len(control("GET", f"{ONE}/letters", token, destination_id=each["id"])["letters"]) > 1:
            return str(each["id"])
    raise AssertionError("no destination has refused anything")


def tickets() -> list[Json]:
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="penstock-dev-replays")["QueueUrl"]
    found: list[Json] = []
    while len(found) < 2:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        found += [{"messageId": each["MessageId"], "body": each["Body"]} for each in answer["Messages"]]
    return found
