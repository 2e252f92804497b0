"""A destination as it is stored: its secrets are a ciphertext that nobody but deliver and control can open."""

from __future__ import annotations

from msgspec import Struct

from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy
from penstock.domain.webhook_settings import Plain


class Sealed(Struct, frozen=True):
    enabled: bool
    settings: Plain
    secrets: bytes | None
    delivery: DeliveryPolicy = STANDARD
