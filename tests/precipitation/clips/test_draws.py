"""How clips are turned and how often they are drawn."""

from itertools import islice

import numpy as np
import pytest
import torch

from nowcast.precipitation.clips.draws import Draw, towards_rain, training_draws
from nowcast.precipitation.loss import balanced_loss
from nowcast.precipitation.units import Calibration

SQUARE = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_what_is_written_upright_stands_turned(turns: int, mirrored: bool):
    array = np.zeros_like(SQUARE)
    Draw(0, turns=turns, mirrored=mirrored).view(array)[:] = SQUARE
    expected = np.rot90(SQUARE[0], turns)
    assert np.array_equal(array[0], np.fliplr(expected) if mirrored else expected)


@pytest.mark.parametrize(
    ("turns", "flips", "expected"),
    [
        (False, False, {(0, False)}),
        (True, False, {(turn, False) for turn in range(4)}),
        (False, True, {(turn, side) for turn in (0, 2) for side in (False, True)}),
        (True, True, {(turn, side) for turn in range(4) for side in (False, True)}),
    ],
)
def test_orientations_are_alike_likely(turns: bool, flips: bool, expected: set):
    plan = training_draws((5, 1, 1), 400, 3, 0, 0, 1, turns=turns, flips=flips)
    drawn = [(draw.turns, draw.mirrored) for draw in next(plan)]
    assert set(drawn) == expected
    counts = [drawn.count(one) for one in expected]
    assert min(counts) > 0.6 * 400 / len(expected)


def test_orientation_changes_no_clip():
    plain = next(training_draws((50, 7, 7), 16, 3, 9, 0, 1))
    turned = next(training_draws((50, 7, 7), 16, 3, 9, 0, 1, turns=True, flips=True))
    assert [(d.clip, d.row, d.column) for d in plain] == [(d.clip, d.row, d.column) for d in turned]


def test_rain_is_drawn_as_often_as_documented_and_weights_undo_it():
    wet = np.array([0.0, 0.1, 0.3, 0.0])
    probabilities = towards_rain(wet, 0.5)
    assert probabilities == pytest.approx([0.125, 0.25, 0.5, 0.125])
    assert towards_rain(np.zeros(4), 0.5) == pytest.approx(np.full(4, 0.25))
    plan = training_draws((4, 1, 1), 1000, 1, 0, 0, 1, probabilities=probabilities)
    drawn = [draw for step in islice(plan, 40) for draw in step]
    share = np.bincount([draw.clip for draw in drawn], minlength=4) / len(drawn)
    assert share == pytest.approx(probabilities, abs=0.01)
    value = np.array([5.0, 1.0, 40.0, 2.0])  # what a mean over clips is estimated of
    estimate = np.mean([draw.weight * value[draw.clip] for draw in drawn])
    assert estimate == pytest.approx(value.mean(), rel=0.02)


def test_weights_of_clips_multiply_their_losses():
    generator = torch.Generator().manual_seed(0)
    prediction, truth = torch.rand(2, 3, 2, 1, 4, 4, generator=generator)
    mask = torch.ones_like(truth, dtype=torch.bool)
    weight = torch.tensor([0.5, 2.0, 0.0])
    each = [
        balanced_loss(prediction[n : n + 1], truth[n : n + 1], mask[n : n + 1], Calibration())
        for n in range(3)
    ]
    found = balanced_loss(prediction, truth, mask, Calibration(), weight)
    assert float(found) == pytest.approx(float((0.5 * each[0] + 2 * each[1]) / 3))
