"""The precipitation task builds the model its settings name and lets it see input and mask."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nowcast.core.comparison.contest import contest
from nowcast.core.scoring.pooling import pooled
from nowcast.core.settings import MEmeLSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.trainer import build_model
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU
from nowcast.precipitation.forecasters.cells.convlstm import ConvLSTM
from nowcast.precipitation.forecasters.cells.trajgru import TrajGRU
from nowcast.precipitation.forecasters.lagrangian import Lagrangian
from nowcast.precipitation.forecasters.settings import Ensemble
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from nowcast.precipitation.verification.ensembles.columns import ENSEMBLE_COLUMNS

CELLS = {"convgru": ConvGRU, "trajgru": TrajGRU, "convlstm": ConvLSTM}
STAGES = [
    {"channels": 3, "hidden": 4, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1], "links": 3},
    {"channels": 4, "hidden": 5, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1], "links": 2},
]


def task(root: Path, **model: Any) -> PrecipitationTask:
    content = {
        "data": {"root": root, "in_len": 3, "out_len": 2, "stride": 40, "random_crop": [32, 32]},
        "model": {"stages": STAGES, **model},
        "train": {"batch_size": 2},
    }
    return PrecipitationTask(PrecipitationSettings.model_validate(content))


@pytest.mark.parametrize("lagrangian", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_every_network_trains_with_memel_and_is_scored(
    synthetic: Path, cell: str, lagrangian: bool
):
    torch.manual_seed(0)
    made = task(synthetic, cell=cell, lagrangian=lagrangian)
    model = build_model(made, MEmeLSettings(late_start=1))
    assert isinstance(model, Lagrangian) == lagrangian
    cells = [module for module in model.modules() if isinstance(module, CELLS[cell])]
    assert len(cells) == 4
    if cell == "trajgru":
        assert [module.links for module in cells] == [3, 2, 3, 2]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _, batch in zip(range(2), made.training_batches(0, Ranks()), strict=False):
        optimiser.zero_grad()
        made.loss(model, batch).backward()
        # What DDP waits for: a gradient, be it zero, of each weight that may have one.
        assert all(
            weight.grad is not None and bool(weight.grad.isfinite().all())
            for weight in model.parameters()
            if weight.requires_grad
        )
        optimiser.step()
    scores = evaluate(made, model, "test", Ranks(), torch.device("cpu"))
    assert scores.document()["b_mse"] > 0


class Seen(nn.Module):
    """Keeps what it was given, and forecasts dry weather."""

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        self.frames, self.mask = frames, mask
        return frames.new_zeros(len(frames), 2, *frames.shape[2:])


def test_a_forecaster_sees_the_input_frames_and_their_mask(synthetic: Path):
    made, model = task(synthetic), Seen()
    for batch in made.evaluation_batches("test", Ranks()):
        for call in (made.loss, made.score):
            call(model, batch)
            assert torch.equal(model.frames, batch.inputs)
            assert torch.equal(model.mask, batch.mask[:, :3])
    assert not bool(model.mask.all())
    made.pictures(model, "test")
    assert model.mask.shape == model.frames.shape


def test_the_columns_are_those_of_all_scores(synthetic: Path):
    made = task(synthetic)
    for batch in made.evaluation_batches("test", Ranks()):
        sums = made.score(Seen(), batch)
        columns, whole = made.read_columns(sums), made.read(sums).values
        verified = made.verify(Seen(), batch)
        curves, along = made.read_curves(verified).curves, made.read(verified).curves
        for column in made.columns:
            assert columns[column.score] == whole[column.score]
            assert curves[column.score] == along[column.score]


def test_an_ensemble_is_scored_member_by_member_and_by_its_mean(synthetic: Path):
    made = task(synthetic)
    lagged = made.baseline("lagged-flow")
    assert isinstance(lagged, Ensemble)

    class Mean(nn.Module):
        def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
            return lagged.single(lagged.members(frames, mask), frames, mask)

    clips = made.clips("test")
    batch = clips.batch([Draw(clip) for clip in clips.wettest(2)])
    sums, of_mean = made.verify(lagged, batch), made.verify(Mean(), batch)
    for name, value in of_mean.values.items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-9, err_msg=name)
    assert sums["exceeding"].shape == (5, 3, 2, 2)  # two members of three frames
    each = [made.verify(lagged, batch.take(np.array([clip]))) for clip in range(2)]
    np.testing.assert_array_equal(pooled(each)["ranks"], sums["ranks"])
    scores = made.read(sums).values
    columns, alone = made.read_columns(sums), made.read(of_mean).values
    assert columns["crps_mm_h"] == scores["crps_mm_h"] != alone["crps_mm_h"]
    assert scores["csi/2"] == alone["csi/2"] and "coverage/90" not in alone


def test_ensembles_and_others_stand_in_one_leaderboard(synthetic: Path, tmp_path: Path):
    made = task(synthetic)
    entries = {name: (made, made.baseline(name)) for name in ("flow", "lagged-flow")}
    board = contest(entries, "test", Ranks(), torch.device("cpu"), tmp_path)
    shown = {column.score for column in board.details}
    assert shown >= {column.score for column in ENSEMBLE_COLUMNS}
    crps = {name: scores.values["crps_mm_h"] for name, scores in board.scores.items()}
    assert all(value is not None and value > 0 for value in crps.values())
    assert "CRPS, mm/h" in (tmp_path / "leaderboard.md").read_text()
    assert "crps_mm_h" in (tmp_path / "differences.csv").read_text()
    written = json.loads((tmp_path / "ensembles.json").read_text())
    assert list(written) == ["lagged-flow"]
    assert {path.name for path in (tmp_path / "pictures").glob("r*.png")} == {
        "reliability.png",
        "ranks.png",
    }


def test_clips_of_a_run_on_a_cpu_are_not_pinned_for_a_gpu(
    synthetic: Path, monkeypatch: pytest.MonkeyPatch
):
    pinned: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def load(*given: Any) -> Any:
        pinned.append(given[3])
        return iter(())

    monkeypatch.setattr("nowcast.precipitation.clips.loader.load", load)
    made = task(synthetic)
    for device in ("cpu", "cuda", "auto"):
        train = made.settings.train.model_copy(update={"device": device})
        data = made.settings.data.model_copy(update={"on_gpu": "never"})
        changes = {"train": train, "data": data}
        made = PrecipitationTask(made.settings.model_copy(update=changes), made)
        made.training_batches(0, Ranks())
        made.evaluation_batches("test", Ranks())
    assert pinned == [False, False, True, True, True, True]


def test_a_batch_is_forecast_once_for_all_its_blocks(synthetic: Path):
    made = task(synthetic)
    flow, batch = made.baseline("flow"), next(made.evaluation_batches("test", Ranks()))
    parts = [np.arange(1), np.arange(1, len(batch.times))]  # two clips
    calls = []
    flow.register_forward_hook(lambda *_: calls.append(1))
    for part, sums in zip(parts, made.score_parts(flow, batch, parts), strict=True):
        for name, value in made.score(flow, batch.take(part)).values.items():
            np.testing.assert_array_equal(sums[name], value, err_msg=name)
    assert len(calls) == 1 + len(parts)
