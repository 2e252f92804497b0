"""What is uploaded: the vendor layer, the core layer and each function's code, built by uv and copying alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / ".penstock" / "build"
NAMES = ROOT / "layers" / "vendor" / "packages.txt"
AWS = ["--python-platform", "aarch64-manylinux2014", "--python-version", "3.13", "--only-binary", ":all:"]
NEVER = ("__pycache__", "*.pyc", "tests", "test")
SPARED_TREES = ("bin", "chalice/cli", "chalice/deploy", "chalice/templates", "chalice/cdk")


class CannotBuild(RuntimeError):
    """Something that building needs is missing or failed; the message is one clear line."""


def function_code(name: str) -> Path:
    """A folder whose content is `functions/<name>/*.py`, so that siblings import as they do in the tests."""
    target = BUILD / "functions" / name
    _copy_anew(ROOT / "functions" / name, target / "functions" / name)
    return target


def core_layer() -> Path:
    """The core package as a layer, without the local hub."""
    target = BUILD / "core"
    _copy_anew(ROOT / "layers" / "core" / "python" / "penstock", target / "python" / "penstock", "local")
    return target


def vendor_layer(local: bool) -> Path:
    """The packages that AWS's runtime lacks, for arm64 and Python 3.13, or for this machine's local cloud.

    Raises `CannotBuild`.
    """
    names = NAMES.read_text().split()
    target = BUILD / f"vendor-{'local' if local else 'aws'}"
    mark, wanted = target / ".made-from", _fingerprint(local)
    if mark.exists() and mark.read_text() == wanted:
        return target
    shutil.rmtree(target, ignore_errors=True)
    python = target / "python"
    python.mkdir(parents=True)
    pins = BUILD / "vendor-requirements.txt"
    pins.write_text(_pins(names))
    platform = ["--python", str(ROOT / ".venv" / "bin" / "python")] if local else AWS
    options = ["--no-deps", "--require-hashes", "--quiet", "--target", str(python), *platform]
    _run([_uv(), "pip", "install", *options, "--requirement", str(pins)])
    _trim(python)
    mark.write_text(wanted)
    return target


def _pins(names: list[str]) -> str:
    """The lock file's pins, hashes included, of the named packages."""
    options = ["--frozen", "--no-default-groups", "--no-emit-project", "--no-annotate", "--no-header", "--quiet"]
    exported = _run([_uv(), "export", *options])
    blocks = exported.replace("\\\n", " ").splitlines()
    kept = [line for line in blocks if line.partition("==")[0].strip() in names]
    missing = set(names) - {line.partition("==")[0].strip() for line in kept}
    if missing:
        raise CannotBuild(f"uv.lock has no {', '.join(sorted(missing))} (layers/vendor/packages.txt names it)")
    return "\n".join(kept) + "\n"


def _trim(python: Path) -> None:
    for tree in SPARED_TREES:
        shutil.rmtree(python / tree, ignore_errors=True)
    for pattern in NEVER:
        for found in list(python.rglob(pattern)):
            if found.is_dir():
                shutil.rmtree(found)
            else:
                found.unlink()


def _fingerprint(local: bool) -> str:
    digest = hashlib.sha256()
    for path in (ROOT / "uv.lock", NAMES, Path(__file__)):
        digest.update(path.read_bytes())
    if local:
        digest.update(os.path.realpath(ROOT / ".venv" / "bin" / "python").encode())
    return digest.hexdigest()


def _copy_anew(source: Path, target: Path, *left_out: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", *left_out))


def _uv() -> str:
    bundled = ROOT / ".penstock" / "tools" / "bin" / "uv"
    found = os.environ.get("UV") or (str(bundled) if bundled.exists() else shutil.which("uv"))
    if not found:
        raise CannotBuild("uv is missing: run `make env`")
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise CannotBuild(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
