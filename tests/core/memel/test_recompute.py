"""Activation checkpointing: a layer that is run again repeats what it did and counts nothing."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from nowcast import MEmeL

pytestmark = [pytest.mark.isa, pytest.mark.usefixtures("way")]


class Recurrent(nn.Module):
    """A cell that calls its layer at every time step, checkpointed by pieces or not at all."""

    def __init__(self, length: int, piece: int | None, method: str = "memel") -> None:
        super().__init__()
        self.length, self.piece = length, piece
        self.linear = nn.Linear(6, 6)
        self.memel = MEmeL((6,), late_start=3, forget_steps=4, method=method, share=0.2)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for first in range(0, self.length, self.piece or self.length):
            calls = min(self.piece or self.length, self.length - first)
            if self.piece is None:
                hidden = self.run(hidden, calls)
            else:
                hidden = checkpoint(self.run, hidden, calls, use_reentrant=False)
        return hidden

    def run(self, hidden: torch.Tensor, calls: int) -> torch.Tensor:
        for _ in range(calls):
            hidden = torch.tanh(self.memel(self.linear(hidden)).sin())
        return hidden


@pytest.mark.parametrize(
    ("piece", "method"),
    [(1, "memel"), (2, "memel"), (5, "memel"), (2, "share"), (2, "penalty"), (2, "sham")],
)
def test_activation_checkpointing_repeats_to_the_bit_and_counts_once(piece: int, method: str):
    torch.manual_seed(0)
    plain = Recurrent(5, None, method)
    pieces = Recurrent(5, piece, method)
    pieces.load_state_dict(plain.state_dict())
    for _ in range(3):
        hidden = torch.randn(4, 6)
        for model in (plain, pieces):
            model(hidden).square().sum().backward()
        assert torch.equal(plain.linear.weight.grad, pieces.linear.weight.grad)
    assert pieces.memel.num_batches_tracked == 15
    for name, value in plain.state_dict().items():
        assert torch.equal(pieces.state_dict()[name], value), name


def test_checkpoints_of_two_graphs_may_be_run_backwards_in_any_order():
    torch.manual_seed(0)
    plain, pieces = Recurrent(3, None), Recurrent(3, 1)
    pieces.load_state_dict(plain.state_dict())
    first, second = torch.randn(4, 6), torch.randn(4, 6)
    for model in (plain, pieces):
        losses = [model(hidden).square().sum() for hidden in (first, second)]
        losses[0].backward(retain_graph=True)
        losses[1].backward()
        losses[0].backward()
    torch.testing.assert_close(plain.linear.weight.grad, pieces.linear.weight.grad)


def test_reentrant_checkpointing_is_refused():
    model = Recurrent(2, None)
    hidden = torch.randn(4, 6, requires_grad=True)
    output = checkpoint(model.run, hidden, 2, use_reentrant=True)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        output.sum().backward()
