"""How few input frames a forecaster can do with, and which others do with as many as there are."""

from nowcast.core.errors import NowcastError
from nowcast.core.storage.runs import Run
from nowcast.precipitation.clips.trained_on import trained_on
from nowcast.precipitation.forecasters.baselines import BASELINES
from nowcast.precipitation.forecasters.through_pysteps import NEEDS
from nowcast.precipitation.forecasting.released.weights import located, shipped
from nowcast.precipitation.settings import DataSettings

MOTION_NEEDS = 2  # frames that show how rain moves


def least_of_run(run: Run, data: DataSettings) -> int:
    """The fewest input frames among the clips that a run was trained on.

    Raises:
        RunError: the run's folder says it in no readable way.
    """
    lengths = [in_len for in_len, _ in data.lengths]
    seen = trained_on(run, data) if not lengths and run.trained_on_file.is_file() else None
    return min((*lengths, *(seen.in_lens if seen is not None else ()), data.in_len))


def least_of_baseline(name: str) -> int:
    """The fewest input frames that a baseline can forecast from; ``NAME:dry`` as ``NAME``."""
    stem = name.partition(":")[0]
    if stem == "persistence":
        return 1
    return max(MOTION_NEEDS, NEEDS.get(stem, MOTION_NEEDS))


def takers(frames: int, baselines: bool = True) -> str:
    """Which weights that come with nowcast, and which baselines, forecast from so many frames, for
    a message."""
    found = [name for name in shipped() if _least_of_shipped(name) <= frames]
    if baselines:
        found += [name for name in BASELINES if least_of_baseline(name) <= frames]
    return f"weights for {frames}: {', '.join(found) or 'none that come with nowcast'}"


def _least_of_shipped(name: str) -> int:
    run = located(name)
    try:
        return least_of_run(run, DataSettings.model_validate(run.config()["data"]))
    except NowcastError:  # told where these weights are asked for
        return 1
