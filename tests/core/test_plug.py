"""plug_in: sockets are filled by name and pattern, the host keeps its parameters."""

import pytest
import torch
from torch import nn

from nowcast import MEmeL, plug_in
from nowcast.core.plug import sockets


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.after_first = nn.Identity()
        self.unused = nn.Identity()
        self.second = nn.Linear(4, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.second(self.after_first(self.first(values)))


def dry_run(model: nn.Module) -> object:
    return model(torch.zeros(1, 3))


def test_fills_a_socket_and_renames_nothing():
    host = Host()
    names = [name for name, _ in host.named_parameters()]
    layers = plug_in(host, ["after_*"], dry_run=dry_run, delta=5.0)
    assert list(layers) == ["after_first"]
    assert isinstance(host.after_first, MEmeL)
    assert host.after_first.neuron_shape == (4,)
    assert host.after_first.delta == 5.0
    assert [name for name, _ in host.named_parameters()] == names
    assert host.training


def test_unknown_site_names_the_nearest():
    with pytest.raises(ValueError, match="'after_frist'; nearest: after_first"):
        plug_in(Host(), ["after_frist"], dry_run=dry_run)


def test_site_that_sees_no_data_is_an_error():
    host = Host()
    with pytest.raises(ValueError, match="passed no data through unused"):
        plug_in(host, ["unused"], dry_run=dry_run)
    assert sockets(host) == ["after_first", "unused"]
