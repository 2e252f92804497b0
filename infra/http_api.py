"""The two public doors: collect's HTTP API for every origin, control's for holders of a token; stateless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Acknowledgment, CfnOutput, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import rights
from infra.functions import Maker
from infra.settings import Environments
from infra.stages import Stage

Routes = Mapping[str, Mapping[str, Any]]
OWN_AUTHORIZATION = (
    "The function itself checks write keys and tokens: both are the hub's own, and browsers send the former."
)
ACCESS_LOG = (
    '{"request":"$context.requestId","route":"$context.routeKey","status":"$context.status",'
    '"bytes":"$context.responseLength","ms":"$context.responseLatency","error":"$context.integrationErrorMessage"}'
)
API_TIMEOUT_S = 29


class HttpApis(Stack):
    """One route of API Gateway for each route of the Chalice apps, so that no other path wakes a function."""

    def __init__(
        self, scope: Construct, stage: Stage, maker: Maker, on: rights.Resources, given: Environments, secret_arn: str
    ) -> None:
        super().__init__(scope, f"{stage.prefix}-api", stack_name=f"{stage.prefix}-api")
        from functions.collect.handler import app as collect_app
        from functions.control.handler import app as control_app

        collect = maker.function(
            self, "collect", rights.collect(on), given.collect, timeout_s=API_TIMEOUT_S, memory_mb=1024
        )
        control = maker.function(self, "control", rights.control(on), given.control, timeout_s=API_TIMEOUT_S)
        self._door("Collect", collect, collect_app.routes, stage, _any_origin())
        self._door("Control", control, control_app.routes, stage, None)
        CfnOutput(self, "OperatorTokenSecretArn", value=secret_arn)

    def _door(
        self,
        name: str,
        function: lambda_.Function,
        routes: Routes,
        stage: Stage,
        cors: api.CfnApi.CorsProperty | None,
    ) -> None:
        door = api.CfnApi(
            self,
            f"{name}Api",
            name=f"{stage.prefix}-{name.lower()}",
            protocol_type="HTTP",
            cors_configuration=cors,
        )
        integration = api.CfnIntegration(
            self,
            f"{name}Integration",
            api_id=door.ref,
            integration_type="AWS_PROXY",
            integration_uri=function.function_arn,
            payload_format_version="2.0",
        )
        for route_key in route_keys(routes, with_default=cors is None):
            route = api.CfnRoute(
                self,
                f"{name} {route_key}",
                api_id=door.ref,
                route_key=route_key,
                target=f"integrations/{integration.ref}",
            )
            Validations.of(route).acknowledge(Acknowledgment(id="AwsSolutions-APIG4", reason=OWN_AUTHORIZATION))
        self._stage(name, door, stage)
        function.add_permission(
            f"{name}Door",
            principal=iam.ServicePrincipal("apigateway.amazonaws.com"),
            source_arn=f"arn:{self.partition}:execute-api:{self.region}:{self.account}:{door.ref}/*",
        )
        CfnOutput(self, f"{name}ApiId", value=door.ref)
        CfnOutput(self, f"{name}ApiUrl", value=door.attr_api_endpoint)

    def _stage(self, name: str, door: api.CfnApi, stage: Stage) -> None:
        """The one deployment of a door. Its log names routes, not paths or queries: those hold keys and data."""
        log = logs.LogGroup(
            self,
            f"{name}AccessLog",
            log_group_name=f"/aws/apigateway/{stage.prefix}-{name.lower()}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        api.CfnStage(
            self,
            f"{name}Stage",
            api_id=door.ref,
            stage_name="$default",
            auto_deploy=True,
            access_log_settings=api.CfnStage.AccessLogSettingsProperty(
                destination_arn=log.log_group_arn, format=ACCESS_LOG
            ),
        )


def route_keys(routes: Routes, *, with_default: bool) -> list[str]:
    """`GET /path` for each method of each route. `$default` lets control word its own refusals of unknown paths."""
    keys = sorted(f"{method} {path}" for path, methods in routes.items() for method in methods)
    return keys + ["$default"] * with_default


def _any_origin() -> api.CfnApi.CorsProperty:
    return api.CfnApi.CorsProperty(
        allow_origins=["*"],
        allow_methods=["GET", "POST", "OPTIONS"],
        allow_headers=["authorization", "content-type", "content-encoding", "x-requested-with"],
        max_age=int(Duration.days(1).to_seconds()),
    )
