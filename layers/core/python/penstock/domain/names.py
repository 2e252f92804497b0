"""Names that people give to things."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# Something to see: whitespace as Python and JSON Schema's regular expressions know it, each by its own idea of `\s`.
VISIBLE = r"[^\s\u001c-\u001f\u0085\ufeff]"

END = r"(?!\n)$"  # of a text: alone, Python's `$` lets a last line break pass, and JSON Schema knows no `\Z`

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=VISIBLE, description="What people call it")]
