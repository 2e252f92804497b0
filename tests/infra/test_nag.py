"""cdk-nag looks at every synthesis; each finding of its that we accept is named with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_sqs as sqs

from infra.app import hub
from infra.stages import stage

pytestmark = pytest.mark.slow

ACCEPTED = {
    "AwsSolutions-APIG4": "the functions check write keys and tokens themselves",
    "AwsSolutions-IAM5": "resources that are made at run time, and actions that know no narrower resource",
    "AwsSolutions-L1": "the runtime moves with the lock file",
    "AwsSolutions-S1": "the bucket for what could not be handled has no access log",
    "AwsSolutions-SQS3": "a chore that is lost is found again by the schedule",
    "AwsSolutions-SMG4": "a person rotates the operator's token",
}


def hub_of(folder: Path) -> App:
    app = App(outdir=str(folder))
    hub(app, stage("dev", "us-east-1"))
    return app


def accepted(folder: Path) -> Iterator[tuple[str, str]]:
    """(finding, reason) of every suppression in a synthesized app."""
    for file in folder.glob("*.metadata.json"):
        for entries in json.loads(file.read_text()).values():
            for entry in entries:
                if entry["type"] == "aws:cdk:acknowledged-rules":
                    yield from entry["data"].items()


def test_only_what_is_known_is_accepted_and_each_with_its_reason(tmp_path: Path) -> None:
    hub_of(tmp_path).synth()
    found = {name.removeprefix("Annotation::"): reason for name, reason in accepted(tmp_path)}
    assert {name.partition("[")[0] for name in found} == set(ACCEPTED)
    assert not [name for name, reason in found.items() if len(reason.split()) < 6]


def test_a_wide_right_is_accepted_only_by_the_resource_that_it_names(tmp_path: Path) -> None:
    hub_of(tmp_path).synth()
    wide = [name for name, _ in accepted(tmp_path) if "IAM5" in name]
    assert wide
    assert all("[Resource::" in name for name in wide)


def test_a_finding_stops_the_synthesis(tmp_path: Path) -> None:
    app = hub_of(tmp_path)
    sqs.Queue(Stack(app, "planted"), "WithoutTls")
    with pytest.raises(RuntimeError, match="AwsSolutions-SQS4"):
        app.synth()
