"""`python -m benchmarks [name …]`: run the benches named, or all."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks.report import keep, show

NAMES = ("collect", "imports", "schema_tracker", "schema_cost", "schema_query", "claims", "deliver")


def main() -> None:
    asked = sys.argv[1:] or NAMES
    unknown = [name for name in asked if name not in NAMES]
    if unknown:
        sys.exit(f"no such bench: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    rows = [row for name in asked for row in import_module(f"benchmarks.{name}").run()]
    keep(rows)
    show(rows)
    if not sys.argv[1:]:
        print("\nOf a whole hub, minutes each: make bench-hub, make bench-isolation")


main()
