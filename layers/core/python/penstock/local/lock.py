"""One `up` or `down` of a hub at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from penstock.local.home import Home
from penstock.local.trouble import Trouble


@contextlib.contextmanager
def alone(home: Home) -> Iterator[None]:
    """Hold this hub's lock; it is let go when we end, however that is. Raises `Trouble` where another holds it."""
    home.folder.mkdir(parents=True, exist_ok=True)
    with (home.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(f"another `up` or `down` of the hub in {home.folder} is at work") from None
        yield
