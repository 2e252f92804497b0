"""The import rules of the house, read from the syntax tree of every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "layers" / "core" / "python"
STDLIB = frozenset(sys.stdlib_module_names)
IMPURE = frozenset({"os", "time", "random", "uuid", "secrets", "socket", "threading", "subprocess", "http", "ssl"})

OURS = {
    "domain": {"penstock.domain", "penstock.errors"},
    "steps": {"penstock.domain", "penstock.errors", "penstock.steps"},
    # Adapters know nothing of each other, but all tell AWS's errors apart alike.
    "adapters": {"penstock.domain", "penstock.errors", "penstock.tables", "penstock.adapters.aws_errors"},
}
VENDORS = {
    "domain": {"msgspec", "orjson", "standardwebhooks"},
    "steps": {"msgspec"},
}
ADAPTER_VENDORS = {"boto3", "botocore", "jsonschema_rs", "pybase64", "pynamodb", "urllib3", "msgspec"}
STUBS = "mypy_boto3_"  # types of boto3's clients, for the type checker alone
MARSHALLING = {
    "msgspec",
    "botocore",
}  # the domain's own language, and the half of boto3 and PynamoDB that raises errors


def imports_in(source: str) -> Iterator[str]:
    """Every module a file imports, at its top or inside a function; type-checking blocks included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}"
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imports_of(path: Path) -> Iterator[str]:
    yield from imports_in(path.read_text())


def is_under(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in allowed)


def files_of(layer: str) -> list[Path]:
    return sorted((CORE / "penstock" / layer).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(CORE).with_suffix("").parts)


def violations(layer: str, own_module: str, source: str) -> list[str]:
    """What a file of `domain`, `steps` or `adapters` imports and may not."""
    wrong = []
    for module in imports_in(source):
        top = module.split(".")[0]
        if top == "penstock":
            if not is_under(module, OURS[layer]) and not module.startswith(own_module):
                wrong.append(module)
        elif top in STDLIB:
            if layer == "domain" and top in IMPURE:
                wrong.append(module)
        elif layer == "adapters":
            if top not in ADAPTER_VENDORS and not top.startswith(STUBS):
                wrong.append(module)
        elif top not in VENDORS[layer]:
            wrong.append(module)
    return wrong


@pytest.mark.parametrize("layer", ["domain", "steps", "adapters"])
def test_each_layer_imports_only_what_lies_below_it(layer: str) -> None:
    wrong = {
        module_name(path): found
        for path in files_of(layer)
        if (found := violations(layer, module_name(path), path.read_text()))
    }
    assert wrong == {}


def test_an_adapter_speaks_to_one_vendor() -> None:
    wrong = {}
    for path in files_of("adapters"):
        vendors = {top for module in imports_of(path) if (top := module.split(".")[0]) in ADAPTER_VENDORS}
        if len(vendors - MARSHALLING) > 1:
            wrong[path.name] = sorted(vendors)
    assert wrong == {}


def reads_the_environment(source: str) -> bool:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"):
            return True
        if isinstance(node, ast.ImportFrom) and {n.name for n in node.names} & {"environ", "environb", "getenv"}:
            return True
    return False


def test_only_settings_reads_the_environment() -> None:
    readers = set()
    for path in (CORE / "penstock").rglob("*.py"):
        relative = path.relative_to(CORE / "penstock")
        if relative.parts[0] == "local" or relative.name == "settings.py":
            continue  # the local hub runs on a person's machine, where the environment is the person's
        if reads_the_environment(path.read_text()):
            readers.add(str(relative))
    assert readers == set()
    assert reads_the_environment("import os\nx = os.environ['X']")
    assert reads_the_environment("from os import getenv")


def test_functions_import_the_core_and_never_each_other() -> None:
    allowed = {"penstock.wiring", "penstock.steps", "penstock.domain", "penstock.errors"}
    wrong = {}
    for path in sorted((ROOT / "functions").rglob("*.py")):
        own = path.relative_to(ROOT / "functions").parts[0]
        if own == "teardown":
            continue  # a custom resource of the deploy, held to its own rule below
        found = [
            module
            for module in imports_of(path)
            if (top := module.split(".")[0]) not in STDLIB
            and not is_under(module, allowed | {f"functions.{own}"})
            and top not in {"aws_lambda_powertools", "chalice", "msgspec"}
        ]
        if found:
            wrong[str(path.relative_to(ROOT))] = found
    assert wrong == {}


def test_the_deploy_knows_of_the_core_its_tables_alone() -> None:
    found = {
        f"{path.name}: {module}"
        for path in (ROOT / "infra").rglob("*.py")
        for module in imports_of(path)
        if module.startswith("penstock") and not is_under(module, {"penstock.tables"}) and module != "penstock"
    }
    assert found == set()


def test_the_teardown_function_needs_no_layer() -> None:
    found = {
        module
        for path in (ROOT / "functions" / "teardown").rglob("*.py")
        for module in imports_of(path)
        if module.split(".")[0] not in STDLIB | {"boto3", "botocore", "functions"}
    }
    assert found == set()


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("domain", "import os"),
        ("domain", "from time import monotonic"),
        ("domain", "from penstock.steps import collect"),
        ("domain", "import boto3"),
        ("steps", "from penstock.adapters import event_stream"),
        ("steps", "import urllib3"),
        ("adapters", "from penstock.adapters import other"),
        ("adapters", "from penstock import settings"),
        ("adapters", "import requests"),
    ],
)
def test_a_forbidden_import_is_seen(layer: str, line: str) -> None:
    assert violations(layer, f"penstock.{layer}.planted", f"def inner():\n    {line}\n") != []
