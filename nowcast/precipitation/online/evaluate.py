"""Score a forecaster online: between the stream that asks and the forecaster that learns."""

import torch
from torch import nn

from nowcast.core.errors import ConfigError
from nowcast.core.memel.modes import in_mode
from nowcast.core.scoring.sums import Scores
from nowcast.core.settings import RunSettings
from nowcast.core.system.distributed import current
from nowcast.core.terminal.progress import line
from nowcast.core.training.evaluate import FORECASTER
from nowcast.core.training.task import Task
from nowcast.precipitation.online.arrival import Observer
from nowcast.precipitation.online.learner import OnlineLearner
from nowcast.precipitation.online.stream import Stream
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask


def evaluate_online(
    task: Task, model: nn.Module, split: str, device: torch.device, settings: RunSettings
) -> Scores:
    """Scores of a forecaster that may learn from what has become past before each forecast.

    A model with `observe` learns as it likes; any other with parameters to train learns as
    `OnlineLearner` does, in a copy; one without parameters learns nothing.

    Args:
        task: of precipitation.
        model: already on the device; MEmeL is in it where it is to act while the model learns.
        split: of the task.
        device: where forecasts are made.
        settings: `online` says how to learn, `train.seed` what randomness comes from.

    Raises:
        ConfigError: another task; more than one process.
        RunError: a forecast of the wrong shape or without numbers; learning went astray.
    """
    if not isinstance(task, PrecipitationTask) or not isinstance(settings, PrecipitationSettings):
        raise ConfigError(
            f"--online: expected a run of precipitation, found task {settings.task!r}; leave it out"
        )
    if current().size > 1:
        raise ConfigError(
            f"--online: expected one process, found {current().size}: a stream has one order and "
            "cannot be split; run without torchrun"
        )
    stream = Stream(task, split)
    forecaster = model
    trainable = any(parameter.requires_grad for parameter in model.parameters())
    if not isinstance(model, Observer) and trainable and settings.online.updates:
        forecaster = OnlineLearner(model, task, settings.online, settings.train.seed)
    seeded = torch.random.fork_rng([device] if device.type == "cuda" else [])
    title = f"scoring online on {split}"
    with (
        seeded,
        in_mode(model, training=False),
        in_mode(forecaster, training=False),
        line(title, len(stream), unit="forecasts") as scoring,
    ):
        torch.manual_seed(settings.train.seed)
        for _ in range(len(stream)):
            request = stream.next()
            if isinstance(forecaster, Observer):
                forecaster.observe(request.arrived)
            with torch.inference_mode():
                prediction = forecaster(request.frames.to(device), request.mask.to(device))
            stream.submit(request.init_time, prediction)
            scoring.advance()
    sums = stream.finish()
    sums.check_finite(FORECASTER)
    return task.read(sums)
