"""After a destroy: lists whatever is left with the stage's names; ends with 1 where there is anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra import sweep
from infra.account import MakeClient, clients_of, given_stage
from infra.stages import Stage, WrongStage

ENDED = "DELETE_COMPLETE"


@dataclass(frozen=True)
class Findings:
    """What is left, and what AWS itself keeps for a while and nobody can hurry."""

    left: list[str]
    pending: list[str]


def audit(client: MakeClient, of: Stage) -> Findings:
    left = sorted(name for search in SEARCHES for name in search(client, of))
    return Findings(left, sorted(pending_keys(client, of)))


def stacks(client: MakeClient, of: Stage) -> Iterator[str]:
    for page in client("cloudformation").get_paginator("list_stacks").paginate():
        for found in page["StackSummaries"]:
            if found["StackName"].startswith(f"{of.prefix}-") and found["StackStatus"] != ENDED:
                yield f"stack {found['StackName']} ({found['StackStatus']})"


def functions(client: MakeClient, of: Stage) -> Iterator[str]:
    return _named(client("lambda"), "list_functions", "Functions", "FunctionName", f"{of.prefix}-", "function")


def layers(client: MakeClient, of: Stage) -> Iterator[str]:
    return _named(client("lambda"), "list_layers", "Layers", "LayerName", f"{of.prefix}-", "layer")


def made_at_run_time(client: MakeClient, of: Stage) -> Iterator[str]:
    yield from (f"mapping {each}" for each in sweep.mappings(client, of))
    yield from (f"queue {each.rsplit('/', 1)[-1]}" for each in sweep.queues(client, of))


def queues(client: MakeClient, of: Stage) -> Iterator[str]:
    """Those that the deploy made."""
    pages = client("sqs").get_paginator("list_queues").paginate(QueueNamePrefix=f"{of.prefix}-")
    names = [url.rsplit("/", 1)[-1] for page in pages for url in page.get("QueueUrls", [])]
    yield from (f"queue {name}" for name in names if not name.startswith(of.queue_prefix))


def schedules(client: MakeClient, of: Stage) -> Iterator[str]:
    return _named(client("scheduler"), "list_schedules", "Schedules", "Name", f"{of.prefix}-", "schedule")


def tables(client: MakeClient, of: Stage) -> Iterator[str]:
    for page in client("dynamodb").get_paginator("list_tables").paginate():
        yield from (f"table {name}" for name in page["TableNames"] if name.startswith(f"{of.prefix}-"))


def buses(client: MakeClient, of: Stage) -> Iterator[str]:
    found = client("events").list_event_buses(NamePrefix=of.prefix)["EventBuses"]
    yield from (f"event bus {each['Name']}" for each in found if each["Name"] == of.prefix)


def streams(client: MakeClient, of: Stage) -> Iterator[str]:
    for page in client("kinesis").get_paginator("list_streams").paginate():
        yield from (f"stream {name}" for name in page["StreamNames"] if name.startswith(f"{of.prefix}-"))


def buckets(client: MakeClient, of: Stage) -> Iterator[str]:
    found = client("s3").list_buckets()["Buckets"]
    yield from (f"bucket {each['Name']}" for each in found if each["Name"].startswith(f"{of.prefix}-"))


def roles(client: MakeClient, of: Stage) -> Iterator[str]:
    return _named(client("iam"), "list_roles", "Roles", "RoleName", f"{of.prefix}-", "role")


def logs(client: MakeClient, of: Stage) -> Iterator[str]:
    for service in ("lambda", "apigateway"):
        prefix = f"/aws/{service}/{of.prefix}-"
        pages = client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
        for page in pages:
            yield from (f"log group {found['logGroupName']}" for found in page["logGroups"])


def apis(client: MakeClient, of: Stage) -> Iterator[str]:
    return _named(client("apigatewayv2"), "get_apis", "Items", "Name", f"{of.prefix}-", "API")


def secrets(client: MakeClient, of: Stage) -> Iterator[str]:
    return _named(client("secretsmanager"), "list_secrets", "SecretList", "Name", f"{of.prefix}/", "secret")


def keys(client: MakeClient, of: Stage) -> Iterator[str]:
    for found in _keys(client, of):
        if found["KeyState"] != "PendingDeletion":
            yield f"KMS key {found['KeyId']} ({found['KeyState']})"


def pending_keys(client: MakeClient, of: Stage) -> Iterator[str]:
    for found in _keys(client, of):
        if found["KeyState"] == "PendingDeletion":
            yield f"KMS key {found['KeyId']} stays pending deletion until {found['DeletionDate']:%Y-%m-%d}"


def _keys(client: MakeClient, of: Stage) -> Iterator[dict[str, Any]]:
    """Keys have no names: ours are those with the stage's tag."""
    kms = client("kms")
    for page in kms.get_paginator("list_keys").paginate():
        for listed in page["Keys"]:
            found = kms.describe_key(KeyId=listed["KeyId"])["KeyMetadata"]
            if found["KeyManager"] == "CUSTOMER" and _is_tagged(kms, listed["KeyId"], of):
                yield found


def _is_tagged(kms: Any, key_id: str, of: Stage) -> bool:
    tags = kms.list_resource_tags(KeyId=key_id)["Tags"]
    return {"TagKey": "penstock:stage", "TagValue": of.name} in tags


def _named(client: Any, operation: str, items: str, name: str, prefix: str, what: str) -> Iterator[str]:
    for page in client.get_paginator(operation).paginate():
        yield from (f"{what} {found[name]}" for found in page[items] if found[name].startswith(prefix))


SEARCHES = (
    stacks,
    functions,
    layers,
    made_at_run_time,
    queues,
    schedules,
    tables,
    streams,
    buses,
    buckets,
    roles,
    logs,
    apis,
    secrets,
    keys,
)


def main() -> None:
    try:
        of = given_stage(__doc__)
        found = audit(clients_of(of), of)
    except (WrongStage, BotoCoreError, ClientError) as error:
        sys.exit(f"penstock: {error}")
    for line in found.pending:
        print(line)  # noqa: T201
    if found.left:
        sys.exit(f"penstock: left behind: {', '.join(found.left)}")


if __name__ == "__main__":
    main()
