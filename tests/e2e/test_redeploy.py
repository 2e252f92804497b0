"""A change is deployed to a running hub: what was made before it goes on working, with the new code."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from penstock.local.deployment import PREFIX, deploy, session
from penstock.local.home import REPO, Home
from penstock.local.progress import Progress
from tests.e2e.running_hub import RunningHub, numbers, send_by_library

COPIED = (
    "app.py",
    "cdk.json",
    "Makefile",
    "pyproject.toml",
    "uv.lock",
    "README.md",
    "package.json",
    "package-lock.json",
)
COPIED_TREES = ("infra", "functions", "layers")
LINKED = (".venv", "node_modules", ".penstock/tools")
BEFORE, AFTER = "cache_fresh_s=0.5", "cache_fresh_s=0.4"


def changed_checkout(folder: Path) -> Path:
    """The checkout as it stands but for one setting of the local stage."""
    for name in COPIED:
        shutil.copy2(REPO / name, folder / name)
    for name in COPIED_TREES:
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".penstock").mkdir()
    for name in LINKED:
        (folder / name).symlink_to(REPO / name)
    stages = folder / "infra" / "stages.py"
    assert BEFORE in stages.read_text()
    stages.write_text(stages.read_text().replace(BEFORE, AFTER))
    return folder


def fresh_for(home: Home, function: str) -> str:
    """The setting that was changed, as a function has it."""
    client = session().client("lambda", endpoint_url=home.cloud_url)
    configuration = client.get_function_configuration(FunctionName=f"{PREFIX}-{function}")
    return configuration["Environment"]["Variables"]["PENSTOCK_CACHE_FRESH_S"]


def test_a_change_is_deployed_and_everything_goes_on(running: RunningHub, tmp_path: Path) -> None:
    pipe = running.new_pipe()
    send_by_library(pipe, users=10, each=10)
    assert len(pipe.wait_for_events(100)) == 100
    assert fresh_for(running.home, "fanout") == "0.5"

    home = replace(running.home, repo=changed_checkout(tmp_path))
    deployed = deploy(home, Progress(Console(quiet=True)))

    assert {fresh_for(home, function) for function in ("collect", "fanout", "deliver")} == {"0.4"}
    assert set(deployed.apis) == {"collect", "control"}
    send_by_library(pipe, users=10, each=10)
    arrived = pipe.wait_for_events(200)
    assert len(arrived) == 200
    for user in range(10):
        assert numbers(arrived, f"user-{user}") == [*range(10), *range(10)]
