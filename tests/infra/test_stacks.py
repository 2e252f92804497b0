"""The stacks: data apart from what may be replaced, encrypted, recoverable, and nothing told that is secret."""

from __future__ import annotations

import pytest

from penstock import tables
from penstock.domain.workspaces import KEPT_DAYS
from penstock.tables import Table
from tests.infra.template_reading import Templates, functions, properties, resources, texts

pytestmark = pytest.mark.slow

STATEFUL = {
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
    "AWS::Kinesis::Stream",
    "AWS::KMS::Key",
    "AWS::S3::Bucket",
    "AWS::SecretsManager::Secret",
}


def table_of(templates: Templates, table: Table) -> dict:
    found = properties(templates, "AWS::DynamoDB::Table", "-state")
    return next(each for each in found if each["TableName"] == f"penstock-dev-{table.name}")


def test_there_are_five_stacks(templates: Templates) -> None:
    assert set(templates) == {f"penstock-dev-{name}" for name in ("state", "stream", "pipeline", "api", "teardown")}


def test_what_holds_data_lies_apart_from_what_is_replaced(templates: Templates) -> None:
    with_data = {name for name, found in templates.items() if STATEFUL & kinds(found)}
    with_code = {name for name, found in templates.items() if "AWS::Lambda::Function" in kinds(found)}
    assert with_data == {"penstock-dev-state", "penstock-dev-stream"}
    assert with_code == {"penstock-dev-pipeline", "penstock-dev-api", "penstock-dev-teardown"}


def kinds(template) -> set[str]:
    return {resource["Type"] for resource in template["Resources"].values()}


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: table.name)
def test_every_table_has_the_keys_that_the_adapters_read(table: Table, templates: Templates) -> None:
    keys = {each["KeyType"]: each["AttributeName"] for each in table_of(templates, table)["KeySchema"]}
    assert keys == {"HASH": table.partition_key, "RANGE": table.sort_key}


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: table.name)
def test_every_table_is_encrypted_recoverable_and_paid_by_use(table: Table, templates: Templates) -> None:
    found = table_of(templates, table)
    assert found["SSESpecification"] == {"SSEEnabled": True}
    assert found["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert found["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: table.name)
def test_rows_that_expire_do_and_no_others(table: Table, templates: Templates) -> None:
    expected = {"AttributeName": table.ttl, "Enabled": True} if table.ttl else None
    assert table_of(templates, table).get("TimeToLiveSpecification") == expected


def test_there_is_no_table_that_the_code_does_not_know(templates: Templates) -> None:
    assert len(resources(templates, "AWS::DynamoDB::Table")) == len(tables.ALL)


def test_the_streams_are_encrypted_grow_by_themselves_and_keep_a_week(templates: Templates) -> None:
    streams = properties(templates, "AWS::Kinesis::Stream", "-stream")
    assert {stream["Name"] for stream in streams} == {"penstock-dev-events", "penstock-dev-bulk"}
    for stream in streams:
        assert stream["StreamEncryption"]["EncryptionType"] == "KMS"
        assert stream["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
        assert stream["RetentionPeriodHours"] == 7 * 24


def test_the_key_for_secrets_rotates(templates: Templates) -> None:
    (key,) = properties(templates, "AWS::KMS::Key", "-state")
    assert key["EnableKeyRotation"] is True


def test_no_bucket_is_public_or_unencrypted_or_open_without_tls(templates: Templates) -> None:
    buckets = resources(templates, "AWS::S3::Bucket")
    refusals = [
        statement
        for policy in properties(templates, "AWS::S3::BucketPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(refusals) == len(buckets) == 2
    for bucket in properties(templates, "AWS::S3::Bucket"):
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]


def test_a_letters_body_outlives_what_finds_it_by_a_day(templates: Templates) -> None:
    found = properties(templates, "AWS::S3::Bucket", "-state")
    (letters,) = [each for each in found if "-letters-" in str(each["BucketName"])]
    rules = {each["Prefix"]: each["ExpirationInDays"] for each in letters["LifecycleConfiguration"]["Rules"]}
    assert rules == {f"r{days}/": days + 1 for days in KEPT_DAYS}


def test_the_operators_token_is_made_by_aws_alone(templates: Templates) -> None:
    (secret,) = properties(templates, "AWS::SecretsManager::Secret", "-state")
    assert secret["GenerateSecretString"] == {"ExcludePunctuation": True, "PasswordLength": 48}
    assert "SecretString" not in secret


def test_the_outputs_are_those_that_others_read(templates: Templates) -> None:
    assert set(templates["penstock-dev-api"]["Outputs"]) == {
        "CollectApiId",
        "CollectApiUrl",
        "ControlApiId",
        "ControlApiUrl",
        "OperatorTokenSecretArn",
    }


def test_no_template_resolves_a_secret(templates: Templates) -> None:
    assert not [text for text in texts(dict(templates)) if "{{resolve:secretsmanager" in text]


def test_destroy_means_destroy(templates: Templates) -> None:
    for kind in STATEFUL:
        for logical, found in resources(templates, kind).items():
            assert found["DeletionPolicy"] == found["UpdateReplacePolicy"] == "Delete", logical


def test_whatever_takes_tags_tells_its_stage(templates: Templates) -> None:
    for kind in (*STATEFUL, "AWS::Lambda::Function", "AWS::IAM::Role", "AWS::Logs::LogGroup"):
        for found in properties(templates, kind):
            assert {"Key": "penstock:stage", "Value": "dev"} in found["Tags"], kind


def test_nothing_waits_for_a_secret_in_a_lambdas_environment(templates: Templates) -> None:
    for name, found in functions(templates).items():
        variables = set(found["Environment"]["Variables"])
        assert not [each for each in variables if "TOKEN" in each or "PASSWORD" in each], name
