"""What a failing job has reached."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """`done` events need no more; `attempts` failed for the next one, the last of them with `last`."""

    done: int
    attempts: int
    last: str
