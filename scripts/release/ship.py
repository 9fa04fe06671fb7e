"""A finished run made one of the weights that come with the package.

``python -m scripts.release.ship RUN NAME``; `card` writes the model card.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nowcast.core.storage.files import write_json, write_text
from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import dumps
from nowcast.core.training.checkpoint import save_weights
from nowcast.precipitation.clips.trained_on import trained_on, written
from nowcast.precipitation.forecasting.released.weights import FOLDER
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster
from nowcast.precipitation.settings import PrecipitationSettings

# Keys that say where a run's data lay and how they were drawn: of no use to a forecast.
ABOUT_TRAINING = (
    *("root", "lists", "quarantine", "sources", "lengths", "windows", "augment", "random_crop"),
    *("min_wet", "flips", "turns", "towards_rain", "reweight", "cache_mb"),
)


def ship(run: Run, folder: Path) -> Run:
    """Write what a forecast needs of a finished run, without places on its disk and without MEmeL's
    statistics; and what radar it was trained on, where that is known.

    Args:
        run: finished.
        folder: to make; in `weights.FOLDER`, `weights.located` finds it by its name.

    Raises:
        ConfigError: no such run.
        RunError: its weights cannot be read.
    """
    config = _without_places(run.config())
    settings = settings_of_run(run)
    model = trained_forecaster(run, settings, settings.data.out_len)
    shipped = Run(folder)
    save_weights(shipped.best_weights, model, config)
    write_text(shipped.config_file, dumps(config))
    seen = trained_on(run, PrecipitationSettings.model_validate(run.config()).data)
    if seen is not None:
        write_json(shipped.trained_on_file, written(seen))
    return shipped


def _without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    data = {key: value for key, value in config["data"].items() if key not in ABOUT_TRAINING}
    return {**config, "data": data, "start_from": None}


if __name__ == "__main__":
    ship(Run(Path(sys.argv[1])), FOLDER / sys.argv[2])
