"""docs/operations.md says of stages, stacks, commands and costs what is so."""

from __future__ import annotations

import importlib.util
import re

import pytest

from infra import gatekeeper
from infra.bundles import ROOT
from infra.stages import Stage, stage
from infra.sweep import QUIET_S
from penstock.adapters import queue_mapping
from tests.infra.template_reading import Templates

GUIDE = (ROOT / "docs" / "operations.md").read_text()
DECIMAL = re.compile(r"^\d+\.\d\d$")


def rows(*, after: str) -> list[list[str]]:
    """The cells of the table that follows a text, without its head."""
    table = GUIDE.partition(after)[2].partition("\n|")[2].partition("\n\n")[0]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def described(of: Stage) -> list[str]:
    shares = ", ".join(f"{name} {share}" for name, share in of.reserved.items())
    return [
        str(of.log_retention_days),
        shares or "none",
        f"{of.cache_stale_s:g} s",
        f"{of.deliver_timeout_s} s",
        "yes" if of.local else "no",
    ]


@pytest.mark.parametrize(("column", "name"), [(1, "dev"), (1, "anything"), (2, "prod"), (3, "local")])
def test_the_stages_are_as_described(column: int, name: str) -> None:
    assert [row[column] for row in rows(after="infra/stages.py`.")] == described(stage(name, "us-east-1"))


@pytest.mark.slow
def test_the_stacks_are_those_that_are_deployed(templates: Templates) -> None:
    told = {row[0].strip("`").replace("<stage>", "dev") for row in rows(after="deploys five stacks:")}
    assert told == set(templates)


def test_the_commands_that_are_named_exist() -> None:
    modules = set(re.findall(r"python -m (infra\.\w+)", GUIDE))
    assert modules
    assert all(importlib.util.find_spec(module) for module in modules)
    targets = set(re.findall(r"make (\w+)", GUIDE))
    makefile = (ROOT / "Makefile").read_text()
    assert {"deploy", "destroy"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_numbers_of_isolation_hold() -> None:
    prod = stage("prod", "us-east-1")
    assert f"`prod`'s {prod.reserved['deliver']} hold {prod.reserved['deliver'] // 2} destinations" in GUIDE
    slow = prod.reserved["deliver_slow"]
    assert f"`deliver_slow`'s {slow} hold {slow // 2} slow ones" in GUIDE
    probes = gatekeeper.BATCHES_AT_ONCE * gatekeeper.CHORES_AT_ONCE
    assert prod.reserved["gatekeeper"] > gatekeeper.BATCHES_AT_ONCE
    assert f"`gatekeeper`'s {prod.reserved['gatekeeper']} hold {probes} probes at once" in GUIDE
    assert queue_mapping.BATCH_SIZE == 10
    assert QUIET_S == 60


def test_the_costs_add_up() -> None:
    *parts, total = [row[-1] for row in rows(after="fills batches:")]
    assert all(DECIMAL.match(part) for part in [*parts, total])
    assert sum(round(float(part) * 100) for part in parts) == round(float(total) * 100)
