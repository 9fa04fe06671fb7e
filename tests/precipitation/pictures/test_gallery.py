"""Pictures of a leaderboard show what its numbers say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nowcast.core.comparison.board import Board
from nowcast.core.scoring.pooling import pooled
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate_blocks
from nowcast.precipitation.pictures.gallery import (
    best_and_worst,
    performance_diagram,
    spectra,
)
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask


class Blurred(nn.Module):
    """Persistence through a window of 9 x 9 pixels."""

    def forward(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        last = nn.functional.avg_pool2d(frames[:, -1], 9, stride=1, padding=4)
        return last[:, None].expand(-1, 4, -1, -1, -1)


@pytest.fixture(scope="module")
def task(synthetic: Path) -> PrecipitationTask:
    data = {"root": synthetic, "in_len": 3, "out_len": 4, "stride": 11, "max_missing": 2}
    return PrecipitationTask(PrecipitationSettings.model_validate({"data": data}))


@pytest.fixture(scope="module")
def models(task: PrecipitationTask) -> dict[str, nn.Module]:
    return {"persistence": task.baseline("persistence"), "blurred": Blurred()}


@pytest.fixture(scope="module")
def board(task: PrecipitationTask, models: dict[str, nn.Module]) -> Board:
    parts = {
        name: evaluate_blocks(task, model, "test", Ranks(), torch.device("cpu"))
        for name, model in models.items()
    }
    return Board(task, parts, task.facts("test"))


def test_a_performance_diagram_has_a_point_for_each_threshold(board: Board):
    (axes,) = performance_diagram(board.parts).axes
    points = {
        (round(float(line.get_xdata()[0]), 6), round(float(line.get_ydata()[0]), 6))
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    for name in board.scores:
        counts = board.scores[name].support
        for threshold in ("0.5", "2", "5", "10", "30"):
            hits, misses, false_alarms = (
                counts[f"{count}/{threshold}"] for count in ("hits", "misses", "false_alarms")
            )
            if hits:
                where = (hits / (hits + false_alarms), hits / (hits + misses))
                assert tuple(round(value, 6) for value in where) in points, (name, threshold)


def test_spectra_are_those_of_the_first_and_the_last_lead_time(board: Board):
    sums = pooled(list(board.parts["blurred"].values()))
    figure = spectra(board.parts, step_minutes=6)
    for axes, lead, title in zip(figure.axes, (0, -1), ("+6 min", "+24 min"), strict=True):
        assert axes.get_title() == title
        power = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert list(power) == ["truth", "persistence", "blurred"]
        np.testing.assert_array_equal(power["truth"], sums["power_truth"][1:, lead])
        np.testing.assert_array_equal(power["blurred"], sums["power_prediction"][1:, lead])
        assert axes.xaxis_inverted()


def test_the_best_episode_is_that_of_the_largest_gain(board: Board):
    read = board.task.read_columns
    chosen = best_and_worst(board.parts, "persistence", read)
    gain = {
        block: board.by_block["persistence"][block].values["b_mse"] - scores.values["b_mse"]
        for block, scores in board.by_block["blurred"].items()
    }
    assert len(gain) > 2
    assert chosen["best"] == ("blurred", max(gain, key=gain.__getitem__))
    assert chosen["worst"] == ("blurred", min(gain, key=gain.__getitem__))
    alone = {"persistence": board.parts["persistence"]}
    assert best_and_worst(alone, "persistence", read) == {}


def test_a_gallery_is_four_pictures(
    board: Board, task: PrecipitationTask, models: dict[str, nn.Module], tmp_path: Path
):
    found = task.gallery(board.parts, models, "test", tmp_path)
    assert sorted(path.name for path in found.values()) == [
        "best.gif",
        "performance.png",
        "spectra.png",
        "worst.gif",
    ]
    with Image.open(tmp_path / "pictures" / "best.gif") as animation:
        assert animation.n_frames == 4
        assert animation.width > 2 * 120  # truth and two forecasts, in two columns
        frames = []
        for number in range(4):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB")))
    assert any((frames[0] != frame).any() for frame in frames[1:])
