"""ISO 8601 date-times: which texts are one, and the instant they stand for."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FORM = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d)(?P<seconds>:\d\d)?(?P<fraction>\.\d{1,9})?"
    r"(?P<zone>[Zz]|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
SHORTEST = len("2024-01-01T00:00")
USUAL = "2024-01-01T00:00:00.000Z"


def is_timestamp(text: str) -> bool:
    """Whether a text is a date and a time of day that exist, with or without seconds, fraction and zone."""
    if len(text) == len(USUAL) and text[4:20:3] == "--T::." and text[-1] == "Z":
        try:  # a tenth of the time, for the form that JavaScript writes
            datetime.fromisoformat(text)
        except ValueError:
            return False
        return True
    return len(text) >= SHORTEST and text[4] == "-" and instant(text) is not None


def instant(text: str) -> datetime | None:
    """The instant in UTC, to the microsecond; a time without a zone is taken as UTC. None for what is no date-time."""
    match = _FORM.fullmatch(text)
    if match is None or (match["fraction"] and not match["seconds"]):
        return None
    zone = match["zone"] or "Z"
    fraction = (match["fraction"] or ".0")[:7]
    try:
        found = datetime.fromisoformat(
            f"{match['day']}T{match['time']}{match['seconds'] or ':00'}{fraction}{'Z' if zone in 'zZ' else zone}"
        )
        return found.astimezone(UTC)
    except (ValueError, OverflowError):  # a day, hour or zone that does not exist, or an instant before the year 1
        return None
