"""The control API from a client's side: its errors as one clear line, its lists as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import requests

from penstock.local.trouble import Trouble

Body = dict[str, Any] | None

TIMEOUT_S = (5, 35)
PAGE = 100


class Refusal(Trouble):
    """The API answered, and the answer is no."""

    def __init__(self, status: int, code: str, message: str, field: str | None) -> None:
        place = f" (field {field})" if field else ""
        super().__init__(f"{message}{place} [{status} {code}]")
        self.status = status
        self.code = code
        self.field = field


class ControlClient:
    """Speaks with one token to one hub."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy or a .netrc of the machine is not meant for the hub
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        return self._ask("GET", path, query=query)

    def post(self, path: str, body: Body = None) -> dict[str, Any]:
        return self._ask("POST", path, body)

    def put(self, path: str, body: Body) -> dict[str, Any]:
        return self._ask("PUT", path, body)

    def patch(self, path: str, body: Body) -> dict[str, Any]:
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> dict[str, Any]:
        return self._ask("DELETE", path)

    def all_of(self, kind: str, at: str | None = None) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page; `at` is its route where that is not called like what it lists."""
        query: dict[str, str | int] = {"limit": PAGE}
        while True:
            page = self._ask("GET", f"/control/{at or kind}", query=query)
            yield from page[kind]
            if not page.get("next"):
                return
            query["next"] = page["next"]

    def _ask(
        self, method: str, path: str, body: Body = None, query: dict[str, str | int] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._session.request(
                method, self._url + path, json=body, params=query, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            raise Trouble(f"the hub at {self._url} does not answer ({type(error).__name__})") from error
        if not answer.ok:
            raise refusal_in(answer)
        if not answer.content:
            return {}
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise Trouble(f"{method} {path} answered {answer.status_code} with something that is no JSON object")
        return said


def refusal_in(answer: requests.Response) -> Refusal:
    try:
        error = answer.json()["error"]
        return Refusal(answer.status_code, str(error["code"]), str(error["message"]), error.get("field"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refusal(
            answer.status_code, "unexpected", f"the hub answered: {answer.text[:200].strip() or 'nothing'}", None
        )
