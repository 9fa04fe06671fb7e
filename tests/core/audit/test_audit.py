"""The audit of table 4: its ratios by hand, and the paper's sign pattern on a fixed network."""

import pytest
import torch
from torch import nn

from nowcast import plug_in
from nowcast.core.audit.inhibition import METHODS, audit_inhibition


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.site = nn.Identity()
        self.last = nn.Linear(16, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.last(self.site(torch.relu(self.first(values))))


def batches(count: int) -> list[torch.Tensor]:
    """Features that are rare, and matter when they are there."""
    generator = torch.Generator().manual_seed(1)
    present = torch.rand(count, 32, 6, generator=generator) < 0.1
    strength = 1 + torch.rand(count, 32, 6, generator=generator)
    return list(present * strength)


def target(values: torch.Tensor) -> torch.Tensor:
    return torch.stack((values[:, 0] * 2, values[:, 1] - values[:, 2], values[:, 3:].sum(1)), 1)


def loss(model: nn.Module, values: torch.Tensor) -> torch.Tensor:
    return (model(values) - target(values)).square().mean()


def update(model: nn.Module) -> None:
    torch.optim.SGD(model.parameters(), lr=0.01).step()


@pytest.fixture
def trained() -> Network:
    torch.manual_seed(0)
    model = Network()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for values in batches(300):
        optimiser.zero_grad()
        loss(model, values).backward()
        optimiser.step()
    plug_in(model, "site", late_start=10**6)
    with torch.no_grad():
        for values in batches(10):
            model.train()(values)
    return model


def test_the_papers_signs_appear(trained: Network):
    rows = {row.method: row for row in audit_inhibition(trained, batches(40), loss, update, 1200)}
    assert list(rows) == list(METHODS)
    assert rows["Naive (b)"].decrease.high < 0 < rows["Reversed Deactivation"].decrease.low
    assert rows["Reversed Deactivation"].against_original.low > 0
    assert rows["Original"].neurons == 32 * 38  # the first batch at or above 1200


def test_ratios_by_hand_and_weights_left_alone(trained: Network):
    before = {name: value.clone() for name, value in trained.named_parameters()}
    layer = trained.site
    [*_, reversed_row] = audit_inhibition(trained, batches(2), loss, update)
    assert not isinstance(trained.site, type(layer))
    ratios, updates = [], []
    for values in batches(2):
        trained.load_state_dict(before, strict=False)
        hidden = torch.relu(trained.first(values))
        scale = (hidden - layer.running_mean) ** 2 / (
            layer.running_var + 0.01 * layer.running_var.mean()
        )
        rows, chosen = torch.arange(32), scale.argmax(1)
        inhibited = hidden.clone()
        inhibited[rows, chosen] = (
            -hidden[rows, chosen] + (layer.running_mean[chosen] + hidden[rows, chosen]).detach()
        )
        trained.zero_grad()
        (trained.last(inhibited) - target(values)).square().mean().backward()
        update(trained)
        after = torch.relu(trained.first(values))
        again = (after - layer.running_mean) ** 2 / (
            layer.running_var + 0.01 * layer.running_var.mean()
        )
        ratios.append(1 - again[rows, chosen] / scale[rows, chosen])
        there = hidden[rows, chosen] != 0
        change = (after[rows, chosen] / hidden[rows, chosen] - 1).abs()[there]
        updates.append(change.mean())
    assert reversed_row.decrease.value == pytest.approx(torch.cat(ratios).mean().item(), rel=1e-3)
    assert reversed_row.update.value == pytest.approx(torch.stack(updates).mean().item(), rel=1e-3)
    trained.load_state_dict(before, strict=False)


def test_says_what_it_needs(trained: Network):
    with pytest.raises(ValueError, match="needs a model with MEmeL layers"):
        audit_inhibition(Network(), batches(2), loss, update)
    with pytest.raises(ValueError, match="at least 2 batches"):
        audit_inhibition(trained, batches(1), loss, update)
