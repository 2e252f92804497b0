"""An HTTP API's event becomes the one that Chalice reads."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from chalice.app import Chalice, Response
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.http_event import rest_event

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def payload_2(**overrides: Any) -> dict[str, Any]:
    event = {
        "version": "2.0",
        "routeKey": "POST /things/{thing_id}",
        "rawPath": "/things/a",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "pathParameters": {"thing_id": "a"},
        "requestContext": {
            "http": {"method": "POST", "path": "/things/a", "sourceIp": "203.0.113.9", "userAgent": "curl"},
            "requestId": "r-1",
            "stage": "$default",
        },
        "body": "{}",
        "isBase64Encoded": False,
    }
    return event | overrides


def echo() -> Chalice:
    """An app whose one route answers with what it was asked."""
    app = Chalice(app_name="echo", configure_logs=False, env={})

    @app.route("/things/{thing_id}", methods=["POST"], content_types=[])
    def view(thing_id: str) -> Response:
        request = app.current_request
        query = {name: request.query_params.getlist(name) for name in request.query_params or ()}
        return Response({"id": thing_id, "body": request.raw_body.decode("latin-1"), "query": query})

    return app


def asked(**overrides: Any) -> dict[str, Any]:
    return json.loads(echo()(rest_event(payload_2(**overrides)), None)["body"])


def test_chalice_finds_the_view_its_parameters_and_the_body() -> None:
    assert asked() == {"id": "a", "body": "{}", "query": {}}


def test_a_binary_body_reaches_the_view_as_bytes() -> None:
    assert asked(body="AP8=", isBase64Encoded=True)["body"] == "\x00\xff"


def test_a_request_without_body_query_or_parameters_is_taken() -> None:
    event = payload_2(routeKey="GET /plain", rawPath="/plain")
    for name in ("body", "pathParameters", "rawQueryString"):
        del event[name]
    found = rest_event(event)
    assert (found["body"], found["pathParameters"], found["multiValueQueryStringParameters"]) == (None, {}, None)


def test_cookies_are_one_header() -> None:
    assert rest_event(payload_2(cookies=["a=1", "b=2"]))["headers"]["cookie"] == "a=1; b=2"


def test_the_callers_address_is_kept() -> None:
    assert rest_event(payload_2())["requestContext"]["identity"]["sourceIp"] == "203.0.113.9"


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=5), TEXT.filter(bool))
def test_repeated_parameters_and_odd_characters_survive(pairs: list[tuple[str, str]], thing_id: str) -> None:
    found = asked(rawQueryString=urlencode(pairs), pathParameters={"thing_id": quote(thing_id, safe="")})
    expected: dict[str, list[str]] = {}
    for name, value in pairs:
        expected.setdefault(name, []).append(value)
    assert found["query"] == expected
    assert found["id"] == thing_id
