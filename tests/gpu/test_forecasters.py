"""A forecaster computes on a GPU what it computes on a CPU, when float32 is IEEE's."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nowcast.core.memel.plug import plug_in
from nowcast.core.system.devices import CPU, arithmetic
from nowcast.precipitation.forecasters.graph import example_frames, example_mask
from nowcast.precipitation.settings import PrecipitationSettings

IN_LEN, OUT_LEN = 3, 4
FORWARD, LOSS, GRADIENT = 1e-5, 1e-6, 1e-4  # relative
BF16 = 0.05  # of the largest pixel
STAGES = [
    {"channels": 4, "hidden": 8, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1], "links": 3},
    {"channels": 8, "hidden": 8, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1], "links": 2},
]
NETWORKS: dict[str, dict[str, Any]] = {
    "convgru": {"stages": STAGES},
    "trajgru": {"stages": STAGES, "cell": "trajgru"},
    "convlstm": {"stages": STAGES, "cell": "convlstm"},
    "lagrangian": {"stages": STAGES, "lagrangian": True},
    "comoving": {"comoving": {"stem": 4, "hidden": [4, 4], "guide": 4, "head": 4}},
}
FEWER_BITS = {"trajgru": 10, "lagrangian": 10, "comoving": 10}  # what is sampled between pixels


def forecaster(kind: str) -> nn.Module:
    settings = PrecipitationSettings.model_validate(
        {
            "task": "precipitation",
            "data": {"in_len": IN_LEN, "out_len": OUT_LEN},
            "model": NETWORKS[kind],
        }
    )
    torch.manual_seed(0)
    return settings.model.build(IN_LEN, OUT_LEN)


def clips(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    whole = example_frames(IN_LEN + OUT_LEN)(2, 64, 64)
    mask = example_mask(IN_LEN)(2, 64, 64)
    frames, truth = whole[:, :IN_LEN], whole[:, IN_LEN:]
    return frames.to(device), mask.to(device), truth.to(device)


def step(model: nn.Module, device: torch.device) -> tuple[Tensor, float, dict[str, Tensor]]:
    """Forecast, loss and gradients."""
    frames, mask, truth = clips(device)
    model = copy.deepcopy(model).to(device)
    with arithmetic():
        forecast = model(frames, mask)
        loss = (forecast - truth).square().mean()
        loss.backward()
    gradients = {
        name: parameter.grad.cpu()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return forecast.detach().cpu(), float(loss.detach()), gradients


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-12))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("inhibited", [False, True])
def test_a_step_is_that_of_a_cpu(gpu: torch.device, kind: str, inhibited: bool):
    model = forecaster(kind)
    if inhibited:
        if kind == "comoving":
            pytest.skip("MEmeL's sites are those of recurrent networks here")
        frames, mask, _ = clips(CPU)
        plug_in(model, "*.candidate", dry_run=lambda host: host(frames, mask), late_start=2)
        for _ in range(3):  # statistics
            model.train()(frames, mask)
    tolerance = FEWER_BITS.get(kind, 1)
    forecast, loss, gradients = step(model, gpu)
    expected, true_loss, true_gradients = step(model, CPU)
    assert apart(forecast, expected) <= tolerance * FORWARD
    assert abs(loss / true_loss - 1) <= tolerance * LOSS
    assert gradients.keys() == true_gradients.keys() and gradients
    for name, gradient in gradients.items():
        assert apart(gradient, true_gradients[name]) <= tolerance * GRADIENT, name


@pytest.mark.parametrize("kind", ["convgru", "trajgru", "convlstm"])
def test_the_order_in_memory_changes_nothing(gpu: torch.device, kind: str):
    model = forecaster(kind)
    rows, _, _ = step(model, gpu)
    channels, _, _ = step(model.to(memory_format=torch.channels_last), gpu)
    assert apart(channels, rows) <= FORWARD


@pytest.mark.parametrize("kind", NETWORKS)
def test_bf16_is_near(gpu: torch.device, kind: str):
    model, (frames, mask, _) = forecaster(kind).to(gpu), clips(gpu)
    with torch.no_grad(), arithmetic("bf16"):
        expected = model(frames, mask)
        with torch.autocast(gpu.type, torch.bfloat16):
            found = model(frames, mask)
    assert apart(found.float(), expected.float()) <= BF16


def test_tf32_is_further_from_float64_than_float32(gpu: torch.device):
    if gpu.type != "cuda" or torch.cuda.get_device_capability(gpu) < (8, 0):
        pytest.skip("needs TF32")
    torch.manual_seed(0)
    layer, frames = nn.Conv2d(64, 64, 3).to(gpu), torch.randn(4, 64, 64, 64, device=gpu)
    expected = copy.deepcopy(layer).double()(frames.double())
    found = {}
    for precision in ("fp32", "tf32"):
        with arithmetic(precision), torch.no_grad():
            found[precision] = apart(layer(frames).double(), expected)
    assert found["fp32"] < 1e-5 < 1e-4 < found["tf32"]
