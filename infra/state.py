"""The stateful stack: tables, the key for secrets, the operator's token, the buckets for what did not get through."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Acknowledgment, Aws, CustomResource, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra import rights
from infra.functions import Maker
from infra.stages import Stage
from penstock import tables
from penstock.tables import Table

PARKED_FOR_DAYS = 30
LETTERS_FOR_DAYS = (7, 30, 90, 365)  # what a workspace can choose; the prefix says which it was


def failure_bucket(stage: Stage) -> str:
    """Its name; bucket names are unique in all of AWS."""
    return f"{stage.prefix}-failures-{Aws.ACCOUNT_ID}-{Aws.REGION}"


def letter_bucket(stage: Stage) -> str:
    return f"{stage.prefix}-letters-{Aws.ACCOUNT_ID}-{Aws.REGION}"


class State(Stack):
    """What must outlive a bad deploy. `make destroy` takes it down with everything else: destroy means destroy."""

    def __init__(self, scope: Construct, stage: Stage) -> None:
        super().__init__(scope, f"{stage.prefix}-state", stack_name=f"{stage.prefix}-state")
        self.tables = {table.name: self._table(table, stage) for table in tables.ALL}
        self.key = kms.Key(
            self,
            "SecretsKey",
            description="Encrypts the secrets in destinations' settings",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
            pending_window=Duration.days(7),
        )
        self.operator_secret = self._operator_secret(stage)
        self.failures = self._failures(stage)
        self.letters = self._letters(stage)

    def stream_of(self, name: str) -> str:
        """ARN of a table's stream; AWS chooses its name."""
        arn = self.tables[name].table_stream_arn
        assert arn is not None
        return arn

    def _table(self, table: Table, stage: Stage) -> dynamodb.Table:
        made = dynamodb.Table(
            self,
            table.name.capitalize(),
            table_name=f"{stage.prefix}-{table.name}",
            partition_key=dynamodb.Attribute(name=table.partition_key, type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name=table.sort_key, type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=table.ttl,
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES if table.feeds else None,
            removal_policy=RemovalPolicy.DESTROY,
        )
        if table.index is not None:
            made.add_global_secondary_index(
                index_name=table.index.name,
                partition_key=dynamodb.Attribute(name=table.index.partition_key, type=dynamodb.AttributeType.STRING),
                sort_key=dynamodb.Attribute(name=table.index.sort_key, type=dynamodb.AttributeType.STRING),
                projection_type=dynamodb.ProjectionType.INCLUDE,
                non_key_attributes=list(table.index.carries),
            )
        return made

    def _operator_secret(self, stage: Stage) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            "OperatorToken",
            secret_name=f"{stage.prefix}/operator-token",
            description="The token that makes workspaces",
            generate_secret_string=secretsmanager.SecretStringGenerator(exclude_punctuation=True, password_length=48),
            removal_policy=RemovalPolicy.DESTROY,
        )
        reason = "A person rotates it: put a new value, and control reads it within seconds. No service shares it."
        Validations.of(secret).acknowledge(Acknowledgment(id="AwsSolutions-SMG4", reason=reason))
        return secret

    def _failures(self, stage: Stage) -> s3.Bucket:
        reason = "Nobody but the stream's consumers and the operator reaches it; it is empty unless something is wrong."
        rules = [s3.LifecycleRule(expiration=Duration.days(PARKED_FOR_DAYS))]
        return self._bucket("Failures", failure_bucket(stage), rules, reason)

    def _letters(self, stage: Stage) -> s3.Bucket:
        """A day longer than what finds them, so that nothing that is listed is gone."""
        reason = "Nobody but deliver, replay and the control function reaches it; the control API has an audit log."
        rules = [s3.LifecycleRule(prefix=f"r{days}/", expiration=Duration.days(days + 1)) for days in LETTERS_FOR_DAYS]
        return self._bucket("LetterBucket", letter_bucket(stage), rules, reason)

    def _bucket(self, title: str, name: str, rules: list[s3.LifecycleRule], unlogged: str) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            title,
            bucket_name=name,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            lifecycle_rules=rules,
            removal_policy=RemovalPolicy.DESTROY,
        )
        Validations.of(bucket).acknowledge(Acknowledgment(id="AwsSolutions-S1", reason=unlogged))
        return bucket


class Teardown(Stack):
    """Deleted before those with data: refuses while something made at run time is left, and empties the buckets."""

    def __init__(
        self, scope: Construct, stage: Stage, maker: Maker, on: rights.Resources, buckets: Sequence[str]
    ) -> None:
        super().__init__(scope, f"{stage.prefix}-teardown", stack_name=f"{stage.prefix}-teardown")
        function = maker.function(
            self,
            "teardown",
            rights.teardown(on),
            {},
            timeout_s=300,
            layers=False,
        )
        CustomResource(
            self,
            "NothingLeft",
            service_token=function.function_arn,
            resource_type="Custom::PenstockTeardown",
            properties={"Buckets": list(buckets), "QueuePrefix": stage.queue_prefix},
        )
