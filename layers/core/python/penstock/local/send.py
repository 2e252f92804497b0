"""Send a file of events through the front door, in its order, and say which were refused and why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import requests

from penstock.local.trouble import Trouble

MAX_EVENTS = 500
MAX_BYTES = 450_000  # the API takes 500 KB: what wraps the events has room beside them
MAX_TRIES = 8
LONGEST_PAUSE_S = 10.0
TIMEOUT_S = (5, 35)


@dataclass(frozen=True)
class Line:
    """One line of the file that holds a JSON object."""

    number: int
    text: bytes


@dataclass(frozen=True)
class Rejected:
    line: int
    code: str
    message: str


@dataclass
class Report:
    accepted: int = 0
    rejected: list[Rejected] = field(default_factory=list)


def lines_of(file: Iterable[bytes], report: Report) -> Iterator[Line]:
    """The events of a file, one a line; what is no JSON object goes to the report, empty lines nowhere."""
    for number, text in enumerate(file, start=1):
        stripped = text.strip()
        if not stripped:
            continue
        try:
            said = json.loads(stripped)
        except (ValueError, RecursionError):
            report.rejected.append(Rejected(number, "invalid_json", "the line is no JSON"))
            continue
        if not isinstance(said, dict):
            report.rejected.append(Rejected(number, "invalid_event", "the line is no JSON object"))
        elif len(stripped) > MAX_BYTES:
            report.rejected.append(Rejected(number, "too_large", f"the line has {len(stripped)} bytes"))
        else:
            yield Line(number, stripped)


def batches_of(lines: Iterable[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == MAX_EVENTS or size + len(line.text) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.text) + 1
    if batch:
        yield batch


def send(
    file: Iterable[bytes],
    url: str,
    write_key: str,
    pause: Callable[[float], None] = time.sleep,
    on_batch: Callable[[Report], None] = lambda _: None,
) -> Report:
    """One batch after the other, so that order is kept. Raises `Trouble` where the hub refuses all or is gone."""
    report = Report()
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (write_key, "")
        for batch in batches_of(lines_of(file, report)):
            _take_answer(_post(session, url, batch, pause), batch, report)
            on_batch(report)
    report.rejected.sort(key=lambda rejected: rejected.line)
    return report


def _post(session: requests.Session, url: str, batch: list[Line], pause: Callable[[float], None]) -> requests.Response:
    """Ask until the hub has taken or refused the batch: 429 and 5xx are asked again, after what Retry-After says."""
    body = b'{"batch":[' + b",".join(line.text for line in batch) + b"]}"
    why, wait_s = "", 0.0
    for attempt in range(MAX_TRIES):
        if attempt:
            pause(min(LONGEST_PAUSE_S, wait_s))
        wait_s = 0.25 * 2**attempt
        try:
            answer = session.post(
                f"{url}/v1/batch", data=body, headers={"Content-Type": "application/json"}, timeout=TIMEOUT_S
            )
        except requests.RequestException as error:
            why = type(error).__name__
            continue
        if answer.status_code != 429 and answer.status_code < 500:
            return answer
        why = f"it answers {answer.status_code}"
        asked = answer.headers.get("Retry-After", "")
        wait_s = float(asked) if asked.isdecimal() else wait_s
    raise Trouble(f"the hub at {url} took nothing from line {batch[0].number} on after {MAX_TRIES} tries: {why}")


def _take_answer(answer: requests.Response, batch: list[Line], report: Report) -> None:
    try:
        said = answer.json()
    except ValueError:
        said = {}
    refused = said.get("rejected") if isinstance(said, dict) else None
    if not answer.ok and not refused:
        raise Trouble(
            f"the hub refused the batch from line {batch[0].number} on with {answer.status_code}: {_reason(said)}"
        )
    for one in refused or []:
        report.rejected.append(Rejected(batch[one["index"]].number, str(one["code"]), str(one["message"])))
    report.accepted += len(batch) - len(refused or [])


def _reason(said: object) -> str:
    if isinstance(said, dict):
        error = said.get("error")
        if isinstance(error, dict):
            return str(error.get("message") or error.get("code"))
        return str(said.get("message") or said.get("code") or error or "no reason given")
    return "no reason given"
