"""`python -m tests.simulation 0-999`: what `make simulate` runs."""

from __future__ import annotations

import sys

from tests.simulation.run import report, seeds_of, simulate, simulate_all

DEFAULT = "0-9999"  # more than a million events


def main(text: str) -> int:
    seeds = seeds_of(text)
    total, lines = report(simulate_all(seeds) if len(seeds) > 1 else map(simulate, seeds))
    print("\n".join(lines))  # noqa: T201
    return 1 if total.failing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else DEFAULT))
