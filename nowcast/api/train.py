"""Training from Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nowcast import registry
from nowcast.api.progress import shows_progress
from nowcast.api.settings import Config, dotted, read, settings_of
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import joined
from nowcast.core.training.trainer import train as train_run


@shows_progress
def train(
    config: Config,
    run: str | Path,
    overrides: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Run:
    """Train one forecaster; the same call goes on where it stopped, or returns a finished run.

    Args:
        config: the name of a config that comes with nowcast (``smoke``), the path of a YAML file,
            or its content as a mapping.
        run: folder of the run.
        overrides: dotted config keys and their values, ``{"train.steps": 100}``.
        **keywords: the same with ``__`` for the dot, e.g. ``data__root="data/dwd",
            train__steps=100``.

    Returns:
        the run: `Run.result`, `Run.history`, `Run.best_weights`; `load` takes it.

    Raises:
        ConfigError: the config is wrong, or the folder holds another run.
        DataError: a file of the data is damaged.
        TrainingFailed: the loss is not a number or explodes.
        RunError: the disk is full, or another process trains the run.
    """
    content, source = read(config, {})
    settings = settings_of(content, source, dotted(overrides, keywords))
    result = Run(Path(run))
    with joined() as ranks:
        train_run(registry.build(settings), settings, result, ranks)
    return result
