"""How monosemantic held-out samples are, against numpy, with MEmeL and without."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nowcast.core.memel.plug import plug_in
from nowcast.core.monitoring.monosemanticity import monosemanticity


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.site(values)


def samples(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) ** 3 + 5


def measured(model: nn.Module, batches: list[tuple[Tensor, ...]], **how: Any) -> dict[str, float]:
    def run(of: nn.Module) -> None:
        for batch in batches:
            of(*batch)

    (reading,) = monosemanticity(model, ("site",), lambda of: of(*batches[0]), run, **how).values()
    assert sum(reading.log10_phi) > 0
    return dict(reading.numbers)


@pytest.mark.parametrize("memel", [False, True])
def test_it_is_what_numpy_says_whatever_the_batches(memel: bool):
    model, values = Model().train(), samples(30, 2, 4)
    if memel:
        plug_in(model, "site", late_start=1)
    found = measured(model, [(part,) for part in values.split([7, 20, 3])])
    z = values.double().flatten(1).numpy()
    variance = z.var(0, ddof=1)
    phi = (z - z.mean(0)) ** 2 / (variance + 0.01 * variance.mean())
    kurtosis = ((z - z.mean(0)) ** 4).mean(0) / z.var(0) ** 2
    assert found["mean_phi"] == pytest.approx(phi.mean(), rel=1e-4)
    assert found["top_phi"] == pytest.approx(phi.max(1).mean(), rel=1e-4)
    assert found["tail"] == pytest.approx((phi**2).mean() / phi.mean() ** 2, rel=1e-4)
    assert found["kurtosis"] == pytest.approx(kurtosis.mean(), rel=1e-4)
    assert model.training and not model.site._forward_hooks


def test_padding_is_not_measured():
    model, values = Model(), samples(12, 5, 3)
    present = torch.arange(5) < torch.tensor([5, 3, 4, 5, 2, 5, 3, 4, 5, 2, 5, 3])[:, None]
    padded = torch.where(present[..., None], values, 1e6)
    batches = [(padded, present), (padded[1:3, :4], present[1:3, :4])]
    found = measured(model, batches, mask=lambda args, _: args[1])
    everything = torch.cat([values, values[1:3]]).numpy()
    there = torch.cat([present, present[1:3]]).numpy()
    kurtoses = [
        ((z - z.mean(0)) ** 4).mean(0) / z.var(0) ** 2
        for z in (everything[there[:, place], place] for place in range(5))
    ]
    assert found["kurtosis"] == pytest.approx(np.mean(kurtoses), rel=1e-3)
    assert found["top_phi"] < 30


def test_normal_values_have_a_kurtosis_of_3_and_rare_ones_more():
    normal = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    assert measured(Model(), [(normal,)])["kurtosis"] == pytest.approx(3, abs=0.2)
    rare = normal * (normal > 1.5)
    assert measured(Model(), [(rare,)])["kurtosis"] > 6
    assert "kurtosis" not in measured(Model(), [(torch.ones(4, 6),)])
