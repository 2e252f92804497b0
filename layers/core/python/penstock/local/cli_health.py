"""`penstock destinations health`: how a destination does, once or until interrupted."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock.local.cli_hub import control
from penstock.local.cli_output import AsJson, console, literal, show_json
from penstock.local.control_client import ControlClient

Json = dict[str, Any]

EVERY_S = 2.0
MOST_ROUNDS = 100  # of one answer that is not complete: each counts on where the one before ended
MOST_ERRORS = 10
BARS = "▁▂▃▄▅▆▇█"
COUNTS = ("accepted", "created", "delivered", "filtered", "discarded", "dead", "retried", "duplicates")
UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def health(
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="The id of a destination: dst_…")],
    minutes: Annotated[int, typer.Option(min=1, max=20_160, help="Of how many minutes the window is.")] = 60,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until interrupted.")] = False,
    as_json: AsJson = False,
) -> None:
    """What became of a destination's events, what waits, and what failed."""
    api = control()
    if as_json:
        show_json(health_of(api, destination, minutes))
    elif not watch:
        console().print(drawn(health_of(api, destination, minutes)))
    else:
        with Live(drawn(health_of(api, destination, minutes)), console=console(), auto_refresh=False) as live:
            while True:
                time.sleep(EVERY_S)
                live.update(drawn(health_of(api, destination, minutes)), refresh=True)


def health_of(api: ControlClient, destination: str, minutes: int) -> Json:
    """Counted up to now, as far as that is done in so many rounds."""
    for _ in range(MOST_ROUNDS):
        found = api.get(f"/control/destinations/{destination}/health", minutes=minutes)
        if found["is_complete"]:
            break
    return found


def drawn(found: Json) -> Group:
    parts: list[Any] = [_standing(found), Text(), _counts(found)]
    if found["per_minute"]:
        parts += [Text(), Text(f"delivered per minute  {bars([each['delivered'] for each in found['per_minute']])}")]
    if found["errors"]:
        parts += [Text(), _errors(found["errors"])]
    if not found["is_complete"]:
        parts += [Text(), Text(f"counted up to {found['counted_to']}: there was more to count")]
    return Group(*parts)


def _standing(found: Json) -> Table:
    gate, rate = found["gate"], found["rate"]
    shown = Table(box=None, show_header=False, pad_edge=False)
    state = f"[{'green' if gate['state'] == 'open' else 'red'}]{literal(gate['state'])}[/]"
    why = f" ({literal(gate['reason'])})" if gate["reason"] else ""
    shown.add_row("gate", f"{state}{why}{' since ' + gate['since'] if gate['since'] else ''}")
    shown.add_row("queued", f"{found['queued']} jobs, the oldest {span(found['oldest_age_s'])}")
    shown.add_row("time to deliver", f"p50 {milliseconds(found['p50_ms'])}, p95 {milliseconds(found['p95_ms'])}")
    limits = [f"{rate['requests_per_s']:g} requests/s"] if rate["requests_per_s"] else []
    limits += [f"{rate['concurrency']} at once"] if rate["concurrency"] else []
    shown.add_row("rate", ", ".join(limits) or "no limit")
    return shown


def _counts(found: Json) -> Table:
    window = found["window"]
    shown = Table(box=None, header_style="bold", pad_edge=False)
    shown.add_column("events")
    shown.add_column(f"last {window['minutes']} min", justify="right")
    shown.add_column(f"since {found['since'] or 'it began'}", justify="right")
    for name in COUNTS:
        shown.add_row(name, str(window[name]), str(found[name]))
    return shown


def _errors(errors: list[Json]) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("failed by", "tries", "last message", "it was answered"):
        shown.add_column(column, overflow="fold")
    for each in errors[:MOST_ERRORS]:
        sample = each["sample"]
        cells = (each["cause"], str(each["count"]), sample["message_id"], sample["body"])
        shown.add_row(*(literal(cell) for cell in cells))
    return shown


def bars(values: list[int]) -> str:
    """Sixty bars at most, the last ones."""
    shown = [max(value, 0) for value in values[-60:]]
    most = max(shown, default=0) or 1
    return "".join(BARS[min(value * len(BARS) // most, len(BARS) - 1)] for value in shown)


def span(seconds: float) -> str:
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return "just now" if seconds else "none"


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms" if value < 10_000 else span(value / 1000)
