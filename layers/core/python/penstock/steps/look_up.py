"""Look something up through a warm Lambda's memory: fresh for a while, then stale while it is refreshed."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from penstock.errors import Unavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LONGEST_OUTAGE_S = 3600.0


@dataclass
class _Entry(Generic[V]):
    value: V
    loaded_at: float
    refreshing: bool = False
    failed_at: float = -math.inf


class LookUp(Generic[K, V]):
    """A bounded cache in front of `load`.

    Up to `fresh_s` old, an answer is used as it is. Up to `stale_s`, it is used and one thread asks anew. Past that,
    the caller waits. While `load` raises `Unavailable`, what is known serves on, for an hour at most, and one caller
    in every `fresh_s` asks whether it still does. An answer that something is absent is an answer, cached like any
    other. Callers that wait for the same thing at once wait for one answer.
    """

    def __init__(
        self,
        load: Callable[[K], V],
        fresh_s: float,
        stale_s: float,
        clock: Callable[[], float] = time.monotonic,
        capacity: int = 10_000,
    ) -> None:
        self._load = load
        self._fresh_s = fresh_s
        self._stale_s = stale_s
        self._clock = clock
        self._capacity = capacity
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._waited_for: dict[K, Future[V]] = {}
        self._lock = threading.Lock()

    def get(self, key: K) -> V:
        """The value for `key`. Raises what `load` raises where nothing usable is known."""
        with self._lock:
            entry = self._entries.get(key)
            age = self._clock() - entry.loaded_at if entry else None
            if entry is not None and age is not None and age <= self._stale_s:
                self._entries.move_to_end(key)
                if age <= self._fresh_s or entry.refreshing:
                    return entry.value
                entry.refreshing = True
                threading.Thread(target=self._refresh, args=(key, entry), name="look-up", daemon=True).start()
                return entry.value
            if entry is not None and self._is_out(entry):
                return entry.value
        return self._wait_for(key, entry)

    def _is_out(self, entry: _Entry[V]) -> bool:
        """Whether a caller has just waited for nothing: not every one has to wait for a time-out."""
        now = self._clock()
        return now - entry.failed_at <= self._fresh_s and now - entry.loaded_at <= LONGEST_OUTAGE_S

    def _wait_for(self, key: K, known: _Entry[V] | None) -> V:
        """Ask, or wait for the answer to somebody who is asking the same already."""
        with self._lock:
            asked = self._waited_for.get(key)
            if asked is None:
                mine = self._waited_for[key] = Future()
        if asked is not None:
            return asked.result()
        try:
            mine.set_result(self._ask(key, known))
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._waited_for[key]
        return mine.result()

    def _ask(self, key: K, known: _Entry[V] | None) -> V:
        started_at = self._clock()
        try:
            value = self._load(key)
        except Unavailable:
            if known is not None and started_at - known.loaded_at <= LONGEST_OUTAGE_S:
                known.failed_at = self._clock()
                return known.value
            raise
        self._keep(key, value, started_at)
        return value

    def _refresh(self, key: K, entry: _Entry[V]) -> None:
        started_at = self._clock()
        try:
            self._keep(key, self._load(key), started_at)
        except Unavailable:
            pass  # what is known serves on; past `stale_s` a caller asks itself
        finally:
            entry.refreshing = False

    def _keep(self, key: K, value: V, started_at: float) -> None:
        with self._lock:
            known = self._entries.get(key)
            if known is not None and known.loaded_at > started_at:
                return  # a thread that a frozen Lambda held up: what was asked after it stands
            self._entries[key] = _Entry(value, started_at)
            self._entries.move_to_end(key)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
