"""IAM is proven: what each function calls, held against what the synthesized template lets it do, both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.infra.iam_calls import Call
from tests.infra.iam_policy import Right, Rights

ROOT = Path(__file__).parents[2]

# Rights that AWS uses on a function's behalf, so that no code of ours ever calls them.
ON_BEHALF = {
    ("*", "logs:CreateLogStream"): "the runtime writes the log",
    ("*", "logs:PutLogEvents"): "the runtime writes the log",
    **{
        (function, f"kinesis:{action}"): "the stream's poller"
        for function in ("fanout", "fanout_bulk", "schema")
        for action in ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards")
    },
    **{
        (function, "s3:ListBucket"): "the poller checks the bucket it parks records in"
        for function in ("fanout", "fanout_bulk", "schema", "schema_changes")
    },
    **{
        (function, "s3:ListBucket"): "or S3 says of a letter that is gone that it is forbidden"
        for function in ("control", "replay")
    },
    ("schema_changes", "s3:PutObject"): "the poller parks records that exhausted their retries",
    **{
        ("schema_changes", f"dynamodb:{action}"): "the poller of the tables' streams"
        for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
    },
    **{
        (function, f"sqs:{action}"): "the queue's poller"
        for function in ("deliver", "deliver_slow", "gatekeeper", "replay")
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    },
}

# Patterns that cannot be narrower, because the resource is made at run time or the action knows no resource.
RUN_TIME_NAMES = {
    "arn:aws:sqs:us-east-1:123456789012:penstock-dev-d-*": "destination queues are made at run time",
    "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:*": "mappings get their ids from AWS",
    "arn:aws:sns:us-east-1:123456789012:penstock-dev-alerts-*": "topics for alerts are made by whoever runs the hub",
}
NO_RESOURCE = {
    "lambda:CreateEventSourceMapping": "narrowed by the condition lambda:FunctionArn",
    "lambda:ListEventSourceMappings": "AWS offers no narrower resource",
    "sqs:ListQueues": "AWS offers no narrower resource",
}


@pytest.fixture(scope="module")
def proof(templates: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[set[Call], set[Right]]:
    """(what was called, what is allowed), every function having done all that it does."""
    path = tmp_path_factory.mktemp("iam") / "templates.json"
    path.write_text(json.dumps(templates))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PENSTOCK_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.infra.iam_scenarios", str(path)],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    calls = {Call(*call) for call in answer["calls"]}
    return calls, Rights(templates, answer["physical"]).all()


def not_allowed(calls: set[Call], rights: set[Right]) -> list[Call]:
    return sorted(call for call in calls if not any(right.covers(call) for right in rights))


def never_used(calls: set[Call], rights: set[Right]) -> list[Right]:
    on_behalf = {(function, action.lower()) for function, action in ON_BEHALF}
    return sorted(
        right
        for right in rights
        if not any(right.covers(call) for call in calls)
        and ("*", right.action.lower()) not in on_behalf
        and (right.function, right.action.lower()) not in on_behalf
    )


def too_wide(rights: set[Right]) -> list[Right]:
    return sorted(
        right
        for right in rights
        if "*" in right.action
        or (right.resource == "*" and right.action not in NO_RESOURCE)
        or (
            ("*" in right.resource.removesuffix(":*").removesuffix("/*") and right.resource not in RUN_TIME_NAMES)
            and right.resource != "*"
        )
    )


@pytest.mark.slow
def test_every_function_was_seen_at_work(proof: tuple[set[Call], set[Right]]) -> None:
    calls, _ = proof
    assert {call.function for call in calls} >= {"collect", "control", "fanout", "deliver"}


@pytest.mark.slow
def test_every_call_is_allowed(proof: tuple[set[Call], set[Right]]) -> None:
    calls, rights = proof
    assert not_allowed(calls, rights) == []


@pytest.mark.slow
def test_every_right_is_used(proof: tuple[set[Call], set[Right]]) -> None:
    calls, rights = proof
    assert never_used(calls, rights) == []


@pytest.mark.slow
def test_no_right_is_wider_than_it_must_be(proof: tuple[set[Call], set[Right]]) -> None:
    _, rights = proof
    assert too_wide(rights) == []


@pytest.mark.slow
def test_a_missing_right_a_spare_one_and_a_wide_one_are_each_caught(proof: tuple[set[Call], set[Right]]) -> None:
    calls, rights = proof
    needed = next(right for right in sorted(rights) if right.action == "kinesis:PutRecords")
    assert not_allowed(calls, rights - {needed}) != []
    spare = Right("collect", "dynamodb:DeleteItem", needed.resource)
    assert never_used(calls, rights | {spare}) == [spare]
    wide = Right("collect", "dynamodb:GetItem", "*")
    assert too_wide(rights | {wide}) == [wide]
