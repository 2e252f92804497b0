"""What stops the local hub or its command line, said in one line."""

from __future__ import annotations


class Trouble(Exception):
    """Shown to the person as it is, without a traceback; the command ends with 1."""
