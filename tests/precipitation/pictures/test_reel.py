"""A reel shows the wettest clips, what forecasters made of them, and by how much they were off."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.pictures import reel as reel_module
from nowcast.precipitation.pictures.reel import (
    DIFFERENCE_BANDS,
    difference_colours,
    forecast,
    reels,
)
from nowcast.precipitation.pictures.render import BANDS, MASKED, colours
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask


class Constant(nn.Module):
    """Forecasts one pixel value everywhere."""

    def __init__(self, pixel: float, out_len: int) -> None:
        super().__init__()
        self.pixel, self.out_len = pixel, out_len

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        assert not self.training
        shape = (len(frames), self.out_len, *frames.shape[2:])
        return torch.full(shape, self.pixel)


@pytest.fixture(scope="module")
def task(synthetic: Path) -> PrecipitationTask:
    data = {"root": synthetic, "in_len": 3, "out_len": 4, "stride": 10}
    return PrecipitationTask(PrecipitationSettings.model_validate({"data": data}))


def test_every_band_of_a_difference_has_its_colour_and_masked_is_grey():
    # Within each band, from far too dry over right to far too wet.
    differences = np.array([[-50, -15, -7, -3, -1, 0, 1, 3, 7, 15, 50, 50]], dtype=float)
    mask = np.ones(differences.shape, dtype=bool)
    mask[0, -1] = False
    drawn = difference_colours(differences, mask)[0].tolist()
    assert drawn == [*(list(colour) for _, colour in DIFFERENCE_BANDS), list(MASKED)]
    assert drawn[5] == list(BANDS[0][1])  # right is as white as dry


def test_reels_are_of_the_wettest_clips_and_their_lead_times(task: PrecipitationTask):
    clips = task.clips("test")
    made = task.reels({"dry": Constant(0.0, 4), "wet": Constant(0.5, 4)}, "test")
    batch = clips.batch([Draw(clip) for clip in clips.wettest(2)])
    assert [reel.caption for reel in made] == [
        f"init {name.replace('T', ' ')} UTC" for name in batch.names()
    ]
    first, step = made[0], task.archive.description.step_minutes
    assert [label.split()[0] for label in first.labels] == [f"+{n * step}" for n in (1, 2, 3, 4)]
    valid = batch.times[0, 3:].numpy().astype("datetime64[m]")
    assert [label.split()[2] for label in first.labels] == [str(time)[11:] for time in valid]
    truth, mask = batch.truth[0, :, 0].numpy(), batch.truth_mask[0, :, 0].numpy()
    calibration = task.archive.calibration
    for lead in range(4):
        np.testing.assert_array_equal(
            first.truth[lead], colours(truth[lead], mask[lead], calibration)
        )
    assert bool((first.truth[~mask] == MASKED).all())
    assert bool((first.differences["wet"][~mask] == MASKED).all())


def test_a_difference_is_forecast_less_truth(task: PrecipitationTask):
    made = task.reels({"dry": Constant(0.0, 4), "wet": Constant(0.9, 4)}, "test")
    palette = {colour: place for place, (_, colour) in enumerate(DIFFERENCE_BANDS)}
    middle = len(DIFFERENCE_BANDS) // 2
    for name, sign in (("dry", -1), ("wet", 1)):
        pixels = made[0].differences[name].reshape(-1, 3).tolist()
        places = [palette[colour] for p in pixels if (colour := tuple(p)) != MASKED]
        assert all(sign * (place - middle) >= 0 for place in places)
        assert any(sign * (place - middle) > 0 for place in places)


def test_labels_of_the_scale_are_edges_towards_zero(task: PrecipitationTask):
    (first, *_) = task.reels({}, "test")
    assert first.scale is not None and first.difference_scale is not None
    assert [label for label, _ in first.scale.bands][:3] == ["0", "0.1", "0.5"]
    assert [label for label, _ in first.difference_scale.bands] == (
        ["-20", "-10", "-5", "-2", "-0.5", "0", "+0.5", "+2", "+5", "+10", "+20"]
    )


def test_wide_frames_are_thinned_and_say_so(
    task: PrecipitationTask, monkeypatch: pytest.MonkeyPatch
):
    whole = task.reels({"wet": Constant(0.5, 4)}, "test")[0]
    monkeypatch.setattr(reel_module, "WIDEST", 32)  # of 64
    thinned = reels(task.clips("test"), {"wet": Constant(0.5, 4)})[0]
    np.testing.assert_array_equal(thinned.truth, whole.truth[:, 1::2, 1::2])
    np.testing.assert_array_equal(
        thinned.differences["wet"], whole.differences["wet"][:, 1::2, 1::2]
    )
    assert "Not all pixels" in thinned.note and "Not all pixels" not in whole.note


def test_a_model_is_left_in_the_mode_it_was_in(task: PrecipitationTask):
    clips = task.clips("test")
    batch = clips.batch([Draw(0)])
    for training in (True, False):
        model = Constant(1.5, 4).train(training)
        made = forecast(model, batch)
        assert model.training is training
        assert made.shape == (1, 4, 64, 64) and made.max() == 1.0
