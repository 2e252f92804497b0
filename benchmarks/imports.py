"""What a cold start spends on imports: CPU time of every function's handler in fresh interpreters."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Row, within

ROOT = Path(__file__).parents[1]
LIMITS_MS = {"collect": 150.0}
OTHERS_MS = 1000.0  # botocore alone takes 300
PROCESSES = 9
SCRIPT = "import time; t = time.process_time(); import functions.{}.handler; print(time.process_time() - t)"


def run() -> list[Row]:
    names = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
    with tempfile.TemporaryDirectory() as compiled:
        measured = {name: _imported_ms(name, compiled) for name in names}
    return [within(f"import {name}", measured[name], LIMITS_MS.get(name, OTHERS_MS), "ms") for name in names]


def _imported_ms(name: str, compiled: str) -> float:
    """The median over a bare interpreter, with compiled modules as a second start on a machine finds them."""
    command = [sys.executable, "-c", SCRIPT.format(name)]
    path = os.pathsep.join(str(part) for part in (ROOT, ROOT / "layers" / "core" / "python"))
    environment = {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": compiled, "AWS_REGION": "us-east-1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    answers = [
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(PROCESSES)
    ]
    return statistics.median(float(answer.splitlines()[-1]) * 1000 for answer in answers)
