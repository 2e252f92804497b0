"""Processes in the background: started so that they hold nothing of the caller, ended so that no stranger is hit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from penstock.local.files import write_whole

END_S = 8.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Background:
    """A process that leads a session of its own; `born` tells it from a later one with the same number."""

    pid: int
    born: str

    def is_alive(self) -> bool:
        return born(self.pid) == self.born

    def write(self, file: Path) -> None:
        write_whole(file, json.dumps(asdict(self)))


def read_background(file: Path) -> Background | None:
    try:
        return Background(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def start(command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> Background:
    """Start a command that outlives us: own session, no input, output appended to `log`, nothing else of ours open."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            close_fds=True,
        )
    process.returncode = 0  # it outlives us: nobody waits for its end
    return Background(process.pid, born(process.pid) or "")


def born(pid: int) -> str | None:
    """When a process began, as its system says it; None where it runs no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _born_by_ps(pid)
    except ProcessLookupError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _born_by_ps(pid: int) -> str | None:
    said = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, began = said.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else began.strip()


def end(background: Background, within_s: float = END_S) -> bool:
    """End a process and all of its session's group; False if it had ended, or its number is another's by now."""
    if not background.is_alive():
        return False
    _signal_group(background.pid, signal.SIGTERM)
    if not _wait_until_gone(background, within_s):
        _signal_group(background.pid, signal.SIGKILL)
        _wait_until_gone(background, within_s)
    _signal_group(background.pid, signal.SIGKILL)  # children that outlived it
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
    except PermissionError:
        return  # macOS says so for a group of nothing but the dead


def _wait_until_gone(background: Background, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while background.is_alive():
        _reap(background.pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def _reap(pid: int) -> None:
    """Take note of our own child's end, where it is one."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def living_members(group: int) -> list[int]:
    """Processes of a group that still run: empty where the system has no /proc to tell."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            members.append(int(stat.parent.name))
    return members
