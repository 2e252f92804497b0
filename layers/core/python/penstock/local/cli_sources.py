"""`penstock sources`: where events come from, and their write keys."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, console, show_list, show_one

app = typer.Typer(no_args_is_help=True, help=__doc__)

SourceId = Annotated[str, typer.Argument(metavar="SOURCE", help="The id of a source: src_…")]


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """Every source of the workspace."""
    show_list(control().all_of("sources"), ("id", "name", "enabled", "created_at"), as_json)


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
