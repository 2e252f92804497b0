"""`penstock sources`: where events come from, and their write keys."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, console, show_list, show_one

app = typer.Typer(no_args_is_help=True, help=__doc__)

SourceId = Annotated[str, typer.Argument(metavar="SOURCE", help="The id of a source: src_…")]

Key = Annotated[str, typer.Argument(metavar="KEY", help="A write key of the source.")]


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """Every source of the workspace."""
    show_list(control().all_of("sources"), ("id", "name", "enabled", "created_at"), as_json)


@app.command()
def quotas(as_json: AsJson = False) -> None:
    """What each source sends, how much it may send live, and whether it is in bulk."""
    columns = ("source_id", "mode", "events_per_s", "quota", "lag_s", "since")
    show_list(control().all_of("sources", at="quotas"), columns, as_json)


@app.command()
def create(name: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:
    """A new source, with a write key."""
    show_one(control().post("/control/sources", {"name": name}), as_json)


@app.command()
def show(source: SourceId, as_json: AsJson = False) -> None:
    """One source."""
    show_one(control().get(f"/control/sources/{source}"), as_json)


@app.command()
def keys(source: SourceId, as_json: AsJson = False) -> None:
    """The write keys of a source."""
    found = control().get(f"/control/sources/{source}")["write_keys"]
    show_list(found, ("key", "enabled", "created_at"), as_json)


@app.command("add-key")
def add_key(source: SourceId, as_json: AsJson = False) -> None:
    """One more write key for a source."""
    show_one(control().post(f"/control/sources/{source}/write-keys"), as_json)


@app.command("rotate-key")
def rotate_key(source: SourceId, key: Key, as_json: AsJson = False) -> None:
    """A new write key in place of one, which works on until it is disabled or deleted."""
    show_one(control().post(f"/control/sources/{source}/write-keys/{key}/rotate"), as_json)


@app.command("enable-key")
def enable_key(source: SourceId, key: Key, as_json: AsJson = False) -> None:
    """Take events with this key again."""
    show_one(control().patch(f"/control/sources/{source}/write-keys/{key}", {"enabled": True}), as_json)


@app.command("disable-key")
def disable_key(source: SourceId, key: Key, as_json: AsJson = False) -> None:
    """Refuse events with this key."""
    show_one(control().patch(f"/control/sources/{source}/write-keys/{key}", {"enabled": False}), as_json)


@app.command("delete-key")
def delete_key(source: SourceId, key: Key) -> None:
    """Remove a write key."""
    control().delete(f"/control/sources/{source}/write-keys/{key}")
    console().print(f"{key} is deleted", soft_wrap=True)


@app.command()
def enable(source: SourceId, as_json: AsJson = False) -> None:
    """Take its events again."""
    show_one(control().patch(f"/control/sources/{source}", {"enabled": True}), as_json)


@app.command()
def disable(source: SourceId, as_json: AsJson = False) -> None:
    """Refuse its events with 403."""
    show_one(control().patch(f"/control/sources/{source}", {"enabled": False}), as_json)


@app.command()
def delete(source: SourceId) -> None:
    """Remove a source and its write keys."""
    control().delete(f"/control/sources/{source}")
    console().print(f"{source} is deleted")
