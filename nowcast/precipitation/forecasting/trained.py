"""A trained forecaster from its run: the config it was trained with, the network, its weights."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import nn

from nowcast.core.errors import ConfigError
from nowcast.core.storage.runs import Run
from nowcast.core.training.checkpoint import load_weights
from nowcast.precipitation.forecasters.scale import Scale
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import Calibration


def settings_of_run(run: Run) -> PrecipitationSettings:
    """The settings that a run's forecaster is built by, for any device.

    Raises:
        ConfigError: no run, one of another task, or a config that cannot be used.
    """
    config: Mapping[str, Any] = run.config()
    if config.get("task", "precipitation") != "precipitation":
        raise ConfigError(
            f"{run.folder}: expected a run that forecasts radar, found one of the task "
            f"{config['task']}"
        )
    # Another machine than the one that trained it may have no GPU.
    config = {**config, "train": {**(config.get("train") or {}), "device": "auto"}}
    try:
        return PrecipitationSettings.model_validate(config, context={"evaluating": True})
    except ValidationError as error:
        raise ConfigError(f"{run.config_file}: {error}") from error


def trained_forecaster(
    run: Run,
    settings: PrecipitationSettings,
    out_len: int,
    calibration: Calibration | None = None,
    scale: Scale | None = None,
) -> nn.Module:
    """The forecaster of a run with its best weights, in evaluation mode; MEmeL takes no part.

    Args:
        run: where the weights are.
        settings: of the run, see `settings_of_run`.
        out_len: frames to forecast, whatever it was trained for.
        calibration: Z-R relation of the frames it will see, HKO-7's if None.
        scale: their step and pixels; None: not known.

    Raises:
        RunError: the weights cannot be loaded.
    """
    model = settings.model.for_archive(settings.data.in_len, out_len, calibration, scale)
    load_weights(run.best_weights, model)
    return model.eval()
