"""Silencing neurons: the one that responds to one group is found, and only that group suffers."""

import numpy as np
import pytest
import torch
from torch import nn

from nowcast.core.ablation import audit_neurons
from nowcast.core.errors import ConfigError


class Known(nn.Module):
    """Neuron 2 alone responds to x[2]; all others see every sample alike."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = self.site(values[:, :, None, None].expand(-1, -1, 2, 3))
        return hidden.mean((2, 3)).sum(1)


def samples() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(40):
        values = torch.randn(1, 4, generator=generator)
        values[0, 2] = 5.0 + 0.1 * values[0, 2] if number % 4 == 0 else 0.1 * values[0, 2]
        found.append(values)
    return found


def group(values: torch.Tensor) -> str:
    number = int(1000 * abs(float(values[0, 0])))
    return "rare" if values[0, 2] > 2 else ("odd" if number % 2 else "even")


def loss(model: nn.Module, values: torch.Tensor) -> torch.Tensor:
    return (model(values) - values.sum(1)).square().mean()


@pytest.mark.parametrize("unit", ["channel", "position"])
def test_the_neuron_of_one_group_is_found_and_its_loss_rises_there(unit: str):
    rows = audit_neurons(Known(), ["site"], samples, loss, group, unit, top=1)
    assert {row.neuron for row in rows} <= ({2} if unit == "channel" else set(range(12, 18)))
    found = {row.group: row for row in rows}
    assert [row.group for row in rows if row.stands_out] == ["rare"]
    x = np.array([float(values[0, 2]) for values in samples()])
    rare = np.array([group(values) == "rare" for values in samples()])
    assert found["rare"].samples == 10
    assert found["rare"].mean == pytest.approx(x[rare].mean(), rel=1e-5)
    part = 1 if unit == "channel" else 1 / 6
    assert found["rare"].increase == pytest.approx(
        ((x[rare] - x.mean()) ** 2).mean() * part**2, rel=1e-4
    )
    assert found["rare"].low > 5 * found["odd"].high
    assert found["rare"].loss == pytest.approx(0, abs=1e-9)


def test_d_is_the_difference_in_deviations_within_groups():
    rows = audit_neurons(Known(), ["site"], samples, loss, group, "channel", top=4)
    x = np.array([values[0].tolist() for values in samples()])
    labels = np.array([group(values) for values in samples()])
    for row in rows:
        own, parts = x[:, row.neuron], [x[labels == g, row.neuron] for g in np.unique(labels)]
        within = sum(((p - p.mean()) ** 2).sum() for p in parts) / (len(x) - len(parts))
        middle = np.median([p.mean() for p in parts])
        expected = (own[labels == row.group].mean() - middle) / np.sqrt(within)
        assert row.d == pytest.approx(expected, rel=1e-4)


def test_too_few_samples_in_groups_are_said():
    with pytest.raises(ConfigError, match="at least 2 groups of 3 samples or more, found rare: 2"):
        audit_neurons(Known(), ["site"], lambda: samples()[0:5:4], loss, group)
