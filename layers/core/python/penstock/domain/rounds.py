"""The gatekeeper's round of all destinations, by which each one's receipts are counted before they expire."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

EVERY_S = 6 * 3_600.0


class Round(Struct, frozen=True, omit_defaults=True):
    """How far a round has come: the last workspace, and its last destination, that had their turn.

    `is_behind` says that at one of them at least there was more to count than one look does.
    """

    began_at: float = 0.0
    workspace: str = ""
    destination: str = ""
    is_over: bool = True
    is_behind: bool = False

    def is_due(self, now: float) -> bool:
        return not self.is_over or self.is_behind or now >= self.began_at + EVERY_S

    def going_on(self, now: float) -> Round:
        """Itself, or where it is over the next."""
        return Round(began_at=now, is_over=False) if self.is_over else self

    def at(self, workspace: str, destination: str = "") -> Round:
        return replace(self, workspace=workspace, destination=destination)
