"""Keep the logs of what runs in the background within bounds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

MAX_LOG_BYTES = 8 * 1024 * 1024
EVERY_S = 15.0


async def keep_bounded(folder: Path, every_s: float = EVERY_S) -> None:
    while True:
        trim(folder)
        await asyncio.sleep(every_s)


def trim(folder: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move what a log holds past its bound into `<name>.1`, the one before it is dropped.

    The writers append, so a log can be cut under their hands; a line written in that instant may be lost.
    """
    for log in folder.glob("*.log"):
        if log.stat().st_size > max_bytes:
            older = log.with_suffix(".log.1")
            with log.open("rb") as whole:
                whole.seek(-max_bytes, os.SEEK_END)
                older.write_bytes(whole.read())
            os.truncate(log, 0)
