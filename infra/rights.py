"""What each function may do, in one place: actions on resources, and nothing wider.

`on_behalf` are the rights that AWS itself uses in a function's name: the pollers of its event sources, and the
writing of its log. No code of ours calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from aws_cdk import aws_iam as iam

from penstock import tables

QUEUES = "Destinations' queues are made at run time; the prefix is this stage's own."
MAPPINGS = "Mappings are made at run time and AWS chooses their ids; the condition keeps to those of deliver."
TOPICS = "Topics for alerts are made by whoever runs the hub; the prefix is this stage's own."
UNNAMEABLE = "AWS knows no narrower resource for this action; where there is a condition for it, it is set."
LETTERS = "Letters are made at run time; the bucket is this stage's own, and holds nothing else."
OBJECTS = "Any object of the stage's own bucket for what could not be handled, and of no other."

Condition: TypeAlias = dict[str, dict[str, str | list[str]]]


@dataclass(frozen=True)
class Resources:
    """The ARNs that rights are given on."""

    config: str
    audit: str
    receipts: str
    progress: str
    dedup: str
    quotas: str
    gates: str
    overflow: str
    letters: str
    places: str
    schemas: str
    changes: str
    places_stream: str
    changes_stream: str
    event_bus: str
    stream: str
    bulk: str
    key: str
    operator_secret: str
    failure_bucket: str
    letter_bucket: str
    queues: str
    mappings: str
    chores: str
    replays: str
    alert_topics: str
    deliver: str
    deliver_slow: str


@dataclass(frozen=True)
class Grant:
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Condition = field(default_factory=dict)
    on_behalf: bool = False
    why_wide: str = ""

    def statement(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=list(self.actions), resources=list(self.resources), conditions=self.condition or None
        )


def collect(on: Resources) -> list[Grant]:
    return [
        Grant(("kinesis:PutRecords",), (on.stream, on.bulk)),
        Grant(("dynamodb:GetItem",), (on.config,)),
    ]


def control(on: Resources) -> list[Grant]:
    of_deliver: Condition = {"ArnLike": {"lambda:FunctionArn": [on.deliver, on.deliver_slow]}}
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
        Grant(("dynamodb:Query",), (on.schemas, f"{on.schemas}/index/{tables.SCHEMAS_BY_SOURCE}", on.changes)),
        Grant(("kms:Encrypt", "kms:Decrypt"), (on.key,)),
        Grant(("secretsmanager:GetSecretValue",), (on.operator_secret,)),
        Grant(("dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:Query", "dynamodb:DeleteItem"), (on.gates,)),
        Grant(("dynamodb:PutItem",), (on.gates,)),
        Grant(("dynamodb:GetItem",), (on.progress,)),
        Grant(("dynamodb:BatchGetItem",), (on.dedup,)),
        Grant(("dynamodb:Query",), (on.quotas,)),
        *_counts(on),
        Grant(("sqs:GetQueueAttributes",), (on.queues,), why_wide=QUEUES),
        Grant(("sqs:SendMessage",), (on.chores,)),
        Grant(("sqs:CreateQueue", "sqs:TagQueue", "sqs:GetQueueUrl", "sqs:DeleteQueue"), (on.queues,), why_wide=QUEUES),
        *_reads_letters(on),
        Grant(("dynamodb:PutItem", "dynamodb:UpdateItem"), (on.letters,)),
        Grant(("sqs:SendMessage",), (on.replays,)),
        Grant(("lambda:CreateEventSourceMapping",), ("*",), of_deliver, why_wide=UNNAMEABLE),
        Grant(("lambda:ListEventSourceMappings",), ("*",), why_wide=UNNAMEABLE),
        Grant(("lambda:DeleteEventSourceMapping",), (on.mappings,), of_deliver, why_wide=MAPPINGS),
        Grant(("lambda:TagResource",), (on.mappings,), why_wide=MAPPINGS),
    ]


def fanout(on: Resources) -> list[Grant]:
    return [*_fans_out(on), *_reads_stream(on, on.stream)]


def fanout_bulk(on: Resources) -> list[Grant]:
    of_deliver: Condition = {"ArnLike": {"lambda:FunctionArn": [on.deliver]}}
    return [
        *_fans_out(on),
        Grant(("dynamodb:UpdateItem",), (on.config,)),
        Grant(("dynamodb:DeleteItem",), (on.dedup,)),
        Grant(("dynamodb:GetItem",), (on.gates,)),
        Grant(("sqs:CreateQueue", "sqs:TagQueue", "sqs:GetQueueUrl", "sqs:DeleteQueue"), (on.queues,), why_wide=QUEUES),
        Grant(("lambda:CreateEventSourceMapping",), ("*",), of_deliver, why_wide=UNNAMEABLE),
        Grant(("lambda:ListEventSourceMappings",), ("*",), why_wide=UNNAMEABLE),
        Grant(("lambda:DeleteEventSourceMapping",), (on.mappings,), of_deliver, why_wide=MAPPINGS),
        Grant(("lambda:TagResource",), (on.mappings,), why_wide=MAPPINGS),
        *_reads_stream(on, on.bulk),
    ]


def _fans_out(on: Resources) -> list[Grant]:
    return [
        Grant(("dynamodb:Query", "dynamodb:GetItem"), (on.config,)),
        Grant(("dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:PutItem"), (on.dedup,)),
        Grant(("dynamodb:UpdateItem", "dynamodb:BatchWriteItem"), (on.overflow,)),
        Grant(("dynamodb:UpdateItem",), (on.gates,)),
        Grant(("dynamodb:UpdateItem",), (on.quotas,)),
        Grant(("sqs:SendMessage",), (on.chores,)),
        Grant(("dynamodb:PutItem",), (on.receipts,)),
        Grant(("kinesis:PutRecords",), (on.stream, on.bulk)),
        Grant(("sqs:SendMessage", "sqs:GetQueueAttributes"), (on.queues,), why_wide=QUEUES),
        Grant(("s3:PutObject",), (f"{on.failure_bucket}/*",), why_wide=OBJECTS),
    ]


def schema(on: Resources) -> list[Grant]:
    return [
        Grant(("dynamodb:GetItem",), (on.config,)),
        Grant(("dynamodb:UpdateItem",), (on.places,)),
        Grant(("dynamodb:Query", "dynamodb:PutItem"), (on.schemas,)),
        Grant(("s3:PutObject",), (f"{on.failure_bucket}/*",), why_wide=OBJECTS),
        *_reads_stream(on, on.stream, on.bulk),
    ]


def schema_changes(on: Resources) -> list[Grant]:
    return [
        Grant(("dynamodb:GetItem", "dynamodb:Query"), (on.config,)),
        Grant(("dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"), (on.places,)),
        Grant(("dynamodb:GetItem", "dynamodb:PutItem"), (on.schemas,)),
        Grant(("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"), (on.changes,)),
        Grant(("dynamodb:PutItem",), (on.receipts,)),
        Grant(("events:PutEvents",), (on.event_bus,)),
        Grant(("sqs:SendMessage",), (on.queues,), why_wide=QUEUES),
        Grant(
            ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
            (on.places_stream, on.changes_stream),
            on_behalf=True,
        ),
        Grant(("s3:PutObject",), (f"{on.failure_bucket}/*",), on_behalf=True, why_wide=OBJECTS),
        Grant(("s3:ListBucket",), (on.failure_bucket,), on_behalf=True),
    ]


def deliver(on: Resources) -> list[Grant]:
    return [
        *_sends(on),
        Grant(("dynamodb:Query",), (on.receipts,)),
        Grant(("dynamodb:GetItem", "dynamodb:UpdateItem"), (on.gates,)),
        Grant(("sqs:SendMessage",), (on.chores,)),
        Grant(
            ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
            (on.queues,),
            on_behalf=True,
            why_wide=QUEUES,
        ),
    ]


def gatekeeper(on: Resources) -> list[Grant]:
    of_deliver: Condition = {"ArnLike": {"lambda:FunctionArn": [on.deliver, on.deliver_slow]}}
    by_attention = f"{on.gates}/index/{tables.GATES_BY_ATTENTION}"
    return [
        *_sends(on),
        Grant(("dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:Query", "dynamodb:DeleteItem"), (on.gates,)),
        Grant(("dynamodb:Query",), (by_attention,)),
        Grant(("dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"), (on.quotas,)),
        Grant(("dynamodb:UpdateItem", "dynamodb:Query"), (on.config,)),
        *_buries(on),
        *_counts(on),
        Grant(("sns:Publish",), (on.alert_topics,), why_wide=TOPICS),
        Grant(("dynamodb:PutItem",), (on.audit,)),
        Grant(("events:PutEvents",), (on.event_bus,)),
        Grant(
            ("lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping"),
            (on.mappings,),
            of_deliver,
            why_wide=MAPPINGS,
        ),
        Grant(("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), (on.queues,), why_wide=QUEUES),
        Grant(("sqs:SendMessage",), (on.queues,), why_wide=QUEUES),
        Grant(("dynamodb:UpdateItem",), (on.dedup,)),
        Grant(("dynamodb:Query", "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"), (on.overflow,)),
        Grant(("dynamodb:BatchWriteItem",), (on.overflow,)),
        Grant(("sqs:SendMessage",), (on.chores,)),
        Grant(("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), (on.chores,), on_behalf=True),
    ]


def _buries(on: Resources) -> list[Grant]:
    """What it takes besides to bury what waits for a deleted destination, and to take down what that had."""
    of_deliver: Condition = {"ArnLike": {"lambda:FunctionArn": [on.deliver, on.deliver_slow]}}
    return [
        Grant(("dynamodb:Query", "dynamodb:DeleteItem"), (on.config,)),
        Grant(("sqs:GetQueueUrl", "sqs:DeleteQueue"), (on.queues,), why_wide=QUEUES),
        Grant(("lambda:ListEventSourceMappings",), ("*",), why_wide=UNNAMEABLE),
        Grant(("lambda:DeleteEventSourceMapping",), (on.mappings,), of_deliver, why_wide=MAPPINGS),
    ]


def _counts(on: Resources) -> list[Grant]:
    """What counting a destination's receipts by minutes takes, and its jobs; a minute and the total go together."""
    by_destination = f"{on.overflow}/index/{tables.OVERFLOW_BY_DESTINATION}"
    return [
        Grant(("dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem"), (on.receipts,)),
        Grant(("dynamodb:Query",), (by_destination,)),
    ]


