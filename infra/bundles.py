"""What is uploaded: the vendor layer, the core layer and each function's code, built by uv and copying alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
BUILD = ROOT / ".penstock" / "build"
NAMES = ROOT / "layers" / "vendor" / "packages.txt"
# python3.13 runs on Amazon Linux 2023, whose glibc is 2.34.
AWS = ["--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.13", "--only-binary", ":all:"]
KEPT_S = 86_400  # no synthesis takes so long that it could still be using what is older
NEVER = ("__pycache__", "*.pyc", "tests", "test")
SPARED_TREES = ("bin", "chalice/cli", "chalice/deploy", "chalice/templates", "chalice/cdk")


class CannotBuild(RuntimeError):
    """Something that building needs is missing or failed; the message is one clear line."""


def function_code(name: str) -> Path:
    """A folder whose content is `functions/<name>/*.py`, so that siblings import as they do in the tests."""
    return _copy(f"function-{name}", ROOT / "functions" / name, Path("functions") / name)


def core_layer() -> Path:
    """The core package as a layer, without the local hub."""
    return _copy("core", ROOT / "layers" / "core" / "python" / "penstock", Path("python") / "penstock", "local")


def vendor_layer(local: bool) -> Path:
    """The packages that AWS's runtime lacks, for arm64 and Python 3.13, or for this machine's local cloud.

    Raises `CannotBuild`.
    """

    name, fingerprint = f"vendor-{'local' if local else 'aws'}", _fingerprint_of_vendor(local)
    target = BUILD / f"{name}-{fingerprint}"
    if target.exists():
        return target
    with _aside() as folder:
        python, pins = folder / "python", folder.parent / "pins.txt"
        pins.write_text(_pins(NAMES.read_text().split()))
        platform = ["--python", str(ROOT / ".venv" / "bin" / "python")] if local else AWS
        options = ["--no-deps", "--require-hashes", "--quiet", "--target", str(python), *platform]
        _run([_uv(), "pip", "install", *options, "--requirement", str(pins)])
        _trim(python)
        return _kept(folder, name, fingerprint)


def _copy(name: str, source: Path, place: Path, *left_out: str) -> Path:
    with _aside() as folder:
        shutil.copytree(source, folder / place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", *left_out))
        return _kept(folder, name, _fingerprint_of(folder))


@contextlib.contextmanager
def _aside() -> Iterator[Path]:
    """An empty folder to build in, out of the way of other syntheses."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=BUILD, prefix=".unfinished-") as aside:
        folder = Path(aside) / "bundle"
        folder.mkdir()
        yield folder


def _kept(folder: Path, name: str, fingerprint: str) -> Path:
    """Where the finished bundle lies: whole or not at all, however many syntheses make it at the same time."""
    target = BUILD / f"{name}-{fingerprint}"
    with contextlib.suppress(OSError):  # another synthesis was faster, and made the same
        folder.rename(target)
    os.utime(target)
    for old in BUILD.glob(f"{name}-*"):
        with contextlib.suppress(FileNotFoundError):  # another synthesis forgets it too
            if time.time() - old.stat().st_mtime > KEPT_S:
                shutil.rmtree(old, ignore_errors=True)
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


def _fingerprint_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _fingerprint_of_vendor(local: bool) -> str:
    digest = hashlib.sha256()
    for path in (ROOT / "uv.lock", NAMES, Path(__file__)):
        digest.update(path.read_bytes())
    if local:
        digest.update(os.path.realpath(ROOT / ".venv" / "bin" / "python").encode())
    return digest.hexdigest()[:20]


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
