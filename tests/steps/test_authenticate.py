"""Who asks is known by their token and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.config import Create
from penstock.domain.tokens import NewToken
from penstock.errors import Unauthenticated
from penstock.steps.authenticate import OPERATOR, OperatorToken, authenticate
from penstock.steps.keep_tokens import made
from tests.fakes_control import Hub


class Vault:
    def __init__(self, text: str = "operator-secret") -> None:
        self.text, self.reads = text, 0

    def read(self) -> str:
        self.reads += 1
        return self.text


def issued(hub: Hub) -> str:
    item, text = made(hub.ledger(), hub.caller.workspace_id, NewToken("ci", ["sources:read"]))
    hub.store.commit([Create(item)], None)
    return text


def test_an_access_token_tells_workspace_and_scopes() -> None:
    hub = Hub()
    caller = authenticate(f"Bearer {issued(hub)}", hub.store, OperatorToken(Vault().read, hub.clock))
    assert (caller.workspace_id, caller.scopes) == (hub.caller.workspace_id, ("sources:read",))


def test_the_operators_token_is_the_operators() -> None:
    hub = Hub()
    assert authenticate("bearer operator-secret", hub.store, OperatorToken(Vault().read, hub.clock)) == OPERATOR


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "operator-secret", "Bearer \u00e9", "Bearer " + "x" * 501]
)
def test_what_is_no_bearer_token_is_nobody(header: str | None) -> None:
    hub, vault = Hub(), Vault()
    with pytest.raises(Unauthenticated):
        authenticate(header, hub.store, OperatorToken(vault.read, hub.clock))
    assert vault.reads == 0


@given(st.integers(0, 39), st.sampled_from("abz09"))
def test_a_token_with_any_other_character_is_nobody(at: int, other: str) -> None:
    hub = Hub()
    token = issued(hub)
    place = len(token) - 40 + at
    forged = token[:place] + other + token[place + 1 :]
    if forged == token:
        return
    with pytest.raises(Unauthenticated):
        authenticate(f"Bearer {forged}", hub.store, OperatorToken(Vault().read, hub.clock))


def test_a_token_moved_to_another_workspace_is_nobody() -> None:
    hub = Hub()
    moved = issued(hub).replace(hub.caller.workspace_id, "ws_bbbbbbbbbbbb")
    with pytest.raises(Unauthenticated):
        authenticate(f"Bearer {moved}", hub.store, OperatorToken(Vault().read, hub.clock))


def test_guesses_do_not_hammer_the_vault() -> None:
    hub, vault = Hub(), Vault()
    operator = OperatorToken(vault.read, hub.clock)
    assert not any(operator.matches(f"guess-{number}") for number in range(100))
    assert vault.reads == 1
    hub.clock.now += 6
    assert not any(operator.matches(f"guess-{number}") for number in range(100))
    assert vault.reads == 2


def test_a_rotated_operator_token_works_at_once_and_the_old_one_not_for_long() -> None:
    hub, vault = Hub(), Vault("old")
    operator = OperatorToken(vault.read, hub.clock)
    assert operator.matches("old")
    vault.text = "new"
    hub.clock.now += 6
    assert operator.matches("new") and not operator.matches("old")
    vault.text = "newest"
    hub.clock.now += 61
    assert not operator.matches("new") and operator.matches("newest")


def test_an_empty_secret_opens_nothing() -> None:
    hub = Hub()
    assert not OperatorToken(Vault("").read, hub.clock).matches("")
