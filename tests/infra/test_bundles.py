"""What is uploaded: layers and code, whole, small, and right for where they run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import bundles
from infra.bundles import ROOT

AWS_BRINGS = ("boto3", "botocore", "s3transfer", "jmespath")
UNZIPPED_LIMIT = 250 * 1024 * 1024
BUNDLES: dict[str, Callable[[], Path]] = {
    "the core layer": bundles.core_layer,
    "a function": lambda: bundles.function_code("control"),
    "the vendor layer": lambda: bundles.vendor_layer(local=False),
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def imported(module: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Import a module by an interpreter that has this folder and the standard library, and nothing else."""
    code = f"import sys; sys.path[:0] = [{str(folder)!r}]; import {module}"
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_core_layer_is_the_package_without_the_local_hub() -> None:
    found = files(bundles.core_layer())
    assert "python/penstock/settings.py" in found
    assert not [name for name in found if name.startswith("python/penstock/local/")]
    assert all(name.startswith("python/penstock/") and name.endswith(".py") for name in found)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("functions/*/handler.py")))
def test_a_functions_code_is_its_folder_at_the_place_it_is_imported_from(name: str) -> None:
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "functions" / name).rglob("*.py")}
    assert files(bundles.function_code(name)) == expected


@pytest.mark.slow
def test_the_vendor_layer_is_for_arm_and_python_3_13_alone() -> None:
    native = [name for name in files(bundles.vendor_layer(local=False)) if name.endswith(".so")]
    assert native
    assert not [name for name in native if "cpython-313-aarch64" not in name and "abi3" not in name]


@pytest.mark.slow
def test_the_vendor_layer_holds_what_is_named_and_nothing_that_aws_brings() -> None:
    packed = {name.split("/")[1] for name in files(bundles.vendor_layer(local=False))}
    assert {"chalice", "msgspec", "pynamodb", "aws_lambda_powertools", "typing_extensions.py", "urllib3"} <= packed
    assert not packed & set(AWS_BRINGS)


@pytest.mark.slow
def test_the_layers_leave_room_for_what_is_to_come() -> None:
    assert size(bundles.vendor_layer(local=False)) + size(bundles.core_layer()) < UNZIPPED_LIMIT / 10


@pytest.mark.slow
@pytest.mark.parametrize("module", ["chalice.app", "msgspec", "urllib3", "typing_extensions"])
def test_a_package_of_the_layer_needs_nothing_besides(module: str) -> None:
    done = imported(module, bundles.vendor_layer(local=True) / "python")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", ["aws_lambda_powertools", "pynamodb.models"])
def test_a_package_of_the_layer_needs_nothing_besides_what_aws_brings(module: str) -> None:
    done = imported(module, bundles.vendor_layer(local=True) / "python")
    (missing,) = re.findall(r"No module named '(\w+)'", done.stderr)
    assert missing in AWS_BRINGS


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES)
def test_syntheses_at_the_same_time_find_the_same_whole_bundle(bundle: str) -> None:
    make = BUNDLES[bundle]
    whole = files(make())
    with ThreadPoolExecutor(max_workers=6) as pool:
        found = [pool.submit(make) for _ in range(12)]
        assert all(files(each.result()) == whole for each in found)


def test_a_package_that_the_lock_does_not_have_is_named() -> None:
    with pytest.raises(bundles.CannotBuild, match="no-such-package"):
        bundles._pins(["no-such-package"])
