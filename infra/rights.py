"""What each function may do, in one place: actions on resources, and nothing wider.

`on_behalf` are the rights that AWS itself uses in a function's name: the pollers of its event sources, and the
writing of its log. No code of ours calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aws_cdk import aws_iam as iam


@dataclass(frozen=True)
class Resources:
    """The ARNs that rights are given on."""

    config: str
    audit: str
    receipts: str
    progress: str
    stream: str
    key: str
    operator_secret: str
    failure_bucket: str
    queues: str
    mappings: str
    deliver: str


@dataclass(frozen=True)
class Grant:
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: dict[str, dict[str, str]] = field(default_factory=dict)
    on_behalf: bool = False

    def statement(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=list(self.actions), resources=list(self.resources), conditions=self.condition or None
        )


def collect(on: Resources) -> list[Grant]:
    return [
        Grant(("kinesis:PutRecords",), (on.stream,)),
        Grant(("dynamodb:GetItem",), (on.config,)),
    ]


def control(on: Resources) -> list[Grant]:
    of_deliver = {"ArnLike": {"lambda:FunctionArn": on.deliver}}
    return [
        Grant(
            (
                "dynamodb:GetItem",
                "dynamodb:Query",
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
                "dynamodb:DeleteItem",
                "dynamodb:ConditionCheckItem",
            ),
            (on.config,),
        ),
        Grant(("dynamodb:PutItem", "dynamodb:Query"), (on.audit,)),
        Grant(("kms:Encrypt", "kms:Decrypt"), (on.key,)),
        Grant(("secretsmanager:GetSecretValue",), (on.operator_secret,)),
        Grant(("sqs:CreateQueue", "sqs:TagQueue", "sqs:GetQueueUrl", "sqs:DeleteQueue"), (on.queues,)),
        Grant(("lambda:CreateEventSourceMapping",), ("*",), of_deliver),
        Grant(("lambda:ListEventSourceMappings",), ("*",)),
        Grant(("lambda:DeleteEventSourceMapping",), (on.mappings,), of_deliver),
        Grant(("lambda:TagResource",), (on.mappings,)),
    ]


def fanout(on: Resources) -> list[Grant]:
    return [
        Grant(("dynamodb:Query",), (on.config,)),
        Grant(("dynamodb:PutItem",), (on.receipts,)),
        Grant(("sqs:SendMessage",), (on.queues,)),
        Grant(("s3:PutObject",), (f"{on.failure_bucket}/*",)),
        Grant(
            (
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ),
            (on.stream,),
            on_behalf=True,
        ),
        Grant(("s3:ListBucket",), (on.failure_bucket,), on_behalf=True),
    ]


def deliver(on: Resources) -> list[Grant]:
    return [
        Grant(("dynamodb:GetItem",), (on.config,)),
        Grant(("dynamodb:PutItem",), (on.receipts,)),
        Grant(("dynamodb:GetItem", "dynamodb:PutItem"), (on.progress,)),
        Grant(("kms:Decrypt",), (on.key,)),
        Grant(("sqs:ChangeMessageVisibility",), (on.queues,)),
        Grant(("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), (on.queues,), on_behalf=True),
    ]


def teardown(on: Resources) -> list[Grant]:
    return [
        Grant(("s3:ListBucketVersions",), (on.failure_bucket,)),
        Grant(("s3:DeleteObjectVersion",), (f"{on.failure_bucket}/*",)),
        Grant(("sqs:ListQueues",), ("*",)),
        Grant(("lambda:ListEventSourceMappings",), ("*",)),
    ]
