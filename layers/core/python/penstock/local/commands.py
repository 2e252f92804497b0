"""Run another program to its end: its output in a log, its failure one line, no child of it left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.local.trouble import Trouble

TELLING = ("error", "fail", "❌")


def run(
    what: str, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path, within_s: float
) -> None:
    """Raises `Trouble` where it fails or takes longer than `within_s`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{what} took longer than {within_s:.0f} s: see {log}") from None
        finally:
            _end_all(process)
    if code:
        raise Trouble(f"{what} failed: {_telling_line(log, begin)} (all of it is in {log})")


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """It leads a group of its own: whatever of it still runs goes with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of it runs any more
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _telling_line(log: Path, begin: int) -> str:
    """The line that says most about a failure: the last that speaks of one, else the last."""
    with log.open("rb") as whole:
        whole.seek(begin)
        lines = [line.strip() for line in whole.read().decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in TELLING)]
    return (telling or lines or ["it said nothing"])[-1][:300]
