"""How a Lambda of the hub is made: its code, its layers, its own role with its own rights, its own log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra import bundles
from infra.rights import Grant
from infra.stages import Stage

RUNTIME = lambda_.Runtime.PYTHON_3_13
RUNTIME_REASON = "The runtime that the vendor layer is locked, built and tested for; it moves with the lock file."
ARCHITECTURE = lambda_.Architecture.ARM_64


class Maker:
    """Makes the functions of one stage. A stack that uses the layers gets its own copies of them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._layers: dict[str, list[lambda_.LayerVersion]] = {}

    def function(
        self,
        stack: Stack,
        name: str,
        grants: Sequence[Grant],
        environment: Mapping[str, str],
        *,
        timeout_s: int,
        memory_mb: int = 512,
        layers: bool = True,
        code: str = "",
    ) -> lambda_.Function:
        """`code` names the folder whose code it runs, where that is another function's."""
        log = self._log(stack, name)
        role = self._role(stack, name, grants, log)
        made = lambda_.Function(
            stack,
            _title(name),
            function_name=self._stage.function(name),
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler=f"functions.{code or name}.handler.handler",
            code=lambda_.Code.from_asset(str(bundles.function_code(code or name))),
            layers=self._layers_of(stack) if layers else [],
            role=role.without_policy_updates(),
            log_group=log,
            timeout=Duration.seconds(timeout_s),
            memory_size=memory_mb,
            reserved_concurrent_executions=self._stage.reserved.get(name),
            environment={"PENSTOCK_STAGE": self._stage.name, **environment},
        )
        Validations.of(made).acknowledge(Acknowledgment(id="AwsSolutions-L1", reason=RUNTIME_REASON))
        return made

    def _log(self, stack: Stack, name: str) -> logs.LogGroup:
        days = self._stage.log_retention_days
        return logs.LogGroup(
            stack,
            f"{_title(name)}Log",
            log_group_name=f"/aws/lambda/{self._stage.function(name)}",
            retention=logs.RetentionDays(_RETENTION[days]),
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _role(self, stack: Stack, name: str, grants: Sequence[Grant], log: logs.LogGroup) -> iam.Role:
        writing = iam.PolicyStatement(
            actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log.log_group_arn]
        )
        role = iam.Role(
            stack,
            f"{_title(name)}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={
                "rights": iam.PolicyDocument(statements=[writing, *(grant.statement() for grant in grants)])
            },
        )
        for grant in grants:
            for resource in grant.resources if grant.why_wide else ():
                finding = f"AwsSolutions-IAM5[Resource::{_as_nag_names_it(stack, resource)}]"
                Validations.of(role).acknowledge(Acknowledgment(id=finding, reason=grant.why_wide))
        return role

    def _layers_of(self, stack: Stack) -> list[lambda_.LayerVersion]:
        if stack.stack_name not in self._layers:
            paths = {"Vendor": bundles.vendor_layer(self._stage.local), "Core": bundles.core_layer()}
            self._layers[stack.stack_name] = [
                lambda_.LayerVersion(
                    stack,
                    f"{name}Layer",
                    code=lambda_.Code.from_asset(str(path)),
                    compatible_runtimes=[RUNTIME],
                    compatible_architectures=[ARCHITECTURE],
                )
                for name, path in paths.items()
            ]
        return self._layers[stack.stack_name]


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


_RETENTION = {1: "ONE_DAY", 30: "ONE_MONTH", 90: "THREE_MONTHS"}


def _as_nag_names_it(stack: Stack, resource: str) -> str:
    """An ARN with its references as `<AWS::Region>` and `<Logical.Attribute>`."""
    resolved = stack.resolve(resource)
    parts = resolved["Fn::Join"][1] if isinstance(resolved, dict) else [resolved]
    return "".join(part if isinstance(part, str) else _reference(part) for part in parts)


def _reference(part: dict[str, Any]) -> str:
    (kind, target), *_ = part.items()
    return f"<{target if kind == 'Ref' else '.'.join(target)}>"
