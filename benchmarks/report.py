"""Rows of measurements: printed as a table, kept as one JSON list that every bench adds to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FILE = Path(__file__).parents[1] / ".penstock" / "bench.json"


@dataclass(frozen=True)
class Row:
    """One comparison. More `ratio` is better, and `target` or more is good; for a limit it is limit / measured."""

    bench: str
    ours: float
    peer: str
    peer_value: float
    ratio: float
    target: float
    unit: str


def compared(bench: str, peer: str, target: float, unit: str, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """The medians, and the median of the ratios within each round."""
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return Row(
        bench, round(statistics.median(ours)), peer, round(statistics.median(theirs)), round(ratio, 2), target, unit
    )


def within(bench: str, measured: float, limit: float, unit: str) -> Row:
    """Nothing at all is within any limit: it counts as a thousandth of it."""
    ratio = limit / max(measured, limit / 1000)
    return Row(bench, round(measured, 2), "limit", limit, round(ratio, 2), 1.0, unit)


def keep(rows: Sequence[Row], file: Path = FILE) -> None:
    """Into the file, in place of older rows of the same bench and peer."""
    kept = json.loads(file.read_text()) if file.exists() else []
    measured = {(row.bench, row.peer) for row in rows}
    merged = [old for old in kept if (old["bench"], old["peer"]) not in measured] + [asdict(row) for row in rows]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(merged, indent=2) + "\n")


def show(rows: Sequence[Row]) -> None:
    table = Table(title="Benchmarks: more ratio is better")
    for heading in ("bench", "ours", "unit", "peer", "its value", "ratio", "target", ""):
        table.add_column(heading, justify="left" if heading in ("bench", "unit", "peer") else "right")
    for row in rows:
        verdict = "good" if row.ratio >= row.target else "short"
        figures = (
            f"{row.ours:,g}" if row.ours < 1000 else f"{row.ours:,.0f}",
            row.unit,
            row.peer,
            f"{row.peer_value:,g}",
        )
        table.add_row(row.bench, *figures, f"{row.ratio:.2f}", f"{row.target:g}", verdict)
    Console().print(table)
