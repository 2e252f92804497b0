"""`penstock destinations`: where events go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, console, show_list, show_one
from penstock.local.trouble import Trouble

app = typer.Typer(no_args_is_help=True, help=__doc__)

DestinationId = Annotated[str, typer.Argument(metavar="DESTINATION", help="The id of a destination: dst_…")]
Name = Annotated[str | None, typer.Option("--name", help="What people call it.")]
Url = Annotated[str | None, typer.Option("--url", help="Where its events are posted to.")]
Sources = Annotated[
    list[str] | None, typer.Option("--source", help="A source whose events it gets; may be given again.")
]
Secret = Annotated[str | None, typer.Option("--secret", help="Signs each request (X-Signature).")]
SigningSecret = Annotated[
    str | None, typer.Option("--signing-secret", help="Signs each request by Standard Webhooks: whsec_…")
]
Headers = Annotated[list[str] | None, typer.Option("--header", help="'Name: value' sent along; may be given again.")]
Subscription = Annotated[str | None, typer.Option("--subscription", help="FQL that picks its events.")]


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """Every destination of the workspace."""
    show_list(control().all_of("destinations"), ("id", "name", "type", "enabled", "source_ids"), as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument()],
    url: Annotated[str, typer.Option("--url", help="Where its events are posted to.")],
    source: Sources = None,
    secret: Secret = None,
    signing_secret: SigningSecret = None,
    header: Headers = None,
    subscription: Subscription = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Made, but not fed yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """A new webhook destination; without --source it gets the events of every source there is now."""
    api = control()
    sources = source or [one["id"] for one in api.all_of("sources")]
    body = fields(name, url, sources, {"secret": secret, "signing_secret": signing_secret}, header, subscription)
    show_one(api.post("/control/destinations", {**body, "type": "webhook", "enabled": not disabled}), as_json)


@app.command()
def show(destination: DestinationId, as_json: AsJson = False) -> None:
    """One destination; its secrets are never shown."""
    show_one(control().get(f"/control/destinations/{destination}"), as_json)


@app.command()
def update(
    destination: DestinationId,
    name: Name = None,
    url: Url = None,
    source: Sources = None,
    secret: Secret = None,
    signing_secret: SigningSecret = None,
    header: Headers = None,
    subscription: Subscription = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given and leave the rest."""
    body = fields(name, url, source, {"secret": secret, "signing_secret": signing_secret}, header, subscription)
    if not body:
        raise Trouble("nothing to change was given")
    show_one(control().patch(f"/control/destinations/{destination}", body), as_json)


@app.command("rotate-secret")
def rotate_secret(
    destination: DestinationId,
    overlap: Annotated[int, typer.Option("--overlap", help="Seconds for which the one before stays valid.")] = 86_400,
    as_json: AsJson = False,
) -> None:
    """A new signing secret, shown this once; the one before it stays valid for a while."""
    show_one(control().post(f"/control/destinations/{destination}/rotate-secret", {"overlap_s": overlap}), as_json)


@app.command()
def enable(destination: DestinationId, as_json: AsJson = False) -> None:
    """Feed it again."""
    show_one(control().patch(f"/control/destinations/{destination}", {"enabled": True}), as_json)


@app.command()
def disable(destination: DestinationId, as_json: AsJson = False) -> None:
    """Feed it no more."""
    show_one(control().patch(f"/control/destinations/{destination}", {"enabled": False}), as_json)


@app.command()
def pause(
    destination: DestinationId,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever wonders.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send it nothing until it is resumed; its queue still fills."""
    body = {"reason": reason} if reason else {}
    show_one(control().post(f"/control/destinations/{destination}/pause", body), as_json)


@app.command()
def resume(destination: DestinationId, as_json: AsJson = False) -> None:
    """Let its events flow again; try one at once that is closed because it failed."""
    show_one(control().post(f"/control/destinations/{destination}/resume"), as_json)


@app.command()
def gate(destination: DestinationId, as_json: AsJson = False) -> None:
    """Whether its events flow, and why not."""
    show_one(control().get(f"/control/destinations/{destination}/gate"), as_json)


@app.command()
def delete(destination: DestinationId) -> None:
    """Remove a destination and its queue; what waits for it is kept as dead letters, to be replayed to another."""
    control().delete(f"/control/destinations/{destination}")
    console().print(f"{destination} is deleted")


def fields(
    name: str | None,
    url: str | None,
    sources: list[str] | None,
    secrets: dict[str, str | None],
    headers: list[str] | None,
    subscription: str | None,
) -> dict[str, Any]:
    """What was given, in the API's shape."""
    settings: dict[str, Any] = {key: value for key, value in {"url": url, **secrets}.items() if value is not None}
    if headers:
        settings["headers"] = dict(header_in(text) for text in headers)
    given = {
        "name": name,
        "source_ids": sources or None,
        "subscription": subscription,
        "settings": settings or None,
    }
    return {field: value for field, value in given.items() if value is not None}


def header_in(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise Trouble(f"a header is given as 'Name: value', and this is {text!r}")
    return name.strip(), value.strip()