def _sends(on: Resources) -> list[Grant]:
    """What the step takes that sends jobs to a tool, whoever had them from their queue."""
    return [
        Grant(("dynamodb:GetItem",), (on.config,)),
        Grant(("dynamodb:PutItem",), (on.receipts,)),
        Grant(("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"), (on.progress,)),
        Grant(("kms:Decrypt",), (on.key,)),
        Grant(("sqs:ChangeMessageVisibility",), (on.queues,), why_wide=QUEUES),
        Grant(("dynamodb:PutItem",), (on.letters,)),
        Grant(("s3:PutObject",), (f"{on.letter_bucket}/*",), why_wide=LETTERS),
    ]


def replay(on: Resources) -> list[Grant]:
    return [
        *_reads_letters(on, index=False),
        Grant(("dynamodb:PutItem", "dynamodb:UpdateItem"), (on.letters,)),
        Grant(("dynamodb:GetItem",), (on.config,)),
        Grant(("dynamodb:PutItem",), (on.receipts,)),
        Grant(("sqs:SendMessage", "sqs:GetQueueAttributes"), (on.queues,), why_wide=QUEUES),
        Grant(("sqs:SendMessage",), (on.replays,)),
        Grant(("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), (on.replays,), on_behalf=True),
    ]


def _reads_letters(on: Resources, index: bool = True) -> list[Grant]:
    """To who may not list a bucket, S3 says of what is absent that it is forbidden."""
    by_time = (f"{on.letters}/index/{tables.LETTERS_BY_TIME}",) if index else ()
    return [
        Grant(("dynamodb:GetItem",), (on.letters,)),
        Grant(("dynamodb:Query",), (on.letters, *by_time)),
        Grant(("s3:GetObject",), (f"{on.letter_bucket}/*",), why_wide=LETTERS),
        Grant(("s3:ListBucket",), (on.letter_bucket,), on_behalf=True),
    ]


def teardown(on: Resources) -> list[Grant]:
    return [
        Grant(("s3:ListBucketVersions",), (on.failure_bucket, on.letter_bucket)),
        Grant(("s3:DeleteObjectVersion",), (f"{on.failure_bucket}/*",), why_wide=OBJECTS),
        Grant(("s3:DeleteObjectVersion",), (f"{on.letter_bucket}/*",), why_wide=LETTERS),
        Grant(("sqs:ListQueues",), ("*",), why_wide=UNNAMEABLE),
        Grant(("lambda:ListEventSourceMappings",), ("*",), why_wide=UNNAMEABLE),
    ]


def _reads_stream(on: Resources, *streams: str) -> list[Grant]:
    """What the poller of a stream does in a consumer's name."""
    return [
        Grant(
            (
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ),
            streams,
            on_behalf=True,
        ),
        Grant(("s3:ListBucket",), (on.failure_bucket,), on_behalf=True),
    ]
