"""Before a destroy: stops the control plane, then removes the queues and mappings that it made at run time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.account import MakeClient, clients_of, given_stage
from infra.stages import Stage, WrongStage

# SQS may list a queue as late as a minute after it was made, and a call of the control plane may run for 29 s more.
QUIET_S = 60.0
LOOK_EVERY_S = 2.0
WITHIN_S = 900.0
BUSY = frozenset({"ResourceInUseException", "TooManyRequestsException"})
GONE = frozenset({"ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


class StillThere(RuntimeError):
    """What was to be removed has not gone in the time that it had; the message names it."""


@dataclass(frozen=True)
class Clock:
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


def sweep(client: MakeClient, of: Stage, clock: Clock, quiet_s: float) -> int:
    """How many resources were removed. Ends when none has been seen for `quiet_s`; raises `StillThere`.

    Where the control plane is gone already nothing new can come, and the first empty look is enough.
    """
    quiet_s = quiet_s if stop_control_plane(client, of) else 0.0
    removed: set[str] = set()
    begun = empty_since = clock.now()
    while True:
        found = list(remove_all(client, of))
        if found:
            removed.update(found)
            empty_since = clock.now()
        elif clock.now() - empty_since >= quiet_s:
            return len(removed)
        if clock.now() - begun > WITHIN_S:
            raise StillThere(f"not gone after {WITHIN_S:.0f} s: {', '.join(sorted(found)) or 'something always new'}")
        clock.pause(LOOK_EVERY_S)


def stop_control_plane(client: MakeClient, of: Stage) -> bool:
    """Leave it no Lambda to run on; False where there is none. `let_control_plane_run` undoes it."""
    try:
        client("lambda").put_function_concurrency(FunctionName=of.function("control"), ReservedConcurrentExecutions=0)
    except ClientError as error:
        if _code(error) in GONE:
            return False
        raise
    return True


def let_control_plane_run(client: MakeClient, of: Stage) -> None:
    """After a destroy that was not finished: a deploy does not see that a sweep has stopped it."""
    name = of.function("control")
    try:
        if client("lambda").get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") == 0:
            client("lambda").delete_function_concurrency(FunctionName=name)
    except ClientError as error:
        if _code(error) not in GONE:
            raise


def remove_all(client: MakeClient, of: Stage) -> Iterator[str]:
    """Ask for every mapping and queue of the stage to be deleted; what was seen, by name."""
    for mapping in mappings(client, of):
        _unless(GONE | BUSY, client("lambda").delete_event_source_mapping, UUID=mapping)
        yield f"mapping {mapping}"
    for url in queues(client, of):
        _unless(GONE, client("sqs").delete_queue, QueueUrl=url)
        yield f"queue {url.rsplit('/', 1)[-1]}"


def mappings(client: MakeClient, of: Stage) -> list[str]:
    """Those of destinations' queues alone, the half deleted ones included; the deploy's own stay."""
    pages = client("lambda").get_paginator("list_event_source_mappings").paginate()
    return [
        found["UUID"]
        for page in pages
        for found in page["EventSourceMappings"]
        if found.get("EventSourceArn", "").rpartition(":")[2].startswith(of.queue_prefix)
    ]


def queues(client: MakeClient, of: Stage) -> list[str]:
    pages = client("sqs").get_paginator("list_queues").paginate(QueueNamePrefix=of.queue_prefix)
    return [url for page in pages for url in page.get("QueueUrls", [])]


def _unless(expected: frozenset[str], call: Callable[..., Any], **parameters: str) -> None:
    try:
        call(**parameters)
    except ClientError as error:
        if _code(error) not in expected:
            raise


def _code(error: ClientError) -> str:
    code: str = error.response["Error"]["Code"]
    return code


def main() -> None:
    try:
        of = given_stage(__doc__)
        removed = sweep(clients_of(of), of, Clock(), 0.0 if of.local else QUIET_S)
    except (StillThere, WrongStage, BotoCoreError, ClientError) as error:
        sys.exit(f"penstock: {error}")
    print(f"swept {removed} run-time resources of {of.prefix}")  # noqa: T201


if __name__ == "__main__":
    main()
