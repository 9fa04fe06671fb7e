"""Where the forecasts of a watch go, for as long as that works and again when it works again."""

import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from re import ASCII, compile
from tempfile import TemporaryDirectory

import numpy as np

from nowcast.core.errors import ConfigError, NowcastError
from nowcast.core.storage.files import write_json, writing
from nowcast.precipitation.forecasting.products.result import Forecast

LATEST = "latest.json"
FOLDER_NAME = compile(r"\d{8}T\d{4}", ASCII)  # of a forecast: its init time
PREFIX = ".forecast-"  # of what is being written
REMEMBERED = 20  # durations of writing
AGAIN_SECONDS = 60.0  # between two tries to write what could not be written

Write = Callable[[Forecast, Path], Sequence[Path]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outlet:
    """Where forecasts go.

    Args:
        folder: gets a folder for each, named for its init time, and ``latest.json``.
        write: writes one forecast into a folder; says which files.
        keep: how many forecasts stay, the newest; None is all.
    """

    folder: Path
    write: Write
    keep: int | None = None

    def put(self, forecast: Forecast) -> None:
        """Write a forecast, whole or not at all, and make it the latest.

        Raises:
            NowcastError, OSError: it cannot be written; the latest is the one it was.
        """
        folder = self._folder_of(forecast)
        with writing(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.folder, prefix=PREFIX) as beside:
                staged = Path(beside) / folder.name
                files = self.write(forecast, staged)
                if folder.is_dir():  # of a service that was killed since
                    folder.replace(Path(beside) / "before")
                staged.replace(folder)
        latest = {
            "init": str(forecast.init),
            "folder": folder.name,
            "model": forecast.model,
            "files": [f"{folder.name}/{path.relative_to(staged)}" for path in files],
        }
        write_json(self.folder / LATEST, latest)

    def sweep(self) -> None:
        """Remove what a killed process has left half written."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name.startswith(PREFIX):
                    shutil.rmtree(path)
                elif path.name.startswith(".") and path.name.endswith(".tmp"):
                    path.unlink()

    def prune(self, newest: Forecast) -> None:
        """Remove the oldest forecasts, if there are too many, but not the one just written; raises
        OSError if that fails."""
        if self.keep is not None:
            others = [path for path in self.forecasts() if path != self._folder_of(newest)]
            for old in others[: len(others) + 1 - self.keep]:
                shutil.rmtree(old)

    def _folder_of(self, forecast: Forecast) -> Path:
        init: datetime = forecast.init.astype("datetime64[m]").item()
        return self.folder / init.strftime("%Y%m%dT%H%M")

    def forecasts(self) -> list[Path]:
        """The folders of forecasts that are there, ascending by init time."""
        return sorted(
            path
            for path in self.folder.iterdir()
            if FOLDER_NAME.fullmatch(path.name) and path.is_dir()
        )


@dataclass
class Delivery:
    """Brings forecasts to an outlet. Where one cannot be written this is said once, and the newest
    is tried again until it can; that is said too.

    Args:
        outlet: takes them.
        say: tells the user.
        clock: seconds.
    """

    outlet: Outlet
    say: Say
    clock: Callable[[], float] = time.monotonic
    _waiting: Forecast | None = None
    _tried: float = 0.0
    _lost: int = 0
    _said: set[str] = field(default_factory=set)
    _spent: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def usual_seconds(self) -> float:
        """How long a forecast takes to write, 19 times of 20."""
        return float(np.quantile(self._spent, 0.95)) if self._spent else 0.0

    def take(self, forecast: Forecast) -> bool:
        """Write a forecast, in place of one that still waits; whether it has been written."""
        failing, self._lost = self._waiting is not None, self._lost + (self._waiting is not None)
        self._tried = self.clock()
        try:
            self.outlet.put(forecast)
        except (NowcastError, OSError) as error:
            if not failing:
                self.say(
                    f"{forecast.init}: not written: {error}. Going on; the newest forecast is "
                    "tried again every minute"
                )
            self._waiting = forecast
            return False
        self._spent.append(self.clock() - self._tried)
        if failing:
            lost = f"; {self._lost} before it were never written" if self._lost else ""
            self.say(f"{forecast.init}: written, forecasts can be written again{lost}")
        self._waiting, self._lost = None, 0
        try:
            self.outlet.prune(forecast)
        except OSError as error:
            if "prune" not in self._said:
                self.say(f"--keep: an old forecast cannot be removed: {error}. Going on")
            self._said.add("prune")
        return True

    def again(self) -> Forecast | None:
        """Try what waits once more, if it is time; the forecast, if it has been written now."""
        waiting = self._waiting
        if waiting is None or self.clock() - self._tried < AGAIN_SECONDS:
            return None
        self._lost -= 1  # it takes its own place
        return waiting if self.take(waiting) else None


def entries(folder: Path) -> list[str]:
    """The names in the folder of --out, ascending, hidden ones left out: they are a killed
    process's; none where there is no folder.

    Raises:
        ConfigError: there is a file in its place.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out: expected a folder, found the file {folder}; choose another")
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in found if not path.name.startswith("."))
