"""How the command line says things: tables for people, JSON for scripts.

Whoever has a write key names events and users, and tools answer what they like: none of them is to give orders to a
terminal. So what comes from elsewhere is said by `show`, `table`, `literal` or `json_of`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="JSON, for scripts.")]


def console() -> Console:
    return Console()


def errors() -> Console:
    return Console(stderr=True)


def plain(text: str) -> str:
    """With what cannot be printed written out."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def literal(text: str) -> str:
    """The same where rich looks for its markup."""
    return escape(plain(text))


def show(text: str) -> None:
    """A line that says what it is given and nothing else."""
    console().print(plain(text), markup=False, highlight=False, soft_wrap=True)


def show_json(value: object) -> None:
    typer.echo(json_of(value, indent=2))


def json_of(value: object, indent: int | None = None) -> str:
    """With what cannot be printed escaped: JSON itself does so for less than that."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(literal(cell) for cell in row))
    console().print(shown)


def show_list(items: Iterable[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    listed = list(items)
    if as_json:
        show_json(listed)
    elif not listed:
        console().print("none")
    else:
        table(columns, [[cell(item.get(column)) for column in columns] for item in listed])


def show_one(item: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(item)
    else:
        table(("field", "value"), [(field, cell(value)) for field, value in item.items()])


def cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
