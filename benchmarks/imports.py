"""What a cold start spends on imports: handler and wiring in fresh processes, over a bare interpreter."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Row, within

ROOT = Path(__file__).parents[1]
CORE = ROOT / "layers" / "core" / "python"
LIMITS_MS = {
    "collect": 150.0,
    "control": 900.0,
    "deliver": 600.0,
    "fanout": 500.0,
    "schema": 500.0,
    "schema_changes": 500.0,
    "teardown": 600.0,
}
PROCESSES = 9


def run() -> list[Row]:
    """Functions and the bare interpreter take turns; compiled modules are there, as AWS's second start finds them."""
    scripts = {name: _imports(name) for name in LIMITS_MS} | {"bare": ""}
    found: dict[str, list[float]] = {name: [] for name in scripts}
    with tempfile.TemporaryDirectory() as compiled:
        for script in scripts.values():
            _cpu_ms(script, compiled)
        for _ in range(PROCESSES):
            for name, script in scripts.items():
                found[name].append(_cpu_ms(script, compiled))
    bare = statistics.median(found.pop("bare"))
    return [
        within(f"import {name}", statistics.median(measured) - bare, LIMITS_MS[name], "ms")
        for name, measured in found.items()
    ]


def _imports(name: str) -> str:
    """What the function has imported once its first request is through: its wiring may be imported late."""
    wiring = CORE / "penstock" / "wiring" / f"{name}.py"
    late = f"; import penstock.wiring.{name}" if wiring.exists() else ""
    return f"import functions.{name}.handler{late}"


def _cpu_ms(script: str, compiled: str) -> float:
    """CPU time of one process from its start to its end."""
    path = os.pathsep.join((str(ROOT), str(CORE)))
    environment = {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": compiled, "AWS_REGION": "us-east-1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
