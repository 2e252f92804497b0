"""What runs in the background holds nothing of its caller, and only what we started is ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.local import logs, processes
from penstock.local.files import write_whole
from penstock.local.processes import Background, read_background

SLEEPER = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print('begun', flush=True); time.sleep(600)",
]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Background]:
    background = processes.start(SLEEPER, tmp_path / "logs" / "sleeper.log", os.environ, tmp_path)
    yield background
    processes.end(background)


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_started_is_alive_until_it_is_ended(sleeper: Background) -> None:
    assert sleeper.is_alive()
    assert processes.end(sleeper)
    assert not sleeper.is_alive()
    assert not processes.end(sleeper)


def test_a_stranger_with_the_same_number_is_not_touched(sleeper: Background) -> None:
    stranger = replace(sleeper, born="another time")
    assert not stranger.is_alive()
    assert not processes.end(stranger)
    assert sleeper.is_alive()


def test_one_that_does_not_listen_is_ended_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "stubborn.log"
    background = processes.start(STUBBORN, log, os.environ, tmp_path)
    wait_for(log, "begun")
    assert len(processes.living_members(background.pid)) == 2
    processes.end(background, within_s=0.2)
    deadline = time.monotonic() + 10
    while processes.living_members(background.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_caller_that_reads_our_output_sees_its_end(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from penstock.local import processes;"
        f"b = processes.start({SLEEPER!r}, Path({str(tmp_path / 'x.log')!r}), os.environ, Path('/'));"
        f"b.write(Path({str(tmp_path / 'pid')!r})); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    background = read_background(tmp_path / "pid")
    assert background is not None
    assert background.is_alive()
    assert done.stdout == b"done\n"
    processes.end(background)


def test_it_reads_no_input_and_writes_to_its_log(sleeper: Background, tmp_path: Path) -> None:
    wait_for(tmp_path / "logs" / "sleeper.log", "begun")
    assert os.getsid(sleeper.pid) == sleeper.pid


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"pid": 1}'])
def test_a_note_that_is_none_names_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert read_background(tmp_path / "pid") is None
    assert read_background(tmp_path / "absent") is None


def test_a_log_past_its_bound_begins_anew_and_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "cloud.log"
    log.write_text("a" * 90 + "b" * 60)
    logs.trim(tmp_path, max_bytes=100)
    assert log.read_text() == ""
    assert (tmp_path / "cloud.log.1").read_text() == "a" * 40 + "b" * 60
    log.write_text("short")
    logs.trim(tmp_path, max_bytes=100)
    assert log.read_text() == "short"


def test_a_file_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "hub.json"
    write_whole(file, "one")
    write_whole(file, "two")
    assert file.read_text() == "two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]
