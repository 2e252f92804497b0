"""The command line: `penstock up`, `down`, `status`, `send`, `tail`, `trace`, and what the control API keeps.

`sources`, `schema`, `destinations` and `tokens` are that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from penstock.local import cli_destinations, cli_health, cli_letters, cli_schema, cli_sources, cli_tokens, cli_trace
from penstock.local.cli_output import AsJson, console, errors, literal, show_json, table
from penstock.local.down import down as take_down
from penstock.local.down import home_of
from penstock.local.home import Home, home_from
from penstock.local.hub import Hub, hub_for, read_state
from penstock.local.progress import Progress
from penstock.local.send import Report, send
from penstock.local.tail import tail_sink, tail_source
from penstock.local.trouble import Trouble
from penstock.local.up import answers, running_hub
from penstock.local.up import up as bring_up

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(cli_sources.app, name="sources")
app.command()(cli_schema.schema)
cli_destinations.app.command()(cli_health.health)
for letters in (cli_letters.dead, cli_letters.replay, cli_letters.replays):
    cli_destinations.app.command()(letters)
app.add_typer(cli_destinations.app, name="destinations")
app.command()(cli_trace.trace)
app.add_typer(cli_tokens.app, name="tokens")

NoEnv = Annotated[bool, typer.Option("--no-env", help="The environment is made already.", hidden=True)]


def here() -> Home:
    return home_from(os.environ)


def hub() -> Hub:
    return hub_for(here(), os.environ)


@app.command()
def up(no_env: NoEnv = False) -> None:
    """Start the whole hub on this machine and send a few events through it."""
    make_environment(no_env)
    with progress() as said:
        bring_up(here(), said)


@app.command()
def down(no_env: NoEnv = False) -> None:
    """Destroy the stacks, look for what is left, stop everything."""
    make_environment(no_env)
    with progress() as said:
        take_down(here(), said)


@app.command()
def status(as_json: AsJson = False) -> None:
    """What runs, and where; ends with 1 where the hub does not run whole."""
    home = here()
    state = read_state(home)
    running = running_hub(home)
    found = home_of(home, state)
    parts = {name: background.is_alive() for name, background in state.processes.items()}
    if as_json:
        show_json({"running": running is not None, "url": found.url, "sink_url": found.sink_url, "processes": parts})
    elif not parts:
        console().print("No hub is running here; `make up` starts one.")
    else:
        rows = [(name, "runs" if alive else "ended") for name, alive in parts.items()]
        rows.append(("front door", f"{found.url} {'answers' if answers(f'{found.url}/health') else 'does not answer'}"))
        rows.append(("sink", f"{found.sink_url} {'answers' if answers(f'{found.sink_url}/') else 'does not answer'}"))
        rows.append(("hub", "whole" if running else "not whole: `make up` repairs it"))
        table(("part", "state"), rows)
    if running is None:
        raise typer.Exit(1)


@app.command("send")
def send_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help="Events, one JSON object a line; - reads the input.")
    ],
    write_key: Annotated[str, typer.Option(help="Whose events they are; else the hub's demo source.")] = "",
    url: Annotated[str, typer.Option(help="The hub to send to; else the one that runs here.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send a file of events in its order; ends with 1 where some were rejected."""
    url, write_key = url.rstrip("/") or hub().url, write_key or hub().write_key
    if not write_key:
        raise Trouble("no write key is known: give one with --write-key")
    with opened(file) as lines:
        report = send(lines, url, write_key)
    show_report(report, as_json)
    if report.rejected:
        raise typer.Exit(1)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Iterator[bytes]]:
    if str(file) == "-":
        yield iter(sys.stdin.buffer)
        return
    try:
        with file.open("rb") as lines:
            yield iter(lines)
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror}") from error


def show_report(report: Report, as_json: bool) -> None:
    if as_json:
        rejected = [{"line": one.line, "code": one.code, "message": one.message} for one in report.rejected]
        show_json({"accepted": report.accepted, "rejected": rejected})
        return
    if report.rejected:
        table(("line", "code", "why"), [(str(one.line), one.code, one.message) for one in report.rejected])
    console().print(f"{report.accepted} accepted, {len(report.rejected)} rejected")


@app.command()
def tail(
    path: Annotated[str, typer.Option(help="Only what comes to this path of the sink.")] = "",
    source: Annotated[str, typer.Option(help="What this source receives (from the stream) instead of the sink.")] = "",
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0 goes on until interrupted.")] = 0,
    from_start: Annotated[bool, typer.Option(help="Begin with what is there already (of the sink).")] = False,
    as_json: AsJson = False,
) -> None:
    """What the sink or a source receives, live."""
    home = here()
    if source:
        tail_source(home_of(home, read_state(home)), read_state(home).stream, source, count, as_json)
    else:
        tail_sink(hub().sink_url, path, count, from_start, as_json)


def make_environment(made: bool) -> None:
    """What is locked may have changed since the environment was made."""
    if not made:
        done = subprocess.run(["make", "--no-print-directory", "env"], cwd=here().repo, check=False)
        if done.returncode:
            raise Trouble("the environment could not be made")


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """While something is begun or ended, a polite request to end is an interruption: what was begun is undone."""
    said = Progress(console())
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield said
    finally:
        signal.signal(signal.SIGTERM, before)
        said.stop()


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> None:
    """Every trouble is one line and 1; an interruption is 130."""
    try:
        app(args=arguments, prog_name="penstock")
    except Trouble as trouble:
        errors().print(f"[red]penstock:[/red] {literal(str(trouble))}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
