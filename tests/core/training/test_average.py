"""The mean of the weights over the last steps."""

import pytest
import torch
from torch import nn

from nowcast.core.training.average import WeightAverage


def stepped(average: WeightAverage, layer: nn.Linear, values: list[float]) -> None:
    for value in values:
        nn.init.constant_(layer.weight, value)
        average.update()


def mean_of(average: WeightAverage, layer: nn.Linear) -> float:
    with average.in_place():
        return float(layer.weight.detach().mean())


def test_the_first_steps_count_alike_and_later_ones_for_their_share():
    layer = nn.Linear(2, 2)
    average = WeightAverage(layer, 4)
    stepped(average, layer, [1.0, 2.0, 6.0])
    assert mean_of(average, layer) == pytest.approx(3.0)
    stepped(average, layer, [7.0, 8.0])  # the 4th and the 5th count for a fourth
    assert mean_of(average, layer) == pytest.approx((3.0 * 3 / 4 + 7 / 4) * 3 / 4 + 8 / 4)


def test_the_model_has_its_own_weights_again_afterwards_and_in_any_case():
    layer = nn.Linear(2, 2)
    average = WeightAverage(layer, 4)
    stepped(average, layer, [1.0, 5.0])
    with pytest.raises(KeyError), average.in_place():
        assert float(layer.weight.detach().mean()) == pytest.approx(3.0)
        raise KeyError
    assert bool((layer.weight == 5.0).all())


def test_it_goes_on_from_its_state():
    layer = nn.Linear(2, 2)
    average, other = WeightAverage(layer, 4), WeightAverage(layer, 4)
    stepped(average, layer, [1.0, 2.0])
    other.load_state_dict(average.state_dict())
    stepped(average, layer, [9.0])
    other.update()
    assert mean_of(average, layer) == mean_of(other, layer) == pytest.approx(4.0)
    with pytest.raises(KeyError):
        WeightAverage(nn.Bilinear(2, 2, 2), 4).load_state_dict({"(steps)": torch.tensor(1)})
