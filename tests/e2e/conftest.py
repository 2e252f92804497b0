"""One hub for all end-to-end tests, beside whatever hub may run on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from penstock.local.home import REPO, Home
from penstock.local.ports import free_port
from tests.e2e.running_hub import RunningHub, bring_up, penstock

LAST = ("test_repair.py", "test_redeploy.py", "test_down.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder needs the hub, and what breaks it or takes it away comes last."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.e2e)
    items.sort(key=lambda item: LAST.index(item.path.name) if item.path.name in LAST else -1)


@pytest.fixture(scope="session")
def running() -> Iterator[RunningHub]:
    folder = REPO / ".penstock" / "e2e"
    home = Home(folder, cloud_port=free_port(), port=free_port(), sink_port=free_port())
    if folder.exists():
        penstock(home, "down", "--no-env")
        shutil.rmtree(folder)
    try:
        yield bring_up(home)
    finally:
        penstock(home, "down", "--no-env")
