"""MEmeL decides on a GPU as on a CPU, wherever its decision is no matter of rounding."""

import copy

import pytest
import torch
from torch import Tensor

from nowcast import MEmeL
from nowcast.core.memel.layer import Convention

APART = 1e-6  # of the two largest scales, relative: nearer ones may be picked either way
BATCHES, LATE_START = 25, 3
SHAPE = (6, 5, 7)


def watched(layer: MEmeL) -> list[tuple[Tensor, Tensor]]:
    """Scale and choice of each call to come."""
    seen: list[tuple[Tensor, Tensor]] = []

    def observe(scale: Tensor | None, chosen: Tensor) -> None:
        assert scale is not None
        seen.append((scale.detach().cpu().clone(), chosen.cpu().clone()))

    layer.observer, layer.wants_scale = observe, True
    return seen


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize(
    ("channels_last", "masked"), [(False, False), (True, False), (False, True)]
)
def test_picks_statistics_and_values_are_those_of_a_cpu(
    gpu: torch.device, convention: Convention, channels_last: bool, masked: bool
):
    layer = MEmeL(SHAPE, late_start=LATE_START, forget_steps=8, convention=convention)
    other = copy.deepcopy(layer).to(gpu)
    here, there = watched(layer), watched(other)
    generator = torch.Generator().manual_seed(0)
    order = torch.channels_last if channels_last else torch.contiguous_format
    for _ in range(BATCHES):
        batch = torch.randn(16, *SHAPE, generator=generator) ** 3
        given = batch.to(memory_format=order).requires_grad_()
        moved = batch.to(gpu).to(memory_format=order).requires_grad_()
        mask = torch.rand(16, SHAPE[0], generator=generator) < 0.8 if masked else None
        expected = layer(given, mask)
        found = other(moved, None if mask is None else mask.to(gpu))
        expected.square().sum().backward()
        found.square().sum().backward()
        same = clear(here[-1][0]) if here else torch.ones(16, dtype=torch.bool)
        torch.testing.assert_close(found.cpu()[same], expected[same], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(moved.grad.cpu()[same], given.grad[same], rtol=1e-4, atol=1e-5)
    assert len(here) == len(there) > BATCHES - LATE_START
    here, there = here[-BATCHES + LATE_START :], there[-BATCHES + LATE_START :]  # that inhibit
    clear_samples = 0
    for (scale, chosen), (_, picked) in zip(here, there, strict=True):
        same = clear(scale)
        clear_samples += int(same.sum())
        assert torch.equal(picked[same], chosen[same])
    assert clear_samples > 0.99 * 16 * len(here)
    for name, buffer in layer.state_dict().items():
        torch.testing.assert_close(
            other.state_dict()[name].cpu(), buffer, rtol=1e-5, atol=1e-6, msg=name
        )


def clear(scale: Tensor) -> Tensor:
    """The samples in which the largest scale is the largest whatever the rounding."""
    first, second = scale.flatten(1).topk(2).values.unbind(1)
    return first - second > APART * first


def test_of_equal_scales_the_first_is_picked(gpu: torch.device):
    layer = MEmeL((4,), late_start=1).to(gpu)
    seen = watched(layer)
    layer(torch.tensor([[0.0, 1, 2, 3], [1, 2, 3, 4]], device=gpu))
    layer(torch.full((2, 4), 50.0, device=gpu) + torch.arange(4.0, device=gpu))
    assert seen[-1][1].tolist() == [[0], [0]]
