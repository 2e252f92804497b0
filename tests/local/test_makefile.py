"""What the Makefile says where a tool is missing: one line, before anything is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.local.home import REPO

NEEDED = ["bash", "make", "python3", "node", "npm", "git", "env", "sed", "grep", "cat"]


def stand_in(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def tools_without(folder: Path, *absent: str) -> subprocess.CompletedProcess[str]:
    """Run `make tools` where only what it needs is on the path, and of that not these."""
    for tool in set(NEEDED) - set(absent):
        found = f"{sys.base_prefix}/bin/python3" if tool == "python3" else shutil.which(tool)
        assert found is not None
        stand_in(folder / tool, f'exec {found} "$@"')
    environment = {**os.environ, "PATH": str(folder)}
    environment.pop("MAKEFLAGS", None)
    command = [str(shutil.which("make")), "--no-print-directory", "tools"]
    return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_with_every_tool_there_is_nothing_to_say(tmp_path: Path) -> None:
    done = tools_without(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("absent", "complaint"),
    [
        ("python3", "penstock: needs python 3.11 or newer, and there is none"),
        ("node", "penstock: needs node 20 or newer, and there is none"),
        ("npm", "penstock: needs npm, and there is none"),
        ("git", "penstock: needs git, and there is none"),
    ],
)
def test_a_missing_tool_is_named(tmp_path: Path, absent: str, complaint: str) -> None:
    done = tools_without(tmp_path, absent)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if not line.startswith("make")] == [complaint]


def test_a_tool_that_is_too_old_is_named(tmp_path: Path) -> None:
    stand_in(tmp_path / "node", '[ "$1" = --version ] && echo v18.1.0 && exit 0; exit 1')
    done = tools_without(tmp_path, "node")
    assert "penstock: needs node 20 or newer, and this is v18.1.0" in done.stderr.splitlines()
