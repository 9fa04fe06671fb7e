"""The forecasters of a ladder: in this process, or in one that is killed when its time is over."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from nowcast.core.execution.apart import Apart
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import Inputs
from nowcast.precipitation.forecasting.products.result import Forecast


@runtime_checkable
class Rung(Protocol):
    """One forecaster of a ladder.

    Attributes:
        name: ``network``, or the baseline's.
        forecaster: says what it takes and what must be known of it.
        can_be_stopped: it gives up when its time is over.
        pid: of its own process, if it has one.
    """

    name: str
    forecaster: Forecaster
    can_be_stopped: bool

    @property
    def pid(self) -> int | None: ...

    def load(self) -> None:
        """Read weights now, so that a mistake in them is told before it rains."""
        ...

    def prepare(self) -> None:
        """Get ready for the next forecast, while there is time."""
        ...

    def close(self) -> None:
        """End what it has started."""
        ...

    def forecast(self, inputs: Inputs, read_seconds: float, seconds: float) -> Forecast:
        """A forecast, within so many seconds if it can be stopped."""
        ...


class Here:
    """A rung in this process: a baseline, whose time is known beforehand.

    Args:
        name: of the rung.
        forecaster: makes its forecasts.
    """

    can_be_stopped = False
    pid: int | None = None

    def __init__(self, name: str, forecaster: Forecaster) -> None:
        self.name = name
        self.forecaster = forecaster

    def load(self) -> None:
        """See `Rung`."""
        self.forecaster.load()

    def prepare(self) -> None:
        """See `Rung`: there is nothing to do."""

    def close(self) -> None:
        """See `Rung`: there is nothing to do."""

    def forecast(self, inputs: Inputs, read_seconds: float, seconds: float) -> Forecast:
        """See `Rung`."""
        return self.forecaster.forecast(inputs, read_seconds)


class Elsewhere:
    """A rung in a process of its own, which is killed when its time is over.

    Args:
        name: of the rung.
        choice: which weights or baseline.
        description: of the archive.
        lead_minutes: how far ahead; None as trained.
        members: of an ensemble.
        seed: of what is random in them.

    Raises:
        ConfigError: as `Forecaster`.
    """

    can_be_stopped = True

    def __init__(
        self,
        name: str,
        choice: Choice,
        description: Description,
        lead_minutes: float | None = None,
        *,
        members: int | None = None,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.forecaster = Forecaster(choice, description, lead_minutes, members=members, seed=seed)
        self._apart = Apart(_answering, choice, description, lead_minutes, members, seed)

    @property
    def pid(self) -> int | None:
        """Of its process; None while there is none."""
        return self._apart.pid

    def load(self) -> None:
        """See `Rung`."""
        self._apart.ask(None)

    def prepare(self) -> None:
        """See `Rung`: a process that was killed is started again."""
        self._apart.start()

    def forecast(self, inputs: Inputs, read_seconds: float, seconds: float) -> Forecast:
        """See `Rung`; raises Unanswered where there is no forecast in time."""
        forecast: Forecast = self._apart.ask((inputs, read_seconds), seconds)
        return forecast

    def close(self) -> None:
        """See `Rung`."""
        self._apart.close()


def _answering(
    choice: Choice,
    description: Description,
    lead_minutes: float | None,
    members: int | None,
    seed: int,
) -> Callable[[tuple[Inputs, float] | None], Forecast | None]:
    """In the process of `Elsewhere`: what answers it."""
    forecaster = Forecaster(choice, description, lead_minutes, members=members, seed=seed)
    forecaster.load()

    def answer(request: tuple[Inputs, float] | None) -> Forecast | None:
        return None if request is None else forecaster.forecast(*request)

    return answer
