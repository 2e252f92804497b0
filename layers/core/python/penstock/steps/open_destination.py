"""Open a destination: read its settings and decrypt the secrets among them, once per change of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

from penstock.domain import webhook_settings
from penstock.domain.sealed import Sealed
from penstock.domain.webhook import Webhook
from penstock.domain.webhook_settings import Secrets, signing_secrets

MOST_OPENED = 1_000


class Items(Protocol):
    """Raises `StoreUnavailable`."""

    def find(self, workspace: str, destination: str) -> Sealed | None: ...


class Cipher(Protocol):
    """Raises `StoreUnavailable`."""

    def decrypt(self, data: bytes, context: Mapping[str, str]) -> bytes: ...


class OpenDestination:
    def __init__(self, items: Items, cipher: Cipher) -> None:
        self._items = items
        self._cipher = cipher
        self._opened: OrderedDict[bytes, Secrets] = OrderedDict()

    def find(self, key: tuple[str, str]) -> Webhook | None:
        """The destination `(workspace, destination)`, None once it is deleted. Raises `StoreUnavailable`."""
        workspace, destination = key
        item = self._items.find(workspace, destination)
        if item is None:
            return None
        secrets = self._secrets(item.secrets, {"workspace": workspace, "destination": destination})
        whole = webhook_settings.joined(item.settings, secrets)
        return Webhook(item.enabled, whole.url, whole.headers, whole.secret, item.delivery, signing_secrets(secrets))

    def _secrets(self, ciphertext: bytes | None, context: Mapping[str, str]) -> Secrets:
        if ciphertext is None:
            return Secrets()
        known = self._opened.get(ciphertext)
        if known is None:
            known = webhook_settings.unpacked(self._cipher.decrypt(ciphertext, context))
            self._opened[ciphertext] = known
            while len(self._opened) > MOST_OPENED:
                self._opened.popitem(last=False)
        return known
