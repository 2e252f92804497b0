"""The guide to the control API names every route, no other, and its examples are taken as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from functions.control.handler import RESOURCES, app
from penstock.domain import bodies
from penstock.domain.tokens import Scope
from tests.control_api import route_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "control-api.md").read_text()
CURLS = re.findall(r"^curl .*?(?=^curl |^```)", GUIDE, re.MULTILINE | re.DOTALL)
OPERATIONS = {f"{operation.method} {operation.path}": operation for each in RESOURCES for operation, _ in each.served}


def test_the_guide_names_every_route_and_no_other() -> None:
    named = set(re.findall(r"^\| `([A-Z]+ /\S+)` \|", GUIDE, re.MULTILINE))
    assert named == {f"{method} {path}" for path, methods in app.routes.items() for method in methods}


def test_the_guide_names_every_scope() -> None:
    assert all(f"`{scope}`" in GUIDE for scope in get_args(Scope))


@pytest.mark.parametrize("curl", CURLS, ids=range(len(CURLS)))
def test_every_example_reaches_an_operation_that_takes_its_body(curl: str) -> None:
    method = re.search(r"-X (\w+)", curl)
    path = re.search(r"\$HUB(/[^\s\"?]+)", curl)
    assert path
    key, _ = route_of(path[1], method[1] if method else "GET")
    operation = OPERATIONS[key]
    body = re.search(r"-d '(.*)'", curl, re.DOTALL)
    assert bool(body) == bool(operation.body)
    if body and operation.body:
        bodies.decode(json.dumps(json.loads(body[1])).encode(), operation.body)


def test_there_is_an_example_for_each_kind_of_thing() -> None:
    assert len(CURLS) >= 9


def test_the_routes_can_be_read_without_an_environment_or_a_network() -> None:
    """As the deploy does, to make one API Gateway route of each."""
    script = (
        "import socket; socket.socket.connect = None; import functions.control.handler as f; print(len(f.app.routes))"
    )
    path = os.pathsep.join(str(part) for part in (ROOT, ROOT / "layers" / "core" / "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == (str(len(app.routes)), "")
