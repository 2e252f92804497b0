"""`python -m tests.simulation 0-999`: what `make simulate` runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from tests.simulation.promises import Findings
from tests.simulation.run import report, seeds_of, simulate, simulate_all

DEFAULT = "0-9999"  # more than a million events
TOLD_EVERY = 500  # seeds


def watched(found: Iterable[Findings], seeds: int) -> Iterator[Findings]:
    """Says on stderr how far it is: a million events take half an hour."""
    for number, findings in enumerate(found, 1):
        if number % TOLD_EVERY == 0:
            print(f"{number:,} of {seeds:,} seeds", file=sys.stderr)  # noqa: T201
        yield findings


def main(text: str) -> int:
    seeds = seeds_of(text)
    found = simulate_all(seeds) if len(seeds) > 1 else map(simulate, seeds)
    total, lines = report(watched(found, len(seeds)))
    print("\n".join(lines))  # noqa: T201
    return 1 if total.failing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else DEFAULT))
