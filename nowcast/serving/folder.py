"""The newest forecast of a folder, as it lies there now: nothing else is read, nothing written."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasting.products.outlet import FOLDER_NAME, LATEST
from nowcast.precipitation.forecasting.products.written import SUMMARY
from nowcast.serving.content import Content, read

HEALTH = "health.json"
LARGEST_JSON = 2**22  # bytes; no list of a forecast's files comes near
LOOK_SECONDS = 1.0  # between two looks whether there is another forecast


@dataclass(frozen=True)
class State:
    """What there is at a time.

    Args:
        content: of the newest forecast; None: there is none yet.
        health: what ``health.json`` says; empty where there is none.
        fault: why a newer forecast cannot be read; empty: it can.
    """

    content: Content | None
    health: Mapping[str, Any]
    fault: str = ""

    def age_minutes(self, now: np.datetime64) -> float | None:
        """Since the init time of the forecast."""
        if self.content is None:
            return None
        return float((now - self.content.init) / np.timedelta64(1, "m"))


class Folder:
    """Watches a folder for its newest forecast, and keeps that in memory.

    Args:
        root: what `nowcast watch` or `nowcast forecast` has as ``--out``.
        clock: seconds that never jump.

    Raises:
        ConfigError: there is no such folder.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        if not root.is_dir():
            raise ConfigError(
                f"serve: expected the folder that `nowcast watch ... --out DIR` or `nowcast "
                f"forecast` writes, found none at {root}"
            )
        self.root = root.resolve()
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = -LOOK_SECONDS
        self._state = State(None, {})
        self._known: tuple[Path, int] | None = None  # what is in memory, by folder and time

    def state(self) -> State:
        """The newest forecast and how its maker does; looks at the folder once a second.

        While a newer one is read, others get the one before it. A forecast that cannot be read
        leaves the one before it, too.
        """
        if self._lock.acquire(blocking=self._state.content is None):
            try:
                if self._clock() - self._looked >= LOOK_SECONDS:
                    self._state = self._look()
                    self._looked = self._clock()
            finally:
                self._lock.release()
        return self._state

    def _look(self) -> State:
        health = self._json(self.root / HEALTH) or {}
        try:
            folder = self._newest()
            if folder is None:
                return State(self._state.content, health)
            known = folder, (folder / SUMMARY).stat().st_mtime_ns
            if known == self._known:
                return State(self._state.content, health, self._state.fault)
            content = read(folder, self._json(folder / SUMMARY) or {})
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            said = str(error).replace(f"{self.root}/", "")  # where it lies is nobody's business
            return State(self._state.content, health, f"{type(error).__name__}: {said}")
        self._known = known
        return State(content, health)

    def _newest(self) -> Path | None:
        """The folder of the newest forecast; None: there is none."""
        latest = self._json(self.root / LATEST)
        if latest is not None:
            name = latest.get("folder")
            if not isinstance(name, str) or FOLDER_NAME.fullmatch(name) is None:
                raise ValueError(f"{LATEST}: expected the name of a forecast, found {name!r:.40}")
            folder = (self.root / name).resolve()
            if folder.parent != self.root:  # a link that leads out
                raise ValueError(f"{LATEST}: {name} lies outside {self.root}")
            return folder
        return self.root if (self.root / SUMMARY).is_file() else None

    def _json(self, path: Path) -> dict[str, Any] | None:
        """What a JSON object in a file holds; None where there is no such file, or none to read."""
        try:
            if path.resolve().parent not in (self.root, *self._parents(path)):
                return None
            with path.open("rb") as file:
                text = file.read(LARGEST_JSON + 1)
            found = json.loads(text) if len(text) <= LARGEST_JSON else None
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def _parents(self, path: Path) -> tuple[Path, ...]:
        parent = path.parent.resolve()
        return (parent,) if self.root in parent.parents else ()
