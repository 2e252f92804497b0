"""The two HTTP APIs: one route for each route of the Chalice apps, and one door for browsers."""

from __future__ import annotations

import pytest

from functions.collect.handler import app as collect_app
from functions.control.handler import app as control_app
from tests.infra.template_reading import Templates, properties, resources

pytestmark = pytest.mark.slow

APPS = {"collect": collect_app, "control": control_app}


def routes_of(templates: Templates, name: str) -> set[str]:
    apis = resources(templates, "AWS::ApiGatewayV2::Api", "-api")
    (api,) = (logical for logical, found in apis.items() if found["Properties"]["Name"] == f"penstock-dev-{name}")
    found = properties(templates, "AWS::ApiGatewayV2::Route")
    return {route["RouteKey"] for route in found if route["ApiId"] == {"Ref": api}}


@pytest.mark.parametrize("name", APPS)
def test_every_route_of_the_app_is_a_route_of_the_api_and_none_besides(name: str, templates: Templates) -> None:
    expected = {f"{method} {path}" for path, methods in APPS[name].routes.items() for method in methods}
    assert routes_of(templates, name) - {"$default"} == expected


def test_what_is_routed_nowhere_wakes_control_and_never_collect(templates: Templates) -> None:
    assert "$default" in routes_of(templates, "control")
    assert "$default" not in routes_of(templates, "collect")


def test_every_route_leads_to_the_function_of_its_own_api(templates: Templates) -> None:
    integrations = resources(templates, "AWS::ApiGatewayV2::Integration")
    for route in properties(templates, "AWS::ApiGatewayV2::Route"):
        (target,) = (part["Ref"] for part in route["Target"]["Fn::Join"][1] if isinstance(part, dict))
        integration = integrations[target]["Properties"]
        assert integration["ApiId"] == route["ApiId"]
        assert integration["PayloadFormatVersion"] == "2.0"
        assert integration["IntegrationUri"]["Fn::GetAtt"][0].startswith(route["ApiId"]["Ref"].removesuffix("Api"))


def test_browsers_of_every_origin_may_send_events_and_none_may_reach_control(templates: Templates) -> None:
    doors = {found["Name"]: found for found in properties(templates, "AWS::ApiGatewayV2::Api")}
    cors = doors["penstock-dev-collect"]["CorsConfiguration"]
    assert cors["AllowOrigins"] == ["*"]
    assert {"GET", "POST"} <= set(cors["AllowMethods"])
    assert {"authorization", "content-type"} <= set(cors["AllowHeaders"])
    assert not cors.get("AllowCredentials")
    assert "CorsConfiguration" not in doors["penstock-dev-control"]


def test_access_logs_name_routes_and_never_paths_or_queries(templates: Templates) -> None:
    stages = properties(templates, "AWS::ApiGatewayV2::Stage")
    assert len(stages) == 2
    for stage in stages:
        written = stage["AccessLogSettings"]["Format"]
        assert "$context.routeKey" in written
        assert "$context.path" not in written
        assert "$context.identity" not in written
