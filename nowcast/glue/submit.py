"""From trained runs to the zip that GLUE's leaderboard takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nowcast.core.errors import ConfigError
from nowcast.core.memel.modes import evaluating
from nowcast.core.storage.finite import check_answers
from nowcast.core.terminal.progress import line
from nowcast.glue.benchmark import DATA_SETS, DataSet
from nowcast.glue.data.folders import Absent, file_of
from nowcast.glue.data.splits import Split
from nowcast.glue.scores import predicted
from nowcast.glue.submission import PartOf, Predictions, missing, write_submission
from nowcast.glue.task import GlueTask

DIAGNOSTICS = "ax"  # predicted by the model of MNLI
AX_IS_OF = "mnli"


def submit(
    models: Mapping[str, tuple[GlueTask, nn.Module]],
    device: torch.device,
    out: Path,
    partial: bool = False,
) -> tuple[Path, dict[str, int]]:
    """Predict the test files of several data sets, one model each, and write the zip.

    Args:
        models: data set -> its task, and a forecaster of it, all data sets of the leaderboard but
            the diagnostics, which MNLI's model predicts.
        device: to predict on.
        out: folder of the zip.
        partial: write it even if the leaderboard would miss files.

    Returns:
        the zip; file in it -> predictions.

    Raises:
        ConfigError: a data set is missing.
        DataError: a test file is not as GLUE distributes it.
    """
    splits = [
        (data_set, task.submission(data_set), task, model)
        for task, model in models.values()
        for data_set in _predicted_by(task, partial)
    ]
    lacking = missing([(one.name, file.part) for one, split, *_ in splits for file in split.files])
    if lacking and not partial:
        raise ConfigError(
            f"expected a run of every data set of the leaderboard, found none for "
            f"{', '.join(lacking)}; train them, or give --majority NAME for a data set whose "
            "commonest class is to be handed in instead; --partial writes what there is"
        )
    found: dict[PartOf, Predictions] = {}
    for each in splits:
        found |= _predictions(*each, device)
    counts = {
        str(DATA_SETS[name].layout(part).leaderboard): len(each.index)
        for (name, part), each in found.items()
    }
    return write_submission(out, found), counts


def _predicted_by(task: GlueTask, partial: bool) -> list[DataSet]:
    """The data sets whose test files a task's model is asked for."""
    diagnostics = DATA_SETS[DIAGNOSTICS]
    if task.data_set.name != AX_IS_OF:
        return [task.data_set]
    try:
        file_of(task.root, diagnostics, "test")
    except Absent:
        if partial:
            return [task.data_set]
        raise
    return [task.data_set, diagnostics]


def _predictions(
    data_set: DataSet, split: Split, task: GlueTask, model: nn.Module, device: torch.device
) -> dict[PartOf, Predictions]:
    """Of every file of a split without labels."""
    model = model.to(device)
    values: list[torch.Tensor] = []
    size = task.settings.train.batch_size
    title = f"predicting the test files of {data_set.name}"
    with evaluating(model), line(title, len(split), unit="examples") as predicting:
        for places in np.array_split(np.arange(len(split)), -(-len(split) // size)):
            batch = split.batch(places, task.length).to(device)
            logits = task.logits(model, batch)
            check_answers(logits, batch.rows)
            values.append(predicted(logits).cpu())
            predicting.advance(by=len(places))
    everything = torch.cat(values)
    parts = torch.split(everything, [len(file) for file in split.files])
    return {
        (data_set.name, file.part): Predictions(file.index.tolist(), part.tolist())
        for file, part in zip(split.files, parts, strict=True)
    }


def check_each_once(names: Sequence[str]) -> None:
    """Raise ConfigError where two models are of one data set."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"expected one run of each data set, found several of {', '.join(twice)}")
