"""Before a deploy: is this the account that is meant, and does it have room for what the stage reserves?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from infra.account import MakeClient
from infra.stages import Stage

# AWS leaves at least so much concurrency to functions that reserve none.
UNRESERVED = 100
BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"


def account(client: MakeClient) -> str:
    """The account that the credentials belong to."""
    found: str = client("sts").get_caller_identity()["Account"]
    return found


def is_bootstrapped(client: MakeClient) -> bool:
    """Whether the CDK can deploy to this account and region."""
    try:
        client("ssm").get_parameter(Name=BOOTSTRAP)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return False
        raise
    return True


def obstacles(client: MakeClient, of: Stage) -> Iterator[str]:
    """Why a deploy of this stage would fail halfway."""
    if not of.reserved:
        return
    functions = client("lambda")
    limit: int = functions.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    others = sum(reserved_by_others(functions, of))
    wanted = sum(of.reserved.values())
    if wanted + others + UNRESERVED > limit:
        yield (
            f"stage {of.name} reserves {wanted} concurrent Lambdas, other functions reserve {others}, AWS keeps "
            f"{UNRESERVED} back, and the account's limit in {of.region} is {limit}: have the quota raised "
            "(Service Quotas, Lambda, concurrent executions) or lower `reserved` in infra/stages.py"
        )


def reserved_by_others(functions: Any, of: Stage) -> Iterator[int]:
    ours = {of.function(name) for name in of.reserved}
    for page in functions.get_paginator("list_functions").paginate():
        for found in page["Functions"]:
            if found["FunctionName"] not in ours:
                answer = functions.get_function_concurrency(FunctionName=found["FunctionName"])
                yield answer.get("ReservedConcurrentExecutions", 0)
