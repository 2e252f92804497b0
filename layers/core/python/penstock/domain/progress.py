"""What a failing job has reached: the note that deliver leaves of it."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """`done` events need no more; `attempts` failed for the next one, the last with `last`. It has failed since
    `first_at`, its gate being open, and since `kind_at` in the way in which it does now (`kind`, a failure's).

    Times are epoch seconds. `returns` counts how often deliver itself gave the job back: of receives beyond them either
    nobody came to hear, or whoever did died. `is_started` says which: a function began with the job and never said how
    it ended. `is_alone` says that the job was being worked on by itself, event by event, because of that. `answer` is
    the beginning of what the tool said.
    """

    done: int = 0
    attempts: int = 0
    last: str = ""
    first_at: float = 0.0
    next_at: float = 0.0
    returns: int = 0
    is_alone: bool = False
    answer: str = ""
    kind: str = ""
    kind_at: float = 0.0
    is_started: bool = False

    @property
    def is_suspect(self) -> bool:
        """Whether the job may have killed the function that had it."""
        return self.is_started or self.is_alone


def resumed(reached: Progress | None, noted: Progress | None) -> Progress:
    """Where to go on with a job: `reached` is what it carries since it was parked, `noted` its note.

    Notes are forgotten sooner than a parked job comes back, and one of a job that was only given back has no more.
    """
    known = noted or Progress()
    if reached is None or known.done > reached.done or (known.done == reached.done and known.attempts):
        return known
    return reached._replace(
        returns=known.returns,
        is_alone=known.is_alone or reached.is_alone,
        is_started=known.is_started or reached.is_started,
    )
