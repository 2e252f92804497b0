"""The OpenAPI document of the control API, and a machine that reads it and tries whether it is true."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import schemathesis
from openapi_spec_validator import validate
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import EngineEvent, FatalError, NonFatalError, ScenarioFinished
from schemathesis.engine.recorder import ScenarioRecorder
from werkzeug.serving import WSGIRequestHandler, make_server

from functions.control.handler import app
from tests.control_api import OPERATOR_TOKEN, call, control_cloud, tenant
from tests.control_wsgi import application

# Beyond what a schema can say: a webhook's address and expression, whose sources it names, where a cursor comes from,
# what is JSON Schema.
PLAN = """
continue-on-failure = true
seed = 1
[auth.openapi.access]
bearer = "{access}"
[auth.openapi.operator]
bearer = "{operator}"
[generation]
max-examples = 12
no-shrink = true
[phases.stateful]
max-steps = 6
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "409"]
[[operations]]
include-operation-id = [
    "createDestination", "changeDestination", "saveTrackingPlan", "createAlert", "changeAlert", "createReplay",
    "replayLetter", "setQuota", "getQuotas", {paged}
]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "409"]
[[operations]]
include-operation-id = [{absent}]
[operations.checks.ensure_resource_availability]
enabled = false
"""
# A source that was just made has no plan and has seen no event: that these are not found then is what the API promises.
ABSENT = ("getTrackingPlan", "deleteTrackingPlan", "getTrackingPlanVersion")
UNSEEN = ("getSchema", "getSchemaByQuery", "getSchemaOfCall", "traceEvent", "traceEventByQuery")
# Nor has a destination refused an event yet, and a replay, like an alert, stands two creations deep.
UNREFUSED = ("getLetter", "replayLetter", "getReplay", "getAlert", "changeAlert", "deleteAlert")


def failures(events: list[EngineEvent]) -> set[str]:
    found = {f"{event.label}: {event.value!r}" for event in events if isinstance(event, NonFatalError)}
    found |= {repr(event.exception) for event in events if isinstance(event, FatalError)}
    for event in events:
        if isinstance(event, ScenarioFinished):
            found |= set(refuted(event.recorder))
    return found


def refuted(recorder: ScenarioRecorder) -> Iterator[str]:
    """Each check that failed, with what was asked and what was answered."""
    for case_id, checks in recorder.checks.items():
        exchange = recorder.interactions[case_id]
        for check in checks:
            if check.failure_info:
                asked = exchange.request
                answered = exchange.response.content if exchange.response else None
                told = f"{asked.method} {asked.uri} {asked.body!r} -> {answered!r}"
                yield f"{check.name}: {told}: {check.failure_info.failure}"


@contextmanager
def served() -> Iterator[str]:
    """The API on loopback."""
    server = make_server("127.0.0.1", 0, application, threaded=False, request_handler=Quiet)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Thousands of requests need no line each."""


@pytest.mark.slow
def test_what_the_document_says_is_what_the_api_does() -> None:
    paged = ", ".join(f'"{name}"' for name in operations() if name.startswith("list"))
    with control_cloud(), served() as url:
        absent = ", ".join(f'"{name}"' for name in (*ABSENT, *UNSEEN, *UNREFUSED))
        plan = PLAN.format(access=tenant().token, operator=OPERATOR_TOKEN, paged=paged, absent=absent)
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig.from_str(plan))
        events = list(from_schema(schema).execute())
    assert sorted(failures(events)) == []
    # its loader reads the document, its engine does not; what needs a plan or events is tried in tests of its own
    assert operations() - succeeded(events) <= {"getDescription", *ABSENT, *UNSEEN, *UNREFUSED}


def operations() -> set[str]:
    """The names of all operations in the document."""
    paths = call("GET", "/openapi.json").body["paths"]
    return {operation["operationId"] for methods in paths.values() for operation in methods.values()}


def succeeded(events: list[EngineEvent]) -> set[str]:
    """The operations that were tried at least once to the end, not only up to a refusal."""
    done = set()
    for event in events:
        if isinstance(event, ScenarioFinished):
            for case_id, node in event.recorder.cases.items():
                exchange = event.recorder.interactions.get(case_id)
                if exchange and exchange.response and exchange.response.status_code < 300:
                    done.add(node.value.operation.definition.raw["operationId"])
    return done


def test_the_document_describes_every_route_and_no_other() -> None:
    document = call("GET", "/openapi.json").body
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == {(path, method) for path, methods in app.routes.items() for method in methods}


def test_the_document_is_valid_openapi() -> None:
    validate(call("GET", "/openapi.json").body)
