"""The Lambdas: what they run on, what they are given, what feeds them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from infra.stages import stage
from penstock import tables
from penstock.domain.evidence import VERY_SLOW_S
from penstock.domain.rate import SLOT_S
from tests.infra.template_reading import Templates, functions, properties, resources

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAMES = (
    "collect",
    "control",
    "fanout",
    "fanout_bulk",
    "schema",
    "schema_changes",
    "deliver",
    "deliver_slow",
    "gatekeeper",
    "replay",
    "teardown",
)
EARLY = "PENSTOCK_EARLY_TIMEOUT_S"
SETTINGS = ROOT / "layers" / "core" / "python" / "penstock" / "settings.py"


def test_every_function_of_the_repository_is_deployed(templates: Templates) -> None:
    deployed = functions(templates)
    assert {found["Handler"].split(".")[1] for found in deployed.values()} == {
        path.parent.name for path in ROOT.glob("functions/*/handler.py")
    }
    assert set(deployed) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_function_runs_python_3_13_on_arm_and_begins_in_its_handler(name: str, templates: Templates) -> None:
    found = functions(templates)[name]
    assert (found["Runtime"], found["Architectures"]) == ("python3.13", ["arm64"])
    module, _, handler = found["Handler"].rpartition(".")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert handler in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", NAMES)
def test_a_function_writes_to_a_log_that_is_not_kept_for_ever(name: str, templates: Templates) -> None:
    reference = functions(templates)[name]["LoggingConfig"]["LogGroup"]["Ref"]
    log = resources(templates, "AWS::Logs::LogGroup")[reference]["Properties"]
    assert log["LogGroupName"] == f"/aws/lambda/penstock-dev-{name}"
    assert log["RetentionInDays"] == 30


def test_every_log_is_kept_for_a_while_only(templates: Templates) -> None:
    found = properties(templates, "AWS::Logs::LogGroup")
    assert len(found) == len(NAMES) + 2
    assert all(log["RetentionInDays"] <= 90 for log in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_function_has_a_role_of_its_own(name: str, templates: Templates) -> None:
    roles = [found["Role"]["Fn::GetAtt"][0] for found in functions(templates).values()]
    assert len(set(roles)) == len(roles)
    assumed = [
        found["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"]
        for found in properties(templates, "AWS::IAM::Role")
    ]
    assert sorted(assumed) == ["lambda.amazonaws.com"] * len(roles) + ["scheduler.amazonaws.com"]


def test_no_function_writes_settings_that_nobody_reads(templates: Templates) -> None:
    known = set(re.findall(r'"(PENSTOCK_[A-Z_]+)"', SETTINGS.read_text()))
    given = {variable for each in functions(templates).values() for variable in each["Environment"]["Variables"]}
    assert given <= known


def test_loopback_is_allowed_on_no_stage_but_the_local_one(templates: Templates) -> None:
    for found in functions(templates).values():
        assert "PENSTOCK_ALLOW_LOOPBACK" not in found["Environment"]["Variables"]


def test_dev_reserves_no_concurrency_so_that_a_new_account_takes_it(templates: Templates) -> None:
    assert not [name for name, found in functions(templates).items() if "ReservedConcurrentExecutions" in found]


def feeds(templates: Templates, *names: str) -> list[Any]:
    found = resources(templates, "AWS::Lambda::EventSourceMapping")
    return [found[name]["Properties"] for name in names]


def test_every_feed_is_read_from_its_beginning_and_what_cannot_be_handled_is_parked(templates: Templates) -> None:
    found = [each for each in properties(templates, "AWS::Lambda::EventSourceMapping") if "StartingPosition" in each]
    assert len(found) == 6
    for feed in found:
        assert feed["StartingPosition"] == "TRIM_HORIZON"
        assert feed["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert feed["BisectBatchOnFunctionError"] is True
        assert ":s3:::penstock-dev-failures-" in str(feed["DestinationConfig"]["OnFailure"]["Destination"])
        assert feed.get("MaximumRetryAttempts", -1) == -1


def test_a_shards_counts_have_one_writer_and_its_jobs_several(templates: Templates) -> None:
    for name in ("", "Bulk"):
        fanout, schema = feeds(templates, f"Fanout{name}Feed", f"Schema{name}Feed")
        assert (fanout["ParallelizationFactor"], schema["ParallelizationFactor"]) == (4, 1)
        assert fanout["EventSourceArn"] == schema["EventSourceArn"]


def test_tables_that_feed_a_function_show_it_what_was_written(templates: Templates) -> None:
    found = {each["TableName"]: each for each in properties(templates, "AWS::DynamoDB::Table")}
    for table in tables.ALL:
        made = found[f"penstock-dev-{table.name}"]
        assert made.get("StreamSpecification") == ({"StreamViewType": "NEW_AND_OLD_IMAGES"} if table.feeds else None)
        indexes = [each["IndexName"] for each in made.get("GlobalSecondaryIndexes", [])]
        assert indexes == ([table.index.name] if table.index else [])


def test_a_record_is_given_up_only_shortly_before_the_stream_forgets_it(templates: Templates) -> None:
    kept_s = min(each["RetentionPeriodHours"] for each in properties(templates, "AWS::Kinesis::Stream")) * 3600
    for feed in feeds(templates, "FanoutFeed", "FanoutBulkFeed", "SchemaFeed", "SchemaBulkFeed"):
        assert kept_s / 2 < feed["MaximumRecordAgeInSeconds"] < kept_s


def test_a_message_stays_hidden_for_six_times_as_long_as_deliver_may_run(templates: Templates) -> None:
    hidden = functions(templates)["control"]["Environment"]["Variables"]["PENSTOCK_VISIBILITY_TIMEOUT_S"]
    assert int(hidden) >= 6 * functions(templates)["deliver"]["Timeout"]


def test_a_slot_of_a_destination_outlives_every_function_that_may_have_it(templates: Templates) -> None:
    found = functions(templates)
    assert max(found[name]["Timeout"] for name in ("deliver", "deliver_slow", "gatekeeper")) < SLOT_S


def test_a_function_has_the_layers_and_the_guard_has_none(templates: Templates) -> None:
    layers = {name: len(found.get("Layers", [])) for name, found in functions(templates).items()}
    assert layers == {name: 0 if name == "teardown" else 2 for name in NAMES}


def test_slow_destinations_run_on_the_same_code_as_the_healthy_with_the_same_settings(templates: Templates) -> None:
    found = functions(templates)
    fast, slow = found["deliver"], found["deliver_slow"]
    for same in ("Handler", "Code", "Timeout", "MemorySize"):
        assert fast[same] == slow[same], same


def test_only_the_healthy_are_waited_for_less_at_first_and_whoever_exceeds_that_is_known_as_slow(
    templates: Templates,
) -> None:
    found = {name: each["Environment"]["Variables"] for name, each in functions(templates).items()}
    early = {name: given.pop(EARLY) for name, given in found.items() if EARLY in given}
    assert found["deliver"] == found["deliver_slow"]
    assert early.keys() == {"deliver"}
    assert VERY_SLOW_S < float(early["deliver"]) < float(found["deliver"]["PENSTOCK_REQUEST_TIMEOUT_S"])


def test_the_gatekeeper_is_woken_by_its_chores_and_by_the_clock(templates: Templates) -> None:
    (chores,) = feeds(templates, "ChoresFeed")
    assert chores["BatchSize"] == 10
    assert chores["ScalingConfig"] == {"MaximumConcurrency": 20}
    (tick,) = properties(templates, "AWS::Scheduler::Schedule")
    assert (tick["ScheduleExpression"], tick["FlexibleTimeWindow"]) == ("rate(1 minute)", {"Mode": "OFF"})
    (gatekeeper,) = [key for key in resources(templates, "AWS::Lambda::Function") if key.startswith("Gatekeeper")]
    assert tick["Target"]["Arn"] == {"Fn::GetAtt": [gatekeeper, "Arn"]}
    assert chores["FunctionName"] == {"Ref": gatekeeper}


def test_the_clock_may_wake_the_gatekeeper_and_do_nothing_else(templates: Templates) -> None:
    (role,) = [
        found["Properties"]
        for name, found in resources(templates, "AWS::IAM::Role").items()
        if name.startswith("TickRole")
    ]
    ((policy,),) = (role["Policies"],)
    (statement,) = policy["PolicyDocument"]["Statement"]
    (gatekeeper,) = [key for key in resources(templates, "AWS::Lambda::Function") if key.startswith("Gatekeeper")]
    assert (statement["Action"], statement["Resource"]) == (
        "lambda:InvokeFunction",
        {"Fn::GetAtt": [gatekeeper, "Arn"]},
    )
    assert "aws:SourceAccount" in str(role["AssumeRolePolicyDocument"])


def test_prods_shares_leave_room_for_functions_without_one() -> None:
    reserved = stage("prod", "us-east-1").reserved
    assert set(reserved) <= set(NAMES)
    assert sum(reserved.values()) <= 900


def test_queues_of_our_own_are_encrypted_and_used_over_tls_alone(templates: Templates) -> None:
    found = properties(templates, "AWS::SQS::Queue")
    assert {each["QueueName"] for each in found} == {"penstock-dev-chores", "penstock-dev-replays"}
    assert all(each["SqsManagedSseEnabled"] is True for each in found)
    policies = properties(templates, "AWS::SQS::QueuePolicy")
    assert len(policies) == len(found)
    for policy in policies:
        (refusal,) = policy["PolicyDocument"]["Statement"]
        assert (refusal["Effect"], refusal["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_a_step_of_a_replay_comes_again_before_a_queue_has_forgotten_its_jobs(templates: Templates) -> None:
    tickets = next(each for each in properties(templates, "AWS::SQS::Queue") if each["QueueName"].endswith("-replays"))
    timeout_s = functions(templates)["replay"]["Timeout"]
    assert timeout_s < tickets["VisibilityTimeout"] < 300 - timeout_s
    assert "RedrivePolicy" not in tickets
    (feed,) = feeds(templates, "ReplaysFeed")
    assert (feed["BatchSize"], feed["ScalingConfig"]) == (1, {"MaximumConcurrency": 5})
