"""A program that we run ends with us, and its failure is one line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from penstock.local.commands import run
from penstock.local.processes import born
from penstock.local.trouble import Trouble


def python(program: str, log: Path, within_s: float = 20) -> None:
    run("the deploy", [sys.executable, "-c", program], log, os.environ, log.parent, within_s)


def test_what_succeeds_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    python("print('done')", tmp_path / "x.log")
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "x.log").read_text() == "done\n"


def test_a_failure_is_told_by_its_most_telling_line(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("Error: an earlier one\n")
    with pytest.raises(Trouble, match=r"^the deploy failed: Error: no such stage \(all of it is in .*x\.log\)$"):
        python("print('Error: no such stage'); print('at line 1'); raise SystemExit(3)", log)
    with pytest.raises(Trouble, match=r"^the deploy failed: it said nothing"):
        python("raise SystemExit(1)", log)


def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    child = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(Trouble, match="took longer than 2 s"):
        python(program, tmp_path / "x.log", within_s=2)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while born(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
