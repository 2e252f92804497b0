"""The hub of one stage, put together from its stacks."""

from __future__ import annotations

from aws_cdk import App, Aws, Tags, Validations

from infra.functions import Maker
from infra.http_api import HttpApis
from infra.pipeline import Pipeline
from infra.rights import Resources
from infra.settings import Environments, Names
from infra.stages import Stage
from infra.state import State, Teardown, failure_bucket, letter_bucket
from infra.stream import Stream


def hub(app: App, stage: Stage) -> None:
    """Add the five stacks of a stage to the app; stateful ones first, the one that guards a destroy last."""
    state, stream, maker = State(app, stage), Stream(app, stage), Maker(stage)
    on = _resources(stage, state)
    given = Environments(stage, _names(stage), on)
    pipeline = Pipeline(app, stage, maker, on, given)
    apis = HttpApis(app, stage, maker, on, given, state.operator_secret.secret_arn)
    teardown = Teardown(app, stage, maker, on, (failure_bucket(stage), letter_bucket(stage)))
    for stack in (pipeline, apis):
        stack.add_stack_dependency(state)
        stack.add_stack_dependency(stream)
        teardown.add_stack_dependency(stack)  # a destroy goes backwards: the guard is asked before anything goes
    Tags.of(app).add("penstock:stage", stage.name)
    if not stage.local:
        from cdk_nag import AwsSolutionsChecks  # seconds to load, and nothing that the local cloud would be safer for

        Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def _names(stage: Stage) -> Names:
    return Names(
        config=f"{stage.prefix}-config",
        audit=f"{stage.prefix}-audit",
        receipts=f"{stage.prefix}-receipts",
        progress=f"{stage.prefix}-progress",
        dedup=f"{stage.prefix}-dedup",
        quotas=f"{stage.prefix}-quotas",
        gates=f"{stage.prefix}-gates",
        overflow=f"{stage.prefix}-overflow",
        letters=f"{stage.prefix}-letters",
        places=f"{stage.prefix}-places",
        schemas=f"{stage.prefix}-schemas",
        changes=f"{stage.prefix}-changes",
        event_bus=stage.prefix,
        failure_bucket=failure_bucket(stage),
        letter_bucket=letter_bucket(stage),
    )


def _resources(stage: Stage, state: State) -> Resources:
    """ARNs by the names that we give; by reference where AWS chooses the name."""
    return Resources(
        config=_arn("dynamodb", f"table/{stage.prefix}-config"),
        audit=_arn("dynamodb", f"table/{stage.prefix}-audit"),
        receipts=_arn("dynamodb", f"table/{stage.prefix}-receipts"),
        progress=_arn("dynamodb", f"table/{stage.prefix}-progress"),
        dedup=_arn("dynamodb", f"table/{stage.prefix}-dedup"),
        quotas=_arn("dynamodb", f"table/{stage.prefix}-quotas"),
        gates=_arn("dynamodb", f"table/{stage.prefix}-gates"),
        overflow=_arn("dynamodb", f"table/{stage.prefix}-overflow"),
        letters=_arn("dynamodb", f"table/{stage.prefix}-letters"),
        places=_arn("dynamodb", f"table/{stage.prefix}-places"),
        schemas=_arn("dynamodb", f"table/{stage.prefix}-schemas"),
        changes=_arn("dynamodb", f"table/{stage.prefix}-changes"),
        places_stream=state.stream_of("places"),
        changes_stream=state.stream_of("changes"),
        event_bus=_arn("events", f"event-bus/{stage.prefix}"),
        stream=_arn("kinesis", f"stream/{stage.prefix}-events"),
        bulk=_arn("kinesis", f"stream/{stage.prefix}-bulk"),
        key=state.key.key_arn,
        operator_secret=state.operator_secret.secret_arn,
        failure_bucket=f"arn:{Aws.PARTITION}:s3:::{failure_bucket(stage)}",
        letter_bucket=f"arn:{Aws.PARTITION}:s3:::{letter_bucket(stage)}",
        queues=_arn("sqs", f"{stage.queue_prefix}*"),
        mappings=_arn("lambda", "event-source-mapping:*"),
        chores=_arn("sqs", stage.chores),
        replays=_arn("sqs", stage.replays),
        alert_topics=_arn("sns", f"{stage.alert_topics}*"),
        deliver=_arn("lambda", f"function:{stage.function('deliver')}"),
        deliver_slow=_arn("lambda", f"function:{stage.function('deliver_slow')}"),
    )


def _arn(service: str, rest: str) -> str:
    return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{rest}"
