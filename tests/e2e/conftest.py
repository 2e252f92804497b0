"""One hub for all end-to-end tests, beside whatever hub may run on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.running_hub import RunningHub, hub_of_its_own

LAST = ("test_repair.py", "test_redeploy.py", "test_down.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder needs the hub, and what breaks it or takes it away comes last."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.e2e)
    items.sort(key=lambda item: LAST.index(item.path.name) if item.path.name in LAST else -1)


@pytest.fixture(scope="session")
def running() -> Iterator[RunningHub]:
    with hub_of_its_own("e2e") as hub:
        yield hub
