"""A destination, its queue and its mapping come and go together, whatever breaks in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from penstock.domain.destinations import Destination, DestinationChange, NewDestination, Unfinished
from penstock.domain.paging import Window
from penstock.domain.sources import NewSource, Source
from penstock.domain.webhook_settings import MASK, Rotation, Secrets, WebhookSettings, WebhookSettingsChange, unpacked
from penstock.errors import Conflict, Invalid, NotFound, Unavailable
from penstock.steps.keep_destinations import (
    ABANDONED_AFTER_S,
    change_destination,
    create_destination,
    delete_destination,
    rotate_signing_secret,
    sweep,
)
from penstock.steps.keep_sources import create_source, delete_source
from tests.fakes_control import Crash, Faults, Hub, PlainCipher, unavailable

SETTINGS = WebhookSettings("https://example.com/hook", {"Authorization": "Bearer x", "X-Team": "a"}, "hush")
WANTED = NewDestination("Hook", "webhook", SETTINGS)
WRONG = [pytest.param(Crash, id="crash"), pytest.param(unavailable, id="unavailable")]
AFTER = [pytest.param(False, id="before-effect"), pytest.param(True, id="after-effect")]


def seen(hub: Hub) -> set[str]:
    return {item.id for item in hub.store.page(Destination, hub.caller.workspace_id, Window())}


def unfinished(hub: Hub) -> set[str]:
    return {item.id for item in hub.store.page(Unfinished, hub.caller.workspace_id, Window())}


def whole(hub: Hub) -> bool:
    """Everybody sees exactly what has a queue and a mapping."""
    return hub.queues.made == hub.mappings.made == seen(hub)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("at", range(1, 6))
def test_a_creation_that_breaks_anywhere_is_seen_whole_or_not_at_all_and_swept(
    wrong: Callable[[], BaseException], after: bool, at: int
) -> None:
    hub = Hub()
    faults = Faults(at, wrong, after)
    with pytest.raises((Crash, Unavailable)):
        create_destination(hub.works(faults), hub.caller, WANTED)
    assert faults.struck
    made = hub.queues.made | hub.mappings.made
    assert seen(hub) <= hub.queues.made & hub.mappings.made
    assert made <= seen(hub) | unfinished(hub), "something was made and forgotten"
    hub.clock.now += ABANDONED_AFTER_S + 1
    sweep(hub.works(), hub.caller.workspace_id)
    assert whole(hub) and not unfinished(hub)


def test_a_creation_has_five_calls_that_change_something() -> None:
    hub = Hub()
    faults = Faults(6, Crash, after=False)
    create_destination(hub.works(faults), hub.caller, WANTED)
    assert not faults.struck


def deleted(hub: Hub) -> Destination:
    made = create_destination(hub.works(), hub.caller, WANTED)
    delete_destination(hub.works(), hub.caller, made.id)
    return made


def test_a_deleted_destination_is_gone_and_its_queue_stays_for_the_gatekeeper() -> None:
    hub = Hub()
    made = deleted(hub)
    assert not seen(hub)
    assert (hub.mappings.made, hub.queues.made, unfinished(hub)) == (set(), {made.id}, {made.id})
    assert hub.chores.take() == list(hub.gates.burials) == [(hub.caller.workspace_id, made.id)]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("at", [1, 2])
def test_a_deletion_that_breaks_before_it_is_told_is_noted_if_it_was_done_and_can_be_made_again(
    wrong: Callable[[], BaseException], after: bool, at: int
) -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    faults = Faults(at, wrong, after)
    with pytest.raises((Crash, Unavailable)):
        delete_destination(hub.works(faults), hub.caller, made.id)
    is_done = (at, after) == (2, True)
    assert seen(hub) == (set() if is_done else {made.id})
    assert bool(hub.gates.burials) or not is_done
    delete_destination(hub.works(), hub.caller, made.id)
    assert not seen(hub) and unfinished(hub) == hub.queues.made == {made.id} and hub.gates.burials


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("at", [3, 4, 5])
def test_a_deletion_does_not_wait_for_what_the_gatekeeper_does_as_well(after: bool, at: int) -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    faults = Faults(at, unavailable, after)
    delete_destination(hub.works(faults), hub.caller, made.id)
    assert faults.struck
    assert not seen(hub) and unfinished(hub) == {made.id} and hub.gates.burials


def test_a_deletion_of_what_was_never_seen_takes_it_down() -> None:
    hub = Hub()
    with pytest.raises(Crash):
        create_destination(hub.works(Faults(4, Crash, after=True)), hub.caller, WANTED)
    (begun,) = unfinished(hub)
    delete_destination(hub.works(), hub.caller, begun)
    assert whole(hub) and not unfinished(hub) and not hub.gates.burials
    with pytest.raises(NotFound):
        delete_destination(hub.works(), hub.caller, begun)


def test_what_is_being_buried_is_never_swept_and_hides_nothing_that_is() -> None:
    hub = Hub()
    buried = {deleted(hub).id for _ in range(5)}
    for _ in range(4):
        with pytest.raises(Crash):
            create_destination(hub.works(Faults(4, Crash, after=True)), hub.caller, WANTED)
    hub.clock.now += ABANDONED_AFTER_S + 1
    for _ in range(2):
        sweep(hub.works(), hub.caller.workspace_id)
    assert unfinished(hub) == hub.queues.made == buried


def test_what_is_being_made_now_is_not_swept() -> None:
    hub = Hub()
    with pytest.raises(Crash):
        create_destination(hub.works(Faults(4, Crash, after=True)), hub.caller, WANTED)
    sweep(hub.works(), hub.caller.workspace_id)
    assert len(unfinished(hub)) == 1 and len(hub.queues.made) == 1


def test_another_workspace_can_neither_change_nor_delete_it() -> None:
    hub, stranger = Hub(), Hub().caller.__class__("ws_bbbbbbbbbbbb", "tok_b", ("*",))
    made = create_destination(hub.works(), hub.caller, WANTED)
    with pytest.raises(NotFound):
        change_destination(hub.works(), stranger, made.id, DestinationChange(name="Mine"))
    with pytest.raises(NotFound):
        delete_destination(hub.works(), stranger, made.id)
    assert seen(hub) == {made.id} and whole(hub)


def test_secrets_are_sealed_for_their_workspace_and_destination() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    assert made.settings.headers == {"X-Team": "a"}
    assert made.secret_names == ("secret", "headers.Authorization")
    context = {"workspace": hub.caller.workspace_id, "destination": made.id}
    assert b"hush" in PlainCipher().decrypt(made.secrets or b"", context)


def test_a_masked_secret_stays_and_a_new_one_replaces_it() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    context = {"workspace": hub.caller.workspace_id, "destination": made.id}
    headers = WebhookSettingsChange(headers={"authorization": MASK, "X-Other": "b"}, secret="new")
    after = change_destination(hub.works(), hub.caller, made.id, DestinationChange(settings=headers))
    opened = PlainCipher().decrypt(after.secrets or b"", context)
    assert b"Bearer x" in opened and b"new" in opened and b"hush" not in opened
    assert after.settings.headers == {"X-Other": "b"}


def opened(hub: Hub, destination_id: str) -> Secrets:
    item = hub.store.find(Destination, hub.caller.workspace_id, destination_id)
    assert item is not None
    context = {"workspace": hub.caller.workspace_id, "destination": item.id}
    return unpacked(PlainCipher().decrypt(item.secrets or b"", context))


def test_a_rotation_shows_the_new_secret_and_keeps_the_one_before_for_a_while() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    first = rotate_signing_secret(hub.works(), hub.caller, made.id, Rotation())
    assert first.previous_until is None
    second = rotate_signing_secret(hub.works(), hub.caller, made.id, Rotation(overlap_s=60))
    found = opened(hub, made.id)
    assert (found.signing_secret, found.secret) == (second.signing_secret, "hush")
    assert found.previous == (first.signing_secret, hub.clock.now + 60)
    assert second.previous_until is not None and first.signing_secret != second.signing_secret
    assert hub.store.log[-1].fields == ("settings.signing_secret",)


def test_a_change_of_other_settings_lets_both_signing_secrets_stay() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    for _ in range(2):
        rotate_signing_secret(hub.works(), hub.caller, made.id, Rotation())
    before = opened(hub, made.id)
    masked = WebhookSettingsChange(url="https://example.com/new", signing_secret=MASK)
    change_destination(hub.works(), hub.caller, made.id, DestinationChange(settings=masked))
    assert opened(hub, made.id) == before
    taken_away = WebhookSettingsChange(signing_secret=None)
    change_destination(hub.works(), hub.caller, made.id, DestinationChange(settings=taken_away))
    assert opened(hub, made.id) == Secrets("hush", {"Authorization": "Bearer x"})


def test_a_change_of_something_else_leaves_the_secrets_as_they_are() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    after = change_destination(hub.works(), hub.caller, made.id, DestinationChange(name="New", enabled=False))
    assert (after.secrets, after.settings, after.name, after.enabled) == (made.secrets, made.settings, "New", False)


def test_a_destination_of_an_unknown_source_is_refused_and_nothing_is_made() -> None:
    hub = Hub()
    source = create_source(hub.ledger(), hub.caller, NewSource("Web"))
    wanted = NewDestination("Hook", "webhook", SETTINGS, [source.id, "src_000000000000"])
    with pytest.raises(Invalid) as refused:
        create_destination(hub.works(), hub.caller, wanted)
    assert refused.value.field == "source_ids.1"
    assert not hub.queues.made and not unfinished(hub)


def test_a_source_deleted_since_may_stay_but_not_come_anew() -> None:
    hub = Hub()
    source = create_source(hub.ledger(), hub.caller, NewSource("Web"))
    made = create_destination(hub.works(), hub.caller, NewDestination("Hook", "webhook", SETTINGS, [source.id]))
    delete_source(hub.ledger(), hub.caller, source.id)
    kept = change_destination(hub.works(), hub.caller, made.id, DestinationChange(source_ids=[source.id]))
    assert kept.source_ids == (source.id,)
    change_destination(hub.works(), hub.caller, made.id, DestinationChange(source_ids=[]))
    with pytest.raises(Invalid):
        change_destination(hub.works(), hub.caller, made.id, DestinationChange(source_ids=[source.id]))
    assert hub.store.find(Source, hub.caller.workspace_id, source.id) is None


class Rival:
    """A store in which somebody else changes the same destination just before each of our commits."""

    def __init__(self, hub: Hub, times: int) -> None:
        self.hub, self.times = hub, times

    def __getattr__(self, name: str) -> object:
        return getattr(self.hub.store, name)

    def commit(self, steps, entry):
        if self.times:
            self.times -= 1
            rename = DestinationChange(subscription=None)
            change_destination(self.hub.works(), self.hub.caller, next(iter(seen(self.hub))), rename)
        return self.hub.store.commit(steps, entry)


def works_beside(rival: Rival):
    works = rival.hub.works()
    return dataclasses.replace(works, ledger=rival.hub.ledger(rival))


def test_a_change_that_meets_another_is_decided_anew() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    change_destination(works_beside(Rival(hub, 2)), hub.caller, made.id, DestinationChange(name="Mine"))
    stored = hub.store.find(Destination, hub.caller.workspace_id, made.id)
    assert stored is not None and stored.name == "Mine" and stored.version == 4


def test_a_change_that_never_gets_its_turn_says_so() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    with pytest.raises(Conflict):
        change_destination(works_beside(Rival(hub, 99)), hub.caller, made.id, DestinationChange(name="Mine"))


def test_a_deletion_wins_over_a_change_that_comes_after_it() -> None:
    hub = Hub()
    made = create_destination(hub.works(), hub.caller, WANTED)
    delete_destination(hub.works(), hub.caller, made.id)
    with pytest.raises(NotFound):
        change_destination(hub.works(), hub.caller, made.id, DestinationChange(name="Mine"))
    assert not seen(hub)
