"""`penstock tokens`: access tokens of the workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, console, show_list, show_one

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """Every token of the workspace; the tokens themselves are stored nowhere."""
    show_list(control().all_of("tokens"), ("id", "name", "scopes", "created_at"), as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument()],
    scope: Annotated[list[str], typer.Option("--scope", help="What it may do, * is all; may be given again.")],
    as_json: AsJson = False,
) -> None:
    """A new token; it is shown this once."""
    show_one(control().post("/control/tokens", {"name": name, "scopes": scope}), as_json)


@app.command()
def delete(token: Annotated[str, typer.Argument(metavar="TOKEN_ID", help="The id of a token: tok_…")]) -> None:
    """Take a token's rights away."""
    control().delete(f"/control/tokens/{token}")
    console().print(f"{token} is deleted")
